"""Of a corpus the documents to train on, or those that are held out."""

from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.output_place import STATISTICS_SUFFIX, require_folder_place
from megatron_codemix.corpus.record import CorpusRecord
from megatron_codemix.corpus.split import SPLITS, Split, require_validation_fraction, split_of
from megatron_codemix.corpus.stages.dropped import Dropped
from megatron_codemix.corpus.stages.parts import Part
from megatron_codemix.corpus.stages.stage import Stage, read_part
from megatron_codemix.errors import DataError

_USE: dict[Split, str] = {"train": "train", "validation": "validate"}
_LEFT_OUT: dict[Split, str] = {"train": "held out", "validation": "for training"}


def require_split_place(out: Path) -> None:
    """Raises DataError where something else than both sides is in the folder of both."""
    require_folder_place(out, "both sides")
    own = {*SPLITS, *(side + STATISTICS_SUFFIX for side in SPLITS)}
    others = sorted({path.name for path in out.iterdir()} - own) if out.is_dir() else []
    if others:
        raise DataError(f"{out}: holds something else already ({others[0]}); name a new folder")


def empty_sides(side: Split, record: CorpusRecord) -> list[str]:
    """What is wrong with each source of which this side has got no document, though there are some.

    Asked for, with a validation fraction of 0, it is not wrong.
    """
    stage = record.stages[-1]
    fraction = stage.options["validation_fraction"]
    if side == "validation" and not fraction:
        return []
    return [
        f"source {name}: {side} has none of its {stage.num_read[name]} documents at validation "
        f"fraction {fraction:g}, which is nothing to {_USE[side]} with; give it more documents "
        "(of more origins), or change --validation-fraction"
        for name, entry in record.sources.items()
        if stage.num_read[name] and not entry.num_documents
    ]


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
