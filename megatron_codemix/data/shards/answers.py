"""`<prefix>.answers`: which tokens of a shard of conversations are answers, one bit for each token.

Bit t % 8 of byte t // 8 (the least first) is token t's; what the last byte has left is 0. The
file's blocks are hashed like those of .bin and .idx, behind which they stand in `.blocks`.
"""

from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.checked_file import CheckedFile
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.files import full_disk

_Int64s = npt.NDArray[np.int64]

SUFFIX = ".answers"


def num_answer_bytes(num_tokens: int) -> int:
    """Size of the file."""
    return -(-num_tokens // 8)


class AnswersWriter:
    """Appends bits to a file that the caller has opened and closes."""

    def __init__(self, prefix: Path, file: IO[bytes]) -> None:
        self._path, self._file = shard_file(prefix, SUFFIX), file
        self._rest = np.empty(0, np.bool_)
        self.num_learned = 0

    def append(self, learned: npt.NDArray[np.bool_]) -> None:
        """Of the next tokens. Raises UnavailableError where the disk is full."""
        self.num_learned += int(np.count_nonzero(learned))
        bits = np.concatenate([self._rest, learned])
        whole = len(bits) - len(bits) % 8
        self._write(bits[:whole])
        self._rest = bits[whole:]

    def finish(self) -> None:
        """To be called after the last token."""
        self._write(self._rest)
        self._rest = self._rest[:0]

    def _write(self, bits: npt.NDArray[np.bool_]) -> None:
        try:
            self._file.write(np.packbits(bits, bitorder="little").tobytes())
            self._file.flush()
        except OSError as error:
            raise full_disk(error, self._path) from error


class Answers:
    """The bits of a shard, each block hashed when it is first touched. Threads may share it."""

    def __init__(self, file: CheckedFile, num_tokens: int) -> None:
        self.file, self._num_tokens = file, num_tokens

    def between(self, start: int, stop: int) -> npt.NDArray[np.bool_]:
        """Of tokens [start, stop). Raises IndexError, DataError."""
        if not 0 <= start <= stop <= self._num_tokens:
            raise IndexError(f"{self.file.path}: [{start}, {stop}) of {self._num_tokens} tokens")
        first, last = start // 8, num_answer_bytes(stop)
        self.file.check_range(first, last)
        bits = np.unpackbits(self.file.data[first:last], bitorder="little")
        return bits[start - 8 * first : stop - 8 * first].view(np.bool_)

    def of(self, tokens: _Int64s) -> npt.NDArray[np.bool_]:
        """Of each token, in any order. Raises ValueError outside of the shard, DataError."""
        places = tokens >> 3
        self.file.check(places, np.ones_like(places))
        bits = self.file.data[places] >> (tokens & 7).astype(np.uint8)
        learned: npt.NDArray[np.bool_] = (bits & 1).view(np.bool_)
        return learned

    def count(self, starts: _Int64s, lengths: npt.NDArray[np.integer]) -> _Int64s:
        """Answer tokens among [start, start + length) for each pair; ranges ascend and do not
        overlap. Reads the file once, a piece at a time."""
        counts = np.zeros(len(starts), np.int64)
        for begin in range(0, self._num_tokens, _PIECE_TOKENS):
            end = min(begin + _PIECE_TOKENS, self._num_tokens)
            before = np.concatenate([[0], np.cumsum(self.between(begin, end), dtype=np.int64)])
            low = np.clip(starts - begin, 0, end - begin)
            high = np.clip(starts + lengths - begin, 0, end - begin)
            counts += before[high] - before[low]
        return counts


_PIECE_TOKENS = 8 << 20
