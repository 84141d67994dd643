"""A stage: documents in, documents out, a reason for each that is left out."""

from collections.abc import Iterator
from typing import Protocol

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.readers import RecordForm, read_documents
from megatron_codemix.corpus.record import StageRecord
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part

_AS_THEY_ARE = RecordForm()


class Stage(Protocol):
    """To be inherited from. Goes to the workers, so it is picklable until it is loaded.

    What it makes of a part is a function of `options()` and the part's files alone: not of time,
    of other parts or of chance.
    """

    name: str
    """`filter`: what corpus.json calls it."""

    def options(self) -> dict[str, JsonValue]:
        """All that decides the bytes besides the input. A hash of files that it reads is among
        them, and a number that is raised once the same options give other bytes."""
        ...

    def summary(self) -> dict[str, JsonValue]:
        """What a reader has to know of the options before it runs, in entries of few words."""
        return {"options": self.options()}

    def load(self) -> None:
        """Loads what every process needs (models, indices), once before they are forked."""
        return

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        """The documents that stay, in their order; each other one goes to `dropped`."""
        ...

    def check(self, done: StageRecord) -> None:
        """Called once all parts are made. Raises DataError where they are no corpus that anybody
        wants; there is no corpus.json then."""
        return


def read_part(part: Part, dropped: Dropped) -> Iterator[Document]:
    """All documents of a part, one after another. Raises DataError: damaged files."""
    yield from read_documents(part.files, part.source, dropped, _AS_THEY_ARE)
