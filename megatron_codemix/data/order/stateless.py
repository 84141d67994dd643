"""The default order: nothing built, nothing stored; any sample of any epoch from its number."""

import hashlib

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.order.parts import Parts
from megatron_codemix.errors import DataError
from megatron_codemix.ops import WindowOrder

_KEY_VERSION = b"codemix-order-1"
"""Changes with the order's definition: the samples of a run follow from it."""


def source_key(seed: int, name: str) -> int:
    """The 64-bit key of a source's order: sources of one run are read in unrelated orders."""
    text = str(seed).encode() + b"\0" + name.encode()
    digest = hashlib.blake2b(text, digest_size=8, person=_KEY_VERSION).digest()
    return int.from_bytes(digest, "little")


class StatelessOrder:
    """Windows of the shard as it lies on disk, in a keyed order that is new in every epoch.

    The shard's tokens are seen as a circle. Epoch e cuts it at a keyed place and reads from there
    n = (num_tokens - 1) // sequence_length windows of sequence_length + 1 tokens, each the next's
    neighbour but for the label that they share, in a keyed permutation of [0, n). Each token is an
    input at most once in an epoch; the fewer than sequence_length + 1 tokens that no window reads
    are others in every epoch. A window over the end of the shard is two parts: the last document
    ends there, so this is a document border like any other.

    What it does not do is mix documents: those that are neighbours on disk are neighbours in a
    window. That is the work of the keyed document shuffle at preparation (docs/data_order.md).
    """

    def __init__(self, num_tokens: int, sequence_length: int, key: int) -> None:
        """num_tokens: of the shard. key: source_key. Raises DataError if it holds no sample."""
        if num_tokens <= sequence_length:
            raise DataError(
                f"{num_tokens} tokens are less than one sample of {sequence_length} + 1; use a "
                "shorter sequence_length or more data"
            )
        self.windows = WindowOrder(num_tokens, sequence_length, key)
        self.samples_per_epoch = self.windows.windows_per_epoch

    def parts(self, cursors: npt.NDArray[np.int64]) -> Parts:
        """Where the samples lie (int64 cursors, each >= 0)."""
        return Parts(*self.windows.parts(cursors))

    def cursor_of(self, epoch: int, token: int) -> int | None:
        """The sample of `epoch` in which this token of the shard is an input, if there is one."""
        return self.windows.cursor_of(epoch, token)
