"""The work of a stage on one part: its file, what was dropped, the record that it is finished."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.finished import (
    FinishedPart,
    counted,
    dropped_path,
    finished_part,
    record_path,
    remove_part,
)
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.stage import Stage
from megatron_codemix.corpus.writer import RecordWriter, utf8_bytes, write_documents
from megatron_codemix.files import hash_json

Advance = Callable[[int], None]

_VERSION = 2  # raise when the same options of every stage would give other bytes
_TOLD_BYTES = 1 << 20


@dataclass(frozen=True)
class PartJob:
    """The work of a stage on one part after another."""

    stage: Stage
    options: dict[str, JsonValue]
    out: Path
    keeps_dropped: bool

    @cached_property
    def key(self) -> str:
        """With the input it decides the file."""
        return hash_json([_VERSION, self.stage.name, self.options])

    def load(self) -> None:
        """Loads what every process needs."""
        self.stage.load()

    def finished(self, part: Part) -> FinishedPart | None:
        """What is there of the part already."""
        return finished_part(self.out, part, self.key, keeps_dropped=self.keeps_dropped)

    def todo(self, parts: Sequence[Part]) -> list[Part]:
        """Those that are not finished."""
        return [part for part in parts if self.finished(part) is None]

    def replaces(self, part: Part) -> bool:
        """Whether a whole file is there of this part, made from other input or by other options."""
        found = FinishedPart.load(record_path(self.out, part.source, part.number))
        if found is None or not found.file.has_its_size(self.out):
            return False
        return not found.is_of(part, self.key)

    def run(self, part: Part, advance: Advance) -> None:
        """Makes the file of a part, then puts it on record. Raises DataError, UnavailableError."""
        part.require_as_recorded()
        remove_part(self.out, part)
        # Before they are read: what is changed meanwhile has another state at the next start.
        states = part.states()
        with ExitStack() as stack:
            writer = None
            if self.keeps_dropped:
                writer = stack.enter_context(RecordWriter(dropped_path(self.out, part)))
            dropped = Dropped(writer=writer)
            documents = _telling(self.stage.documents(part, dropped), dropped, advance)
            file, licences = write_documents(self.out, part.output, documents, dropped)
        FinishedPart(
            key=self.key,
            inputs=tuple(states),
            file=file,
            licences=licences,
            num_read=file.num_documents + sum(dropped.counts.values()),
            dropped=counted(dropped),
            changed=dict(sorted(dropped.changed.items())),
            tallies={
                name: dict(sorted(counts.items())) for name, counts in dropped.tallies.items()
            },
            has_dropped_file=self.keeps_dropped,
        ).save(self.out, part)


def _telling(
    documents: Iterator[Document], dropped: Dropped, advance: Advance
) -> Iterator[Document]:
    """The documents; `advance` is told of their bytes and of those that were dropped."""
    kept_bytes = told_bytes = 0
    for document in documents:
        yield document
        kept_bytes += utf8_bytes(document.text)
        done = kept_bytes + dropped.num_bytes
        if done - told_bytes >= _TOLD_BYTES:
            advance(done - told_bytes)
            told_bytes = done
    advance(kept_bytes + dropped.num_bytes - told_bytes)
