"""`<prefix>.blocks`: hashes of a shard's blocks, as a tree whose root is in the manifest.

The file holds 16 bytes (the first half of a SHA-256) for each 64 KiB block of the .bin, then for
each of the .idx, then for each 64 KiB page of those hashes. The root is the SHA-256 of the last
part. Opening reads that last part only (one byte for 16 MiB of the shard, 25 kB for 410 GB); a page
of hashes is checked when a block of it is first asked for.
"""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np

from megatron_codemix.data.shards.mapped_file import map_bytes
from megatron_codemix.errors import DataError

BLOCK_BYTES = 1 << 16
DIGEST_BYTES = 16
_DIGESTS_PER_PAGE = BLOCK_BYTES // DIGEST_BYTES


def count_blocks(num_bytes: int) -> int:
    """Blocks of a file; its last may be shorter."""
    return -(-num_bytes // BLOCK_BYTES)


def block_digest(block: bytes | memoryview) -> bytes:
    """The 16 bytes that stand for a block. Releases the GIL."""
    return hashlib.sha256(block).digest()[:DIGEST_BYTES]


class BlockHasher:
    """Digests of the blocks of a stream, written to `out` as they come."""

    def __init__(self, out: IO[bytes]) -> None:
        self._out = out
        self._rest = bytearray()

    def update(self, data: memoryview) -> None:
        """Any number of bytes; those after the last whole block wait for the next call."""
        if self._rest:
            taken = BLOCK_BYTES - len(self._rest)
            self._rest += data[:taken]
            data = data[taken:]
            if len(self._rest) == BLOCK_BYTES:
                self.finish()
        whole = len(data) - len(data) % BLOCK_BYTES
        self._out.write(b"".join(_digests(data[:whole])))
        self._rest += data[whole:]

    def finish(self) -> None:
        """Ends the stream: what waits is its last block."""
        if self._rest:
            self._out.write(block_digest(bytes(self._rest)))
            self._rest.clear()


def hash_blocks(path: Path, out: IO[bytes], advance: Callable[[int], None]) -> None:
    """Digests of all blocks of a file, to `out`. `advance` is told of bytes read."""
    hasher = BlockHasher(out)
    with open(path, "rb") as handle:
        while piece := handle.read(64 * BLOCK_BYTES):
            hasher.update(memoryview(piece))
            advance(len(piece))
    hasher.finish()


def finish_tree(blocks: IO[bytes]) -> str:
    """Appends the digests of the pages to the digests of all blocks. Returns the root.

    `blocks` is open for reading and writing.
    """
    num_bytes = blocks.tell()
    blocks.seek(0)
    pages = b"".join(
        block_digest(blocks.read(min(BLOCK_BYTES, num_bytes - start)))
        for start in range(0, num_bytes, BLOCK_BYTES)
    )
    blocks.write(pages)
    return hashlib.sha256(pages).hexdigest()


class HashTree:
    """The digests in a `.blocks`, believed only as far as the root proves them."""

    def __init__(self, path: Path, num_blocks: int, root: str) -> None:
        """Raises DataError where the file has another size or does not belong to `root`."""
        self.path = path
        self._data = map_bytes(path)
        num_pages = -(-num_blocks // _DIGESTS_PER_PAGE)
        wanted = DIGEST_BYTES * (num_blocks + num_pages)
        if len(self._data) != wanted:
            raise DataError(
                f"{path}: {len(self._data)} bytes, {wanted} expected for {num_blocks} blocks; "
                "copy the shard again"
            )
        self._digests = self._data[: DIGEST_BYTES * num_blocks]
        self._pages = self._data[DIGEST_BYTES * num_blocks :].tobytes()
        if hashlib.sha256(self._pages).hexdigest() != root:
            raise self._changed()
        self._is_checked = np.zeros(num_pages, bool)

    def digest(self, block: int) -> bytes:
        """Of one block. Raises DataError where its page of the file has changed."""
        page = block // _DIGESTS_PER_PAGE
        if not self._is_checked[page]:
            found = block_digest(self._digests[page * BLOCK_BYTES : (page + 1) * BLOCK_BYTES].data)
            if found != self._pages[page * DIGEST_BYTES : (page + 1) * DIGEST_BYTES]:
                raise self._changed()
            self._is_checked[page] = True
        return self._digests[block * DIGEST_BYTES : (block + 1) * DIGEST_BYTES].tobytes()

    def _changed(self) -> DataError:
        return DataError(
            f"{self.path}: has changed since the manifest was written, so nothing can be checked; "
            "copy the shard again or prepare it anew"
        )


def _digests(data: memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), BLOCK_BYTES):
        yield block_digest(data[start : start + BLOCK_BYTES])
