"""Reads a corpus once, in parts, by several processes where asked, and counts."""

import pickle
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from megatron_codemix.corpus.document import Document, digest
from megatron_codemix.corpus.readers import InputFile, RecordForm, Skipped, read_documents
from megatron_codemix.corpus.stages.parts import Part, parts_of
from megatron_codemix.corpus.statistics.lowest import key_of
from megatron_codemix.corpus.statistics.repeats import Repeats
from megatron_codemix.corpus.statistics.source_counts import (
    CountOptions,
    DroppedSamples,
    SourceCounts,
)
from megatron_codemix.corpus.store import DROPPED_FOLDER, source_files
from megatron_codemix.corpus.writer import utf8_bytes
from megatron_codemix.workers import run_tasks

Advance = Callable[[int], None]

_DROPPED_SAMPLES = 2  # of each reason, however many are asked for of each source
_TOLD_BYTES = 1 << 20
_WITH_REASON = RecordForm(looked_at={"reason": "reason", "detail": "detail"})


@dataclass
class CorpusCounts:
    """What one pass has found, by source."""

    sources: dict[str, SourceCounts] = field(default_factory=dict)
    dropped: dict[str, DroppedSamples] = field(default_factory=dict)
    repeats: Repeats = field(default_factory=Repeats)

    def merge(self, other: "CorpusCounts") -> None:
        for name, counts in other.sources.items():
            if name in self.sources:
                self.sources[name].merge(counts)
            else:
                self.sources[name] = counts
        for name, samples in other.dropped.items():
            if name in self.dropped:
                self.dropped[name].merge(samples)
            else:
                self.dropped[name] = samples
        self.repeats.merge(other.repeats)


@dataclass(frozen=True)
class CountTask:
    """A part of a corpus, or of what a stage has left out of it."""

    number: int
    part: Part
    is_dropped: bool


@dataclass(frozen=True)
class CountJob:
    """Counts parts; what it finds of each goes to a file in `folder`."""

    options: CountOptions
    folder: Path

    def load(self) -> None:
        """Nothing to load."""

    def run(self, task: CountTask, advance: Advance) -> None:
        """Raises DataError: a damaged file."""
        count = _count_dropped if task.is_dropped else _count_part
        found = count(task.part, self.options, _Teller(advance))
        with open(self.path(task), "wb") as handle:
            pickle.dump(found, handle, protocol=pickle.HIGHEST_PROTOCOL)

    def path(self, task: CountTask) -> Path:
        return self.folder / f"{task.number}.pickle"


def count_corpus(
    corpus: Path, options: CountOptions, *, workers: int = 1, advance: Advance | None = None
) -> CorpusCounts:
    """Counts all sources of a corpus folder; `advance` is told of UTF-8 bytes of text. The same
    whatever the number of workers.

    Raises DataError: no corpus folder, a stage that has not finished, a damaged file.
    """
    tasks = _tasks(corpus)
    counts = CorpusCounts()
    with tempfile.TemporaryDirectory(prefix="codemix-statistics-") as folder:
        job = CountJob(options, Path(folder))
        run_tasks(job, tasks, workers, advance or _ignore)
        for task in tasks:
            with open(job.path(task), "rb") as handle:
                counts.merge(pickle.load(handle))  # our own, of a moment ago
    return counts


def dropped_files(corpus: Path) -> dict[str, tuple[InputFile, ...]]:
    """What a stage has left out of each source, where it was asked to keep that."""
    folder = corpus / DROPPED_FOLDER
    has_any = folder.is_dir() and any(path.is_file() for path in folder.rglob("*.jsonl.zst"))
    return source_files(folder) if has_any else {}


def _tasks(corpus: Path) -> list[CountTask]:
    parts = [(part, False) for part in parts_of(source_files(corpus))]
    parts += [(part, True) for part in parts_of(dropped_files(corpus))]
    return [CountTask(number, *task) for number, task in enumerate(parts)]


class _Teller:
    """Tells of bytes, a megabyte at a time."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance
        self._untold = 0

    def add(self, num_bytes: int) -> None:
        self._untold += num_bytes
        if self._untold >= _TOLD_BYTES:
            self.finish()

    def finish(self) -> None:
        self._advance(self._untold)
        self._untold = 0


def _count_part(part: Part, options: CountOptions, teller: _Teller) -> CorpusCounts:
    part.require_as_recorded()
    counts, repeats = SourceCounts(options), Repeats()
    for document in read_documents(part.files, part.source, counts.skipped):
        num_bytes = utf8_bytes(document.text)
        content = digest(document.text)
        repeats.add(part.source, content)
        counts.add(document, num_bytes, key_of(options.seed, document.id, content))
        teller.add(num_bytes)
    teller.finish()
    return CorpusCounts({part.source: counts}, repeats=repeats)


def _count_dropped(part: Part, options: CountOptions, teller: _Teller) -> CorpusCounts:
    samples = DroppedSamples(min(options.num_samples, _DROPPED_SAMPLES))
    skipped = Skipped(is_announced=False)
    for document in read_documents(part.files, part.source, skipped, _WITH_REASON):
        document, reason, detail = _with_reason(document)
        key = key_of(options.seed, document.id, document.text[:1000].encode())
        samples.add(document, reason, detail, key)
        teller.add(utf8_bytes(document.text))
    teller.finish()
    return CorpusCounts(dropped={part.source: samples})


def _with_reason(document: Document) -> tuple[Document, str, str]:
    metadata = dict(document.metadata)
    reason = str(metadata.pop("reason", "unknown"))
    detail = str(metadata.pop("detail", ""))
    return replace(document, metadata=metadata), reason, detail


def _ignore(amount: int) -> None:
    return None
