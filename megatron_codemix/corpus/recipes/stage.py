"""Reads the data sets of a recipe into documents of ours."""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.filters.licences import is_expression
from megatron_codemix.corpus.filters.programming_languages import language_of_path
from megatron_codemix.corpus.readers import RecordForm, read_documents
from megatron_codemix.corpus.readers.fields import spelled
from megatron_codemix.corpus.recipes.inputs import RecipeInput
from megatron_codemix.corpus.recipes.named_fields import field_counter, field_problems, named_fields
from megatron_codemix.corpus.recipes.schema import ConditionSpec, FilesSpec, RecipeSpec, SourceSpec
from megatron_codemix.corpus.record import StageRecord
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.stage import Stage
from megatron_codemix.errors import DataError

log = logging.getLogger(__name__)

_VERSION = 4  # raise when the same recipe would give other bytes
_CONDITION = "\0take {}"  # a field that is looked at and not kept, by its way
_LANGUAGE = "\0language"


class RecipeStage(Stage):
    """The documents that a recipe asks for, with their licence and language."""

    name = "recipe"

    def __init__(self, recipe: RecipeSpec, sources: Sequence[str] | None = None) -> None:
        self._sources = {
            name: source
            for name, source in recipe.sources.items()
            if sources is None or name in sources
        }

    def options(self) -> dict[str, JsonValue]:
        """Where the data sets lie is not among them, nor what is expected of them."""
        sources = {
            name: source.model_dump(mode="json", exclude={"expected"})
            for name, source in self._sources.items()
        }
        return {"version": _VERSION, "sources": sources}

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        source = self._sources[part.source]
        for one in part.files:
            assert isinstance(one, RecipeInput), one
            for document in _taken(one, source, part.source, dropped):
                language = _language(document, source, one.entry)
                num_dropped = dropped.total()
                yield document
                # Not before: what is too long for a line is left out by who writes it.
                if language is not None and dropped.total() == num_dropped:
                    dropped.tally("language", language)

    def check(self, done: StageRecord) -> None:
        """A source without a document, or a field that no record has, is a mistake in the recipe.
        Fields that some records have not got are told."""
        problems = []
        for name, num_read in done.num_read.items():
            source = self._sources[name]
            for text, is_wrong in field_problems(source, done.tallies.get(name, {})):
                if is_wrong:
                    problems.append(f"source {name!r}: {text}; mend the recipe")
                else:
                    log.warning("source '%s': %s", name, text)
            counts = done.dropped[name].counts
            if num_read == sum(counts.values()):
                reasons = ", ".join(f"{reason}: {count}" for reason, count in counts.items())
                problems.append(
                    f"source {name!r}: no document is left of {num_read} "
                    f"({reasons or 'no record'}); mend the recipe, or leave the source out"
                )
        if problems:
            raise DataError(*problems)


def _language(document: Document, source: SourceSpec, entry: int) -> str | None:
    """As it is known of the document, else by the name of its file; None where neither tells."""
    language = document.metadata.get("language")
    if isinstance(language, str):
        return language
    has_path = isinstance(source.inputs[entry], FilesSpec) and source.policy != "prose"
    return language_of_path(document.path) if has_path else None


def _taken(one: RecipeInput, source: SourceSpec, name: str, dropped: Dropped) -> Iterator[Document]:
    entry = source.inputs[one.entry]
    if not isinstance(entry, FilesSpec):
        for document in read_documents([one.file], name, dropped):
            yield _with_licence(document, source)
        return
    names = {spelling: language for language, spelling in (entry.languages or {}).items()}
    look = field_counter(entry, one.entry, dropped)
    for document in read_documents([one.file], name, dropped, _form(entry), look=look):
        values = dict(document.metadata)
        kept = {key: value for key, value in values.items() if not key.startswith("\0")}
        document = _with_licence(replace(document, metadata=kept), source)
        if one.origin is not None and "origin_field" not in entry.model_fields_set:
            document = replace(document, origin=one.origin)
        reason = next(
            (reason for test in entry.take if (reason := _refusal(test, values)) is not None), None
        )
        if reason is not None:
            dropped.drop(document, *reason)
        elif entry.language_field is not None:
            spelling = _spelling(values.get(_LANGUAGE))
            language = names.get(spelling)
            if language is None:
                dropped.drop(document, "another language", spelling)
            else:
                yield document.with_metadata(language=language)
        elif one.language is not None:
            yield document.with_metadata(language=one.language)
        else:
            yield document


def _form(entry: FilesSpec) -> RecordForm:
    looked_at = {_CONDITION.format(test.field): test.field for test in entry.take}
    if entry.language_field is not None:
        looked_at[_LANGUAGE] = entry.language_field
    return RecordForm(
        text_field=entry.text_field,
        origin_field=entry.origin_field,
        path_field=entry.path_field,
        licence_field=entry.licence_field,
        metadata=entry.metadata,
        looked_at=looked_at,
        named=named_fields(entry),
        text_form=entry.text_form,
        file_form=entry.format,
        id_field=entry.id_field,
        text_option="text_field",
    )


def _refusal(test: ConditionSpec, values: dict[str, JsonValue]) -> tuple[str, str] | None:
    """(reason, detail) why a record is not taken; None where it meets the condition."""
    value = values.get(_CONDITION.format(test.field))
    if value is None:
        return f"no {test.field}", ""
    text = _spelling(value)
    if test.values is not None and not _is_among(test.values, value):
        return f"another {test.field}", text
    if test.other_than is not None and _is_among(test.other_than, value):
        return f"{test.field} is {text}", ""
    if test.at_least is not None:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{test.field} is no number", text
        if value < test.at_least:
            return f"{test.field} below {test.at_least:g}", text
    return None


def _spelling(value: JsonValue) -> str:
    text = spelled(value)
    return json.dumps(value, ensure_ascii=False) if text is None else text


def _is_among(texts: Sequence[str], value: JsonValue) -> bool:
    """Whether the recipe, whose scalars are all text, means this value: `true` is a boolean as JSON
    or Python spells it, 1 and 1.0 are one number."""
    if isinstance(value, bool):
        return _spelling(value) in [text.lower() for text in texts]
    if isinstance(value, int | float):
        return any(_is_number(text, value) for text in texts)
    return _spelling(value) in texts


def _is_number(text: str, value: float) -> bool:
    try:  # whole numbers may have more digits than a float
        return float(text) == value if isinstance(value, float) else Decimal(text) == value
    except (ValueError, InvalidOperation):
        return False


def _with_licence(document: Document, source: SourceSpec) -> Document:
    """Of a document that names none that of the recipe, unless this has words in its place."""
    if document.licence or not is_expression(source.licence):
        return document
    return replace(document, licence=source.licence)
