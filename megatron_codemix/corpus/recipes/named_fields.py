"""Fields that a recipe names and the records may not have: a wrong name is an error, not nothing.

Columns of Parquet are looked up before the first row is read. Which fields JSON lines have is known
once all are read: it is counted by part, and judged of the whole source.
"""

from collections.abc import Callable, Iterator, Mapping

from megatron_codemix.corpus.document import JsonValue
from megatron_codemix.corpus.readers.fields import has_field
from megatron_codemix.corpus.recipes.schema import FilesSpec, SourceSpec
from megatron_codemix.corpus.stages.dropped import Dropped

_THERE, _MISSING = "there", "missing"
_MAX_NAMED = 20
_SEEN = "fields where one is missing"
_SINGLE = ("origin_field", "path_field", "id_field", "licence_field", "language_field")


def named_fields(entry: FilesSpec) -> dict[str, str]:
    """What the recipe names a field with -> the field; not those that it leaves to the default."""
    given = entry.model_fields_set
    named = {one: value for one in _SINGLE if one in given and (value := getattr(entry, one))}
    named |= {f"metadata.{name}": field for name, field in entry.metadata.items()}
    return named | {f"take.{n}.field": test.field for n, test in enumerate(entry.take)}


def field_counter(
    entry: FilesSpec, number: int, dropped: Dropped
) -> Callable[[Mapping[str, JsonValue]], None] | None:
    """What is shown each record of the `number`-th input; None where nothing is to be counted."""
    named = named_fields(entry)
    if not named:
        return None

    def count(record: Mapping[str, JsonValue]) -> None:
        for option, field in named.items():
            is_there = has_field(record, field)
            dropped.tally(_kind(number, option), _THERE if is_there else _MISSING)
            seen = dropped.tallies.get(_kind(number, _SEEN), {})
            if not is_there and len(seen) < _MAX_NAMED:
                for name in list(record)[:_MAX_NAMED]:
                    dropped.tally(_kind(number, _SEEN), name)

    return count


def field_problems(
    source: SourceSpec, tallies: Mapping[str, Mapping[str, int]]
) -> Iterator[tuple[str, bool]]:
    """(what is wrong, whether no record has the field) of a source that was read whole."""
    for number, entry in enumerate(source.inputs):
        for option, field in named_fields(entry).items() if isinstance(entry, FilesSpec) else ():
            counts = tallies.get(_kind(number, option), {})
            num_missing, num_there = counts.get(_MISSING, 0), counts.get(_THERE, 0)
            place = f"inputs.{number}.{option}"
            if num_missing and not num_there:
                names = ", ".join(tallies.get(_kind(number, _SEEN), {}))
                text = f"{place}: no field {field!r} in any of {num_missing} records"
                yield f"{text}; they have {names or 'no fields'}", True
            elif num_missing and not option.startswith("take."):  # those are counted as left out
                total = num_missing + num_there
                yield f"{place}: no field {field!r} in {num_missing} of {total} records", False


def _kind(number: int, what: str) -> str:
    """What the counts are called in corpus.json."""
    return f"inputs.{number}.{what}"
