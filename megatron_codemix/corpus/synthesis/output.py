"""The corpus folder that problems are written to, whatever made them: parts, and corpus.json
last."""

import hashlib
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.readers import Skipped
from megatron_codemix.corpus.record import (
    CORPUS_FILE,
    CorpusRecord,
    CorpusSource,
    StageRecord,
    load_corpus,
)
from megatron_codemix.corpus.store import PARTS_FOLDER
from megatron_codemix.corpus.synthesis.distinct import key, normalised_statement
from megatron_codemix.corpus.writer import SUFFIX, CorpusFile, encoded, write_documents
from megatron_codemix.errors import DataError

STAGE = "synthesize"
PART_DOCUMENTS = 10_000


@dataclass(frozen=True)
class Synthesized:
    """`is_old`: it was complete already."""

    folder: Path
    count: int
    sha256: str
    """Of the uncompressed lines of all parts, in order."""
    families: dict[str, int]
    sources: dict[str, int]
    """Documents of each source: that of the problems, and of those in other languages."""
    distinct_statements: float
    """Share of the problems' statements that are left apart once they are normalised."""
    mutation_score: float
    """Mean over the problems."""
    difficulty: float
    """Mean over the problems."""
    candidates: int
    rejected: dict[str, int]
    seconds: float
    is_old: bool


@dataclass
class _Totals:
    """Summed while documents pass by."""

    content: Any = field(default_factory=hashlib.sha256)
    families: Counter[str] = field(default_factory=Counter)
    score: float = 0.0
    difficulty: float = 0.0
    statements: set[bytes] = field(default_factory=set)
    """Keys of the normalised ones."""

    def passing(self, documents: Iterator[Document]) -> Iterator[Document]:
        for document in documents:
            self.content.update(encoded(document.to_record()))
            self.families[document.metadata["family"]] += 1
            self.score += document.metadata["mutation"]["score"]
            self.difficulty += document.metadata["difficulty"]
            self.statements.add(key(normalised_statement(document.metadata["statement"])))
            yield document


class Output:
    """A folder for the sources named, the problems' own first. `options`: what was asked for."""

    def __init__(
        self,
        folder: Path,
        sources: tuple[str, ...],
        options: dict[str, JsonValue],
        part_documents: int = PART_DOCUMENTS,
    ) -> None:
        self.folder = folder
        self.sources = sources
        self._options = options
        self._part_documents = part_documents
        self._started = time.monotonic()

    def complete(self, *, besides: frozenset[str] = frozenset()) -> Synthesized | None:
        """The corpus that is there already; None where there is none. `besides`: other files that
        belong to what is being made. Raises DataError: something else is there, or it is damaged.
        """
        out, record = self.folder, load_corpus(self.folder)
        if record is None:
            own = {PARTS_FOLDER, *self.sources, *besides}
            there = {one.name for one in out.iterdir()} if out.is_dir() else set()
            if there and not (there <= own and there & {PARTS_FOLDER, *besides}):
                raise DataError(f"{out}: is not empty; name a new folder for the synthetic corpus")
            return None
        stage = record.stages[-1]
        asked = {key: value for key, value in stage.options.items() if key != "result"}
        if stage.name != STAGE or asked != self._options:
            raise DataError(
                f"{out / CORPUS_FILE}: another corpus is there (or one of another version of the "
                "generator); name a new folder, or delete this one"
            )
        if not record.is_whole(out):
            raise DataError(f"{out}: the corpus is damaged; delete the folder and make it again")
        return self._result(record, is_old=True)

    def write(
        self,
        documents: Mapping[str, Iterator[Document]],
        *,
        candidates: int,
        rejected: Mapping[str, int],
        untranslated: Mapping[str, Mapping[str, int]] | None = None,
    ) -> Synthesized:
        """Writes all sources; figures are of the first, the problems' own. `untranslated`: by
        source of translations, why some problems have none there."""
        totals, others = _Totals(), _Totals()
        main = self.sources[0]
        sources: dict[str, CorpusSource] = {}
        for source in self.sources:
            counted = totals if source == main else others
            sources[source] = self._parts(source, counted.passing(documents[source]))
            if source != main:
                totals.content.update(others.content.digest())
        count = sources[main].num_documents
        result: dict[str, JsonValue] = {
            "sha256": totals.content.hexdigest(),
            "families": dict(sorted(totals.families.items())),
            "sources": {name: one.num_documents for name, one in sources.items()},
            "distinct_statements": round(len(totals.statements) / count, 4),
            "mutation_score": round(totals.score / count, 4),
            "difficulty": round(totals.difficulty / count, 4),
            "candidates": candidates,
        }
        others_left_out = untranslated or {}
        left_out = {main: rejected, **others_left_out}
        stage = StageRecord(
            STAGE,
            {**self._options, "result": result},
            num_read={main: candidates, **dict.fromkeys(others_left_out, count)},
            dropped={source: _skipped(reasons) for source, reasons in left_out.items()},
        )
        record = CorpusRecord(sources, (stage,))
        record.save(self.folder)
        return self._result(record, is_old=False)

    def _parts(self, source: str, documents: Iterator[Document]) -> CorpusSource:
        files: list[CorpusFile] = []
        licences: Counter[str] = Counter()
        (self.folder / source).mkdir(parents=True, exist_ok=True)
        while (first := next(documents, None)) is not None:
            part = chain([first], islice(documents, self._part_documents - 1))
            name = f"{source}/part-{len(files):05d}{SUFFIX}"
            file, by_licence = write_documents(self.folder, name, part)
            files.append(file)
            licences.update(by_licence)
        return CorpusSource(tuple(files), dict(licences))

    def _result(self, record: CorpusRecord, *, is_old: bool) -> Synthesized:
        stage = record.stages[-1]
        return Synthesized(
            folder=self.folder,
            count=stage.options["count"],
            rejected={
                reason: number
                for source in self.sources
                if source in stage.dropped
                for reason, number in stage.dropped[source].counts.items()
            },
            seconds=time.monotonic() - self._started,
            is_old=is_old,
            **stage.options["result"],
        )


def _skipped(reasons: Mapping[str, int]) -> Skipped:
    skipped = Skipped(is_announced=False)
    for reason, number in sorted(reasons.items()):
        skipped.counts[reason], skipped.names[reason] = number, []
    return skipped
