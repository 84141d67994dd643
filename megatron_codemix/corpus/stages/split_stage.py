"""Of a corpus the documents to train on, or those that are held out."""

from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.output_place import require_folder_place
from megatron_codemix.corpus.split import SPLITS, Split, require_validation_fraction, split_of
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.stage import Stage, read_part
from megatron_codemix.errors import DataError

_LEFT_OUT: dict[Split, str] = {"train": "held out", "validation": "for training"}


def require_split_place(out: Path) -> None:
    """Raises DataError where something else than both sides is in the folder of both."""
    require_folder_place(out, "both sides")
    others = sorted({path.name for path in out.iterdir()} - set(SPLITS)) if out.is_dir() else []
    if others:
        raise DataError(f"{out}: holds something else already ({others[0]}); name a new folder")


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
