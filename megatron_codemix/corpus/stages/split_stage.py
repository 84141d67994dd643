"""Of a corpus the documents to train on, or those that are held out."""

from collections.abc import Iterator

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.split import Split, require_validation_fraction, split_of
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.stage import Stage, read_part

_LEFT_OUT: dict[Split, str] = {"train": "held out", "validation": "for training"}


class SplitStage(Stage):
    """Keeps one side. Which one a document is on is a function of its origin alone."""

    name = "split"

    def __init__(self, split: Split, validation_fraction: float) -> None:
        require_validation_fraction(validation_fraction)
        self._split = split
        self._fraction = validation_fraction

    def options(self) -> dict[str, JsonValue]:
        return {"split": self._split, "validation_fraction": self._fraction}

    def documents(self, part: Part, dropped: Dropped) -> Iterator[Document]:
        for document in read_part(part, dropped):
            if split_of(document.origin, self._fraction) == self._split:
                yield document
            else:
                dropped.drop(document, _LEFT_OUT[self._split])
