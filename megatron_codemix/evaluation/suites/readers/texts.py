"""Texts of the user's own whose loss is measured."""

from megatron_codemix.evaluation.suites.readers.formats import (
    Document,
    Fields,
    Format,
    Reader,
    text,
)


def _named(field: str) -> Format:
    def convert(record: Fields) -> Document | None:
        whole = text(record, field)
        return {"text": whole} if whole else None

    return Format("your own", (field,), convert)


READERS = {"texts": Reader([_named("text"), _named("content")])}
