"""How records of several known formats become the fields that a task's prompt is made of."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.readers.files import Located

Document = dict[str, Any]
"""The fields of one item: text, numbers and lists of them, the same for all items of a task."""
Fields = Mapping[str, Any]
_WRONG = (KeyError, TypeError, IndexError, AttributeError, ValueError)
"""What a converter meets in a record that is not as it should be."""


@dataclass(frozen=True)
class Format:
    """One way in which a task's data is published.

    needs: the fields by which it is told from others.
    convert: makes the task's fields of it; None leaves the record out. What is wrong with a record
        it says by ValueError; fields that are missing or of another type speak for themselves.
    note: what the user should know of scores from it, where its prompt or items differ from those
        that others use.
    """

    name: str
    needs: tuple[str, ...]
    convert: Callable[[Fields], Document | None]
    note: str = ""


@dataclass(frozen=True)
class Reader:
    """The formats of a task, the most telling first; `unpack` makes records of a nested file."""

    formats: Sequence[Format]
    unpack: Callable[[Located], Iterable[Located]] = lambda one: [one]

    def documents(self, records: Iterable[Located]) -> Iterator[tuple[Document, Format]]:
        """The task's items, in the order of the file. Raises DataError at the first record that is
        none of the formats, or wrong."""
        for outer in records:
            for located in self._unpacked(outer):
                chosen = self._format_of(located)
                try:
                    document = chosen.convert(located.record)
                except _WRONG as error:
                    raise DataError(f"{located.where}: {_reason(error)}") from None
                if document is not None:
                    yield document, chosen

    def _unpacked(self, outer: Located) -> Iterable[Located]:
        try:
            return list(self.unpack(outer))
        except _WRONG as error:
            raise DataError(f"{outer.where}: {_reason(error)}; {self._expected()}") from None

    def _format_of(self, located: Located) -> Format:
        record = located.record
        if not isinstance(record, Mapping):
            raise DataError(
                f"{located.where}: is {type(record).__name__}, not an object; {self._expected()}"
            )
        for one in self.formats:
            if all(name in record for name in one.needs):
                return one
        raise DataError(
            f"{located.where}: has the fields {', '.join(record) or 'none'}; {self._expected()}"
        )

    def _expected(self) -> str:
        ways = (f"{', '.join(one.needs)} ({one.name})" for one in self.formats)
        return f"expected {'; or '.join(ways)}"


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"has no field {error}"
    if isinstance(error, ValueError):
        return str(error)
    return f"a field is of another kind than expected ({error})"


def text(record: Fields, name: str) -> str:
    """A field that has to be text, perhaps empty."""
    value = record[name]
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, not text")
    return value


def texts(value: object, name: str, *, at_least: int = 1) -> list[str]:
    """A list that has to be of texts."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) < at_least:
        raise ValueError(f"{name} is {value!r}, not a list of {at_least} or more texts")
    if not all(isinstance(one, str) for one in value):
        raise ValueError(f"{name} is {list(value)!r}; all of it has to be text")
    return list(value)


def index(value: object, name: str, count: int, *, first: int = 0) -> int:
    """A number of a choice, counted from `first` in the file, from 0 here."""
    try:
        number = int(value) - first  # type: ignore[call-overload]  # what it cannot take is caught
    except (TypeError, ValueError):
        raise ValueError(f"{name} is {value!r}, not the number of a choice") from None
    if not 0 <= number < count:
        last = first + count - 1
        raise ValueError(f"{name} is {value!r}; the {count} choices are {first} to {last}")
    return int(number)


def letter(value: object, name: str, letters: Sequence[str]) -> int:
    """The number of a choice that is named by its letter."""
    if value not in letters:
        raise ValueError(f"{name} is {value!r}; the choices are {', '.join(letters)}")
    return letters.index(value)


def between(whole: str, start: str, end: str, name: str) -> str:
    """What stands between two known pieces of text."""
    if not whole.startswith(start) or not whole.endswith(end):
        raise ValueError(f"{name} is not '{start}...{end}': {whole[:60]!r}")
    return whole[len(start) : len(whole) - len(end)]
