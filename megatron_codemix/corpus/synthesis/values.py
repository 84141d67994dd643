"""Types of what problems take and give: annotation, random values, values as source text."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from megatron_codemix.corpus.synthesis.words import WORDS

Value = Any
"""int, bool, str, None, list, dict, tuple, set of values, or RecordValue."""


class Type(Protocol):
    def python(self) -> str:
        """The annotation."""

    def draw(self, rng: Random, size: int) -> Value:
        """A value; `size` bounds the length of what has one, further bounded by the type's own."""

    def smallest(self) -> Value:
        """The edge of the type: an empty list, an empty text, zero or the nearest to it."""


@dataclass(frozen=True)
class RecordValue:
    """A value of a class that the solution defines; fields by name in order of definition."""

    name: str
    fields: tuple[tuple[str, Value], ...]

    def __getitem__(self, field: str) -> Value:
        return dict(self.fields)[field]


@dataclass(frozen=True)
class Int:
    low: int = -50
    high: int = 99

    def python(self) -> str:
        return "int"

    def draw(self, rng: Random, size: int) -> int:
        """Half of the values lie in a narrow range around zero or `low`, so that ties are
        common."""
        if rng.random() < 0.5:
            return rng.randint(self.low, self.high)
        low = max(self.low, -4)
        return rng.randint(low, max(low, min(self.high, low + 13)))

    def smallest(self) -> int:
        return min(max(0, self.low), self.high)


@dataclass(frozen=True)
class Bool:
    def python(self) -> str:
        return "bool"

    def draw(self, rng: Random, size: int) -> bool:
        return rng.random() < 0.5

    def smallest(self) -> bool:
        return False


@dataclass(frozen=True)
class Str:
    """Text of one kind. `alphabet` (any characters) makes random strings of up to `high` of them;
    without it they are words, and with `words` above one, phrases of up to so many."""

    low: int = 0
    high: int = 8
    alphabet: str = ""
    words: int = 1

    def python(self) -> str:
        return "str"

    def draw(self, rng: Random, size: int) -> str:
        if self.alphabet:
            length = rng.randint(self.low, max(self.low, min(self.high, size)))
            return "".join(rng.choice(self.alphabet) for _ in range(length))
        if self.words > 1:
            return " ".join(_word(rng) for _ in range(rng.randint(self.low, self.words)))
        return "" if self.low == 0 and rng.random() < 0.05 else _word(rng)

    def smallest(self) -> str:
        if self.low == 0:
            return ""
        return (self.alphabet[0] if self.alphabet else "a") * self.low


def _word(rng: Random) -> str:
    """Mostly lower case; some capitalised, some upper case."""
    word = rng.choice(WORDS)
    style = rng.random()
    return word if style < 0.75 else word.capitalize() if style < 0.9 else word.upper()


@dataclass(frozen=True)
class ListOf:
    item: Type
    low: int = 0
    high: int = 9
    is_distinct: bool = False

    def python(self) -> str:
        return f"list[{self.item.python()}]"

    def draw(self, rng: Random, size: int) -> list[Value]:
        length = rng.randint(self.low, max(self.low, min(self.high, size)))
        values: list[Value] = []
        for _ in range(4 * length if self.is_distinct else length):
            value = self.item.draw(rng, size)
            if len(values) < length and not (self.is_distinct and value in values):
                values.append(value)
        return values

    def smallest(self) -> list[Value]:
        return [self.item.draw(Random(index), 3) for index in range(self.low)]


@dataclass(frozen=True)
class DictOf:
    key: Type
    value: Type
    low: int = 0
    high: int = 7

    def python(self) -> str:
        return f"dict[{self.key.python()}, {self.value.python()}]"

    def draw(self, rng: Random, size: int) -> dict[Value, Value]:
        length = rng.randint(self.low, max(self.low, min(self.high, size)))
        keys = [self.key.draw(rng, size) for _ in range(length)]
        return {key: self.value.draw(rng, size) for key in keys}

    def smallest(self) -> dict[Value, Value]:
        return {}


@dataclass(frozen=True)
class TupleOf:
    items: tuple[Type, ...]

    def python(self) -> str:
        return f"tuple[{', '.join(item.python() for item in self.items)}]"

    def draw(self, rng: Random, size: int) -> tuple[Value, ...]:
        return tuple(item.draw(rng, size) for item in self.items)

    def smallest(self) -> tuple[Value, ...]:
        return tuple(item.smallest() for item in self.items)


@dataclass(frozen=True)
class Maybe:
    """A value or None; only ever returned."""

    item: Type

    def python(self) -> str:
        return f"{self.item.python()} | None"

    def draw(self, rng: Random, size: int) -> Value:
        return None if rng.random() < 0.2 else self.item.draw(rng, size)

    def smallest(self) -> None:
        return None


@dataclass(frozen=True)
class Record:
    """A class of the solution's, with typed fields."""

    name: str
    fields: tuple[tuple[str, Type], ...]

    def python(self) -> str:
        return self.name

    def draw(self, rng: Random, size: int) -> RecordValue:
        return RecordValue(
            self.name, tuple((name, one.draw(rng, size)) for name, one in self.fields)
        )

    def smallest(self) -> RecordValue:
        return RecordValue(self.name, tuple((name, one.smallest()) for name, one in self.fields))

    def definition(self) -> str:
        """The class as source text; `dataclass` is to be imported above it."""
        lines = [f"    {name}: {one.python()}" for name, one in self.fields]
        return "\n".join(["@dataclass", f"class {self.name}:", *lines])


def literal(value: Value) -> str:
    """Source text of a value, strings in double quotes. A set is written in order."""
    if type(value) is int:  # by far the most
        return str(value)
    match value:
        case bool() | int() | None:
            return repr(value)
        case str():
            assert value.isascii(), value
            return json.dumps(value)
        case list():
            return f"[{', '.join(map(literal, value))}]"
        case tuple():
            inside = ", ".join(map(literal, value))
            return f"({inside},)" if len(value) == 1 else f"({inside})"
        case dict():
            return (
                f"{{{', '.join(f'{literal(key)}: {literal(one)}' for key, one in value.items())}}}"
            )
        case set():
            return f"{{{', '.join(map(literal, sorted(value)))}}}" if value else "set()"
        case RecordValue():
            inside = ", ".join(f"{name}={literal(one)}" for name, one in value.fields)
            return f"{value.name}({inside})"
    raise AssertionError(f"{value!r} is no value of a problem")


def copied(value: Value) -> Value:
    """With lists, dictionaries and sets of its own; the rest cannot be changed."""
    kind = type(value)
    if kind is list:
        return [copied(one) for one in value]
    if kind is tuple:
        return tuple([copied(one) for one in value])
    if kind is dict:
        return {key: copied(one) for key, one in value.items()}
    return set(value) if kind is set else value


def same(one: Value, other: Value) -> bool:
    """Equal and of equal types throughout, in keys and members too: True is not 1, a tuple is not a
    list."""
    if type(one) is not type(other):
        return False
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping):
        return _are_same_keys(one, other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, set | frozenset):
        return _are_same_keys(one, other)
    if isinstance(one, RecordValue):
        return one.name == other.name and same(one.fields, other.fields)
    return bool(one == other)


def _are_same_keys(one: Collection[Value], other: Collection[Value]) -> bool:
    """Of two dictionaries or sets."""
    return len(one) == len(other) and set(map(_typed, one)) == set(map(_typed, other))


def _typed(key: Value) -> Value:
    """A key that only equals what is of its type throughout."""
    if isinstance(key, tuple):
        return tuple, tuple(map(_typed, key))
    if isinstance(key, frozenset):
        return frozenset, frozenset(map(_typed, key))
    return type(key), key


@dataclass(frozen=True)
class Observed:
    """A type whose values are those seen at some place of an algorithm, on random inputs."""

    type: Type
    values: tuple[Value, ...]

    def python(self) -> str:
        return self.type.python()

    def draw(self, rng: Random, size: int) -> Value:
        return rng.choice(self.values)

    def smallest(self) -> Value:
        return self.type.smallest()
