"""Data of logical deduction: BIG-bench's and BIG-bench Hard's, by the number of objects."""

import re
from collections.abc import Iterator

from megatron_codemix.evaluation.suites.readers.files import Located
from megatron_codemix.evaluation.suites.readers.formats import (
    Document,
    Fields,
    Format,
    Reader,
    index,
    letter,
    text,
    texts,
)

_OPTION = re.compile(r"^\(([A-Z])\) (.+)$", re.MULTILINE)


def _examples(one: Located) -> Iterator[Located]:
    if "examples" not in one.record:
        yield one
        return
    for number, example in enumerate(one.record["examples"], start=1):
        yield Located(f"{one.where}, example {number}", example)


def _big_bench(record: Fields) -> Document:
    scores = record["target_scores"]
    choices = texts(list(scores), "target_scores", at_least=2)
    right = [number for number, choice in enumerate(choices) if scores[choice] == 1]
    if len(right) != 1:
        raise ValueError(f"target_scores has {len(right)} right answers, not one")
    return {"query": text(record, "input"), "choices": choices, "gold": right[0]}


def _hard(record: Fields) -> Document:
    query, _, options = text(record, "input").partition("\nOptions:\n")
    found = _OPTION.findall(options)
    letters = [f"({one})" for one, _ in found]
    gold = letter(record["target"], "target", letters)
    return {"query": query, "choices": [choice for _, choice in found], "gold": gold}


def _ready(record: Fields) -> Document:
    choices = texts(record["choices"], "choices", at_least=2)
    query = text(record, "query").removeprefix("Question: ").removesuffix("\nAnswer:")
    return {"query": query, "choices": choices, "gold": index(record["gold"], "gold", len(choices))}


def _of_size(made: Format, count: int) -> Format:
    def convert(record: Fields) -> Document | None:
        document = made.convert(record)
        return document if document and len(document["choices"]) == count else None

    return Format(made.name, made.needs, convert, made.note)


def _reader(count: int) -> Reader:
    """Of items with so many objects: they have as many choices. Some files have all sizes."""
    formats = [
        Format("BIG-bench", ("input", "target_scores"), _big_bench),
        Format("BIG-bench Hard", ("input", "target"), _hard),
        Format("ready-made prompts", ("query", "choices", "gold"), _ready),
    ]
    return Reader([_of_size(one, count) for one in formats], _examples)


READERS = {f"logical_deduction_{count}": _reader(count) for count in (3, 5, 7)}
