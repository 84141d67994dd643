"""One source of a mixture, opened: its shard, the order of its samples, where it stood at the
start."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.order.parts import Parts, SampleOrder
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.transforms.rows import RowTransform
from megatron_codemix.errors import DataError


@dataclass(frozen=True)
class SourceSpec:
    """One source: its name in the mixture, and the prefix of its token shard."""

    name: str
    prefix: Path
    """A str is made one."""
    packing: Literal["best_fit"] | None = None
    """How documents are put into samples; None: the stream of them is cut into windows."""
    transform: RowTransform | None = None
    """What is done to each sample."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "prefix", Path(self.prefix))


class DocumentSpan(NamedTuple):
    """Tokens first_token .. last_token (both included, from 0) of a document of a source."""

    source: str
    document: int
    first_token: int
    last_token: int


class Source:
    """Reads of one source by draw: draw d is the (start_cursor + d)-th sample of its order."""

    def __init__(
        self, spec: SourceSpec, shard: TokenShard, order: SampleOrder, start_cursor: int
    ) -> None:
        self.name, self.shard, self.order, self.start_cursor = spec.name, shard, order, start_cursor
        self.transform = spec.transform
        self.has_padding = spec.packing is not None or spec.transform is not None
        self._newest_epoch = start_cursor // order.samples_per_epoch

    @property
    def stop_cursor(self) -> int:
        """First sample of the next epoch: it is not read before the shard was looked at again."""
        return (self._newest_epoch + 1) * self.order.samples_per_epoch

    def parts(self, draws: npt.NDArray[np.int64]) -> Parts:
        """Where the samples of these draws lie, their blocks checked.

        Raises DataError where a block has changed, or the shard was replaced since it was opened
        (looked at whenever an epoch begins).
        """
        cursors = self.start_cursor + draws
        if cursors.size:
            self._notice_replacement(int(cursors.max()) // self.order.samples_per_epoch)
        parts = self.order.parts(cursors)
        self.shard.check(parts.first, parts.length)
        return parts

    def documents(self, draw: int) -> list[DocumentSpan]:
        """What the sample of this draw is made of, in order; its last token is the last label."""
        parts = self.parts(np.array([draw]))
        return [
            span
            for first, length in zip(parts.first.tolist(), parts.length.tolist(), strict=True)
            for span in self._spans(first, first + length)
        ]

    def _spans(self, start: int, stop: int) -> list[DocumentSpan]:
        """Pieces of documents in tokens [start, stop) of the shard."""
        first, last = self.shard.documents_of(np.array([start, stop - 1])).tolist()
        documents = np.arange(first, last + 1)
        begins, lengths = self.shard.document_bounds(documents)
        return [
            DocumentSpan(
                self.name,
                document,
                max(start, begin) - begin,
                min(stop, begin + length) - begin - 1,
            )
            for document, begin, length in zip(
                documents.tolist(), begins.tolist(), lengths.tolist(), strict=True
            )
            if length
        ]

    def _notice_replacement(self, epoch: int) -> None:
        if epoch > self._newest_epoch:
            self._newest_epoch = epoch
            self.shard.recheck()


def open_shards(
    specs: dict[str, Path], weighted: list[str], sequence_length: int
) -> dict[str, TokenShard]:
    """The shards of the sources that have a weight. Raises DataError where one is damaged or too
    short for a sample, or they were made with different tokenizers."""
    shards = {name: TokenShard.open(specs[name]) for name in weighted}
    for shard in shards.values():
        if shard.num_tokens <= sequence_length:
            raise DataError(
                f"{shard.prefix}: {shard.num_tokens} tokens are less than one sample of "
                f"{sequence_length} + 1; use a shorter sequence_length or more data"
            )
    hashes = {name: shard.manifest.tokenizer_hash for name, shard in shards.items()}
    if len(set(hashes.values())) > 1:
        listing = ", ".join(f"{name}: {digest[:12]}" for name, digest in sorted(hashes.items()))
        raise DataError(
            f"the sources were prepared with different tokenizers ({listing}); prepare them again "
            "with one"
        )
    return shards
