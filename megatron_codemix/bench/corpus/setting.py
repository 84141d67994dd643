"""Where and how large the benchmark of the corpus runs; the texts that its sections share."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.bench.measure import Cost
from megatron_codemix.corpus.contamination.items import EvaluationTask
from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.duplicates.run import Advance, Progress, no_progress
from megatron_codemix.corpus.local.build import SOURCE_BYTES, build_local_corpus
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.store import source_files

STREAM_BYTES = 10_000_000_000
SYNTHESIS_COUNT = 100_000
RESUME_BYTES = 1_000_000_000
"""Sizes that the goals are stated for."""
MEGABYTE = 10**6


@dataclass(frozen=True, kw_only=True)
class Setting:
    """`stream_bytes`, `resume_bytes`: of text. `synthesis_count`: problems.

    corpus: a corpus of the user; None: what this machine has (`codemix corpus local`).
    read_tasks: the items of evaluations; None: items are made up.
    """

    folder: Path
    repeats: int
    is_quick: bool
    stream_bytes: int
    synthesis_count: int
    resume_bytes: int
    corpus: Path | None = None
    read_tasks: Callable[[], Sequence[EvaluationTask]] | None = None
    progress: Progress = no_progress

    def number(self, full: int, quick: int) -> int:
        """A size that has no option of its own."""
        return quick if self.is_quick else full

    def local_corpus(self) -> Path:
        """The corpus to be measured on, made once."""
        if self.corpus is not None:
            return self.corpus
        folder = self.folder / "local"
        with self.progress("corpus of this machine", None, "bytes") as advance:
            build_local_corpus(
                folder, source_bytes=self.number(SOURCE_BYTES, MEGABYTE), advance=advance
            )
        return folder


def texts_of(corpus: Path) -> dict[str, list[Document]]:
    """All documents of a corpus, by source."""
    return {
        source: list(read_documents(files, source, Skipped(is_announced=False)))
        for source, files in source_files(corpus).items()
    }


def reading(documents: Sequence[Document], advance: Advance) -> Iterator[Document]:
    """Documents in memory, as a search for duplicates reads a part."""
    return iter(documents)


def megabytes_per_second(num_bytes: int, cost: Cost) -> float:
    """Of processor time, the kernel's included: what one core does in a second."""
    return num_bytes / MEGABYTE / (cost.user + cost.system)
