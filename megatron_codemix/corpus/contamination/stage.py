"""A corpus without what it holds of the items of evaluations, as a stage."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from megatron_codemix.corpus.contamination.cut import cut_around
from megatron_codemix.corpus.contamination.index import FoundItems, ItemIndex
from megatron_codemix.corpus.contamination.items import EvaluationTask
from megatron_codemix.corpus.contamination.report import (
    EXAMPLES,
    TaskHits,
    as_text,
    example,
    excerpt_of,
    report,
)
from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.finished import remove_remnants
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.run import writing_record
from megatron_codemix.corpus.stages.stage import Stage, read_part
from megatron_codemix.corpus.store import PARTS_FOLDER
from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_json, read_json, write_json, write_text
from megatron_codemix.ops import find_words

REPORT_FILE = "contamination.json"
TEXT_FILE = "contamination.txt"
HELD = "holds evaluation items"
CUT = "evaluation items cut out"
_VERSION = 2  # raise when the same options would give other bytes
_NAMED = 3

Removal = Literal["drop", "cut"]


class DecontaminateStage(Stage):
    """Drops every document that holds an item, or cuts the items out of it."""

    name = "decontaminate"

    def __init__(self, tasks: Sequence[EvaluationTask], removal: Removal, out: Path) -> None:
        """Raises DataError: no item of any task."""
        if not any(task.items for task in tasks):
            raise DataError("no items of evaluations to look for; give their data (--data-dir)")
        self._tasks = list(tasks)
        self._removal: Removal = removal
        self._out = out
        self._index: ItemIndex | None = None
        items = [[task.name, task.ngram, *(list(item) for item in task.items)] for task in tasks]
        self._options: dict[str, JsonValue] = {
            "version": _VERSION,
            "removal": removal,
            "tasks": {task.name: len(task.items) for task in tasks},
            "items": hash_json(items),
        }

    def options(self) -> dict[str, JsonValue]:
        return self._options

    def load(self) -> None:
        self._index = ItemIndex(self._tasks)

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        assert self._index is not None
        hits: dict[str, TaskHits] = {}
        for document in read_part(part, dropped):
            found = self._index.find(document.text)
            if found is None:
                yield document
                continue
            self._count(document, found, hits)
            rest = None
            if self._removal == "cut":
                rest = cut_around(document.text, found.spans(document.text))
            if rest is None:
                dropped.drop(document, HELD, self._named(found))
            else:
                dropped.change(CUT)
                yield replace(document, text=rest)
        path = self._hits_path(part)
        remove_remnants(path)
        write_json(path, {task: counted.to_json() for task, counted in hits.items()})

    def _count(self, document: Document, found: FoundItems, hits: dict[str, TaskHits]) -> None:
        assert self._index is not None
        places = None
        tasks: set[str] = set()
        for one in found.items:
            sought = self._index.items[one.number]
            task, item = sought.task, sought.item
            counted = hits.setdefault(task, TaskHits())
            counted.documents += task not in tasks
            tasks.add(task)
            counted.add_item(item.id, 1, one.words_found / one.words)
            if len(counted.examples) < EXAMPLES:
                places = find_words(document.text) if places is None else places
                begin, end = int(places[one.first, 0]), int(places[one.last - 1, 1])
                shown = excerpt_of(document.text, begin, end)
                text = "\n".join(item.texts)
                counted.examples.append(
                    example(item.id, text, one, document.source, document.id, shown)
                )

    def _named(self, found: FoundItems) -> str:
        """`humaneval HumanEval/3, mbpp 12 and 4 more`."""
        assert self._index is not None
        items = [self._index.items[one.number] for one in found.items]
        names = [f"{item.task} {item.item.id}" for item in items[:_NAMED]]
        more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
        return ", ".join(names) + more

    def _hits_path(self, part: Part) -> Path:
        """Three folders deep: two deep are the records of parts."""
        folder = self._out / PARTS_FOLDER / ".hits" / hash_json(self._options)[:16]
        return folder / part.source / f"{part.number:05d}.json"

    def finish(self, parts: Sequence[Part]) -> list[JsonValue]:
        """Writes and returns the report, once all parts are made. Several tasks may end at once."""
        hits: dict[str, TaskHits] = {}
        for part in parts:
            for task, counted in read_json(self._hits_path(part)).items():
                hits.setdefault(task, TaskHits()).merge(TaskHits.from_json(counted))
        rows = report(self._tasks, hits)
        with writing_record(self._out):
            for name in (TEXT_FILE, REPORT_FILE):
                remove_remnants(self._out / name)
            write_text(self._out / TEXT_FILE, as_text(rows))
            write_json(self._out / REPORT_FILE, rows)
        return rows
