"""Which fields of a record make a document, and clear errors where they are not there."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from megatron_codemix.corpus.document import Document, JsonValue, digest
from megatron_codemix.corpus.readers.json_lines import json_kind
from megatron_codemix.errors import DataError

_MISSING = object()
_MAX_NAMED = 20
_ORIGIN = "origin"
_USUAL = ("licence", "license", "metadata")
_ADVICE = (
    "the records of a corpus have it in 'text': build one from the file with `codemix corpus local "
    "--text-field` or a recipe"
)

TextForm = Literal["text", "notebook"]
FileForm = Literal["by name", "jsonl", "parquet", "plain"]


@dataclass(frozen=True, kw_only=True)
class RecordForm:
    """How the records of a source are made. A field is a name, or a way down through objects, such
    as `meta.set`.

    metadata: what is kept of a document under which name -> the field that it comes from; where
    nothing is named, all that the record has in `metadata`, as ours do.
    looked_at: as `metadata`, for a caller that looks at a field and takes it out again.
    named: what names a field -> that field, where a table has to have it.
    text_form: whether the text is that of a notebook file, which is flattened.
    file_form: what the files are, where their names do not tell.
    text_option: what names the text field where the form comes from, for errors; None: nothing
    does, since a corpus has its texts in `text`.
    """

    text_field: str = "text"
    origin_field: str = _ORIGIN
    path_field: str = "path"
    id_field: str = "id"
    licence_field: str | None = None
    """`licence` or `license` where it is None."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    looked_at: Mapping[str, str] = field(default_factory=dict)
    named: Mapping[str, str] = field(default_factory=dict)
    text_form: TextForm = "text"
    file_form: FileForm = "by name"
    text_option: str | None = None

    def columns(self) -> set[str]:
        """The columns of a table that are needed, where they are there."""
        named = [self.text_field, self.origin_field, self.path_field, self.id_field]
        named += [self.licence_field] if self.licence_field else []
        ways = (*named, *self.metadata.values(), *self.looked_at.values())
        return {*_USUAL, *ways, *(way.split(".")[0] for way in ways)}


class FieldsSeen:
    """Whether any record of a file has the wanted field, for one clear error where none has.

    option: the flag that names the field, None where there is none. number_of: the number of a
    record, from one, by what its reader knows it by.
    """

    def __init__(
        self,
        place: object,
        field: str,
        option: str | None,
        number_of: Callable[[int], int] = int,
    ) -> None:
        self.place, self.field, self.number_of = place, field, number_of
        self.advice = _ADVICE if option is None else f"name the right field with {option}"
        self._names: dict[str, None] = {}
        self._num_records = 0
        self._is_found = False

    def require_column(self, names: Sequence[str] | None) -> None:
        """names: the columns of a Parquet file; None of another. Raises DataError."""
        if names is not None and self.field.split(".")[0] not in names and self.field not in names:
            raise DataError(
                f"{self.place}: no column {self.field!r}; it has {', '.join(names)}; {self.advice}"
            )
        self._names.update(dict.fromkeys(names or ()))

    def add(self, record: dict[str, Any]) -> None:
        """Counts a record, with text or without."""
        if self._is_found:
            return
        self._num_records += 1
        if value_of(record, self.field) is not None:
            self._is_found = True
        elif self._num_records <= _MAX_NAMED:
            self._names.update(dict.fromkeys(record))

    def require_text(self) -> None:
        """To be called after the last record. Raises DataError where the field was in none."""
        if self._num_records and not self._is_found:
            whose = "the only record has" if self._num_records == 1 else "the records have"
            raise DataError(
                f"{self.place}: no text in field {self.field!r} of {self._num_records} records; "
                f"{whose} {', '.join(self._names) or 'no fields'}; {self.advice}"
            )


def value_of(record: Mapping[str, JsonValue], way: str, default: Any = None) -> Any:
    """The value of a field, or at the end of a way such as `meta.set`; `default` where it is
    missing."""
    if way in record:
        return record[way]
    value: JsonValue = record
    for name in way.split("."):
        if not isinstance(value, dict) or name not in value:
            return default
        value = value[name]
    return value


def has_field(record: Mapping[str, JsonValue], way: str) -> bool:
    """Whether the field is there, be it null; or the end of a way such as `meta.set`."""
    return value_of(record, way, _MISSING) is not _MISSING


def text_of(record: dict[str, Any], wanted: FieldsSeen, number: int) -> str:
    """The text; "" where the field is missing or null. Raises DataError where it holds something
    else. number: as `wanted.number_of` takes it, for the error."""
    text = value_of(record, wanted.field)
    if isinstance(text, str):
        return text
    if text is None:
        return ""
    raise DataError(
        f"{wanted.place}: the record at {wanted.number_of(number)} has {json_kind(text)} in field "
        f"{wanted.field!r}, not text; {wanted.advice}"
    )


def spelled(value: JsonValue) -> str | None:
    """A text as it is, a number or boolean as JSON has it (`true`); None of anything else. A float
    that is whole is spelled as that integer: tables have such where a value is missing."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return str(int(value)) if value.is_integer() else repr(value)
    return None


def require_origin(
    record: Mapping[str, JsonValue], form: RecordForm, wanted: FieldsSeen, number: int
) -> None:
    """Raises DataError where the field that the user has named holds no name: records of one origin
    would part without a word. number: as `wanted.number_of` takes it."""
    if form.origin_field == _ORIGIN:
        return
    value = value_of(record, form.origin_field)
    if isinstance(value, bool | list | dict):
        raise DataError(
            f"{wanted.place}: the record at {wanted.number_of(number)} has {json_kind(value)} in "
            f"field {form.origin_field!r}, which is to name its origin; a text or a number does: "
            "name another field as the origin's"
        )


def document_of(
    record: dict[str, Any], text: str, source: str, place: str, form: RecordForm
) -> Document:
    """The document of a record whose text is `text`; `place` stands for a missing id or path.

    Its origin is that of the record (a text or a number), else its id, else its text.
    """
    identity = value_of(record, form.id_field)
    known = str(identity) if isinstance(identity, str | int) else None
    return Document(
        id=known or place,
        source=source,
        path=_name(record, form.path_field) or place,
        origin=_name(record, form.origin_field) or known or f"text:{digest(text).hex()}",
        licence=_licence(record, form),
        text=text,
        metadata=_metadata(record, form),
    )


def _name(record: Mapping[str, JsonValue], way: str) -> str | None:
    value = value_of(record, way)
    return None if isinstance(value, bool) else spelled(value)


def _licence(record: dict[str, Any], form: RecordForm) -> str | None:
    if form.licence_field is not None:
        value = value_of(record, form.licence_field)
    else:
        value = record.get("licence") or record.get("license")
    if isinstance(value, list):  # several were found beside the file: all of them hold
        entries = [entry for entry in value if isinstance(entry, str)]
        are_several = len(entries) > 1
        value = " AND ".join(
            f"({entry})" if are_several and " " in entry else entry for entry in entries
        )
    return value if isinstance(value, str) and value else None


def _metadata(record: dict[str, Any], form: RecordForm) -> dict[str, JsonValue]:
    own = record.get("metadata")
    kept = dict(own) if isinstance(own, dict) and not form.metadata else {}
    for name, way in (*form.metadata.items(), *form.looked_at.items()):
        value = value_of(record, way)
        if value is not None:
            kept[name] = value
    return kept
