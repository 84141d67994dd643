"""Token shards in Megatron's format (MMIDIDX v1): `<prefix>.bin`, `<prefix>.idx`,
`<prefix>.manifest.json`.

A document is one sequence of the index and ends with the end-of-document token. Opening a shard
checks sizes, the index's hash and the manifest; the hash of a block of the .bin is checked when the
block is first read.
"""

import hashlib
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.manifest import BLOCK_BYTES, Manifest
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, full_disk, hash_file

Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.int32]
TokenDtype = np.dtype[np.uint16] | np.dtype[np.int32]

_MAGIC = b"MMIDIDX\x00\x00"
_HEADER = struct.Struct("<9sQBQQ")  # magic, version, dtype code, sequences, document borders
_VERSION = 1
_DTYPE_CODES: dict[int, np.dtype[Any]] = {
    4: np.dtype(np.int32),
    8: np.dtype(np.uint16),
}  # Megatron's numbers
_MAX_UINT16_VOCABULARY = 65_535
_BYTES_PER_DOCUMENT = 4 + 8 + 8  # length, pointer, border


def token_dtype(vocabulary_size: int) -> np.dtype[Any]:
    """uint16 up to 65,535 entries, else int32."""
    return np.dtype(np.uint16 if vocabulary_size <= _MAX_UINT16_VOCABULARY else np.int32)


def shard_file(prefix: Path, suffix: str) -> Path:
    """`<prefix><suffix>`; the prefix may have dots of its own."""
    return prefix.with_name(prefix.name + suffix)


class Index(NamedTuple):
    """What a `.idx` says. `lengths` and `offsets` are in tokens, one per document."""

    dtype: np.dtype[Any]
    lengths: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    num_tokens: int


def read_index(path: Path) -> Index:
    """Raises DataError where the file is absent, cut, not MMIDIDX v1, or not one sequence a
    document.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the prefix") from error
    if len(data) < _HEADER.size:
        raise DataError(f"{path}: {len(data)} bytes are too few for an index; copy it again")
    magic, version, code, num_documents, num_borders = _HEADER.unpack(
        data[: _HEADER.size].tobytes()
    )
    if magic != _MAGIC or version != _VERSION:
        raise DataError(f"{path}: not a Megatron index (MMIDIDX, version {_VERSION})")
    if code not in _DTYPE_CODES:
        raise DataError(f"{path}: token type number {code}; uint16 (8) and int32 (4) are known")
    if num_borders != num_documents + 1:
        raise DataError(
            f"{path}: {num_documents} sequences in {num_borders - 1} documents; "
            "only one sequence a document is supported"
        )
    wanted = _HEADER.size + _BYTES_PER_DOCUMENT * num_documents + 8
    if len(data) != wanted:
        raise DataError(
            f"{path}: {len(data)} bytes, {wanted} expected for {num_documents} documents; "
            "copy it again"
        )
    dtype = _DTYPE_CODES[code]
    body = data[_HEADER.size :]
    lengths = body[: 4 * num_documents].view(np.int32).copy()  # the header leaves it unaligned
    pointers = body[4 * num_documents : 12 * num_documents].view(np.int64)
    borders = body[12 * num_documents :].view(np.int64)
    ends = np.cumsum(lengths, dtype=np.int64)
    offsets = ends - lengths
    is_sound = (
        (num_documents == 0 or int(lengths.min()) >= 0)
        and np.array_equal(pointers, offsets * dtype.itemsize)
        and np.array_equal(borders, np.arange(num_documents + 1))
    )
    if not is_sound:
        raise DataError(
            f"{path}: documents do not follow one another in the .bin; damaged, or several "
            "sequences a document; prepare the shard again"
        )
    return Index(dtype, lengths, offsets, int(ends[-1]) if num_documents else 0)


class TokenShard:
    """Read-only view of a shard. Threads may share it; so may processes that fork."""

    prefix: Path
    manifest: Manifest
    dtype: np.dtype[Any]
    lengths: npt.NDArray[np.int32]
    """Tokens of each document, its end-of-document token included."""
    offsets: npt.NDArray[np.int64]
    """Where each document starts, in tokens."""
    num_documents: int
    num_tokens: int

    def __init__(self, prefix: Path, manifest: Manifest, index: Index) -> None:
        self.prefix, self.manifest = prefix, manifest
        self.dtype, self.lengths, self.offsets, self.num_tokens = index
        self.num_documents = len(self.lengths)
        path = shard_file(prefix, ".bin")
        if self.num_tokens:
            self._tokens: npt.NDArray[Any] = np.memmap(path, dtype=self.dtype, mode="r")
        else:  # an empty file cannot be mapped
            self._tokens = np.empty(0, dtype=self.dtype)
        self._bytes = self._tokens.view(np.uint8)
        self._tokens_per_block = manifest.block_bytes // self.dtype.itemsize
        self._is_checked = np.zeros(len(manifest.block_sha256), dtype=bool)

    @classmethod
    def open(cls, prefix: Path) -> "TokenShard":
        """Raises DataError that names the file: absent, cut, changed, or not what the manifest
        says.
        """
        manifest_path = shard_file(prefix, ".manifest.json")
        if not manifest_path.exists():
            raise DataError(_missing_manifest(prefix))
        manifest = Manifest.load(manifest_path)
        index = read_index(shard_file(prefix, ".idx"))
        _check_against_manifest(prefix, manifest, index)
        return cls(prefix, manifest, index)

    def tokens(self, start: int, stop: int) -> Tokens:
        """Tokens [start, stop) of the whole shard, native dtype; DataError where a block has
        changed.
        """
        if not 0 <= start <= stop <= self.num_tokens:
            raise IndexError(f"{self.prefix}: [{start}, {stop}) of {self.num_tokens} tokens")
        if start < stop:
            first = start // self._tokens_per_block
            last = (stop - 1) // self._tokens_per_block
            # One comparison where everything has been read before: this is the hot path.
            if not self._is_checked[first : last + 1].all():
                for block in range(first, last + 1):
                    self.check_block(block)
        return self._tokens[start:stop]

    def document(self, number: int) -> Tokens:
        """All tokens of a document, its end-of-document token included."""
        start = int(self.offsets[number])
        return self.tokens(start, start + int(self.lengths[number]))

    @property
    def num_blocks(self) -> int:
        return len(self._is_checked)

    def check_block(self, block: int) -> None:
        """Compares the block's sha256 with the manifest's, once."""
        if self._is_checked[block]:
            return
        size = self.manifest.block_bytes
        found = hashlib.sha256(self._bytes[block * size : (block + 1) * size].data).hexdigest()
        if found != self.manifest.block_sha256[block]:
            others = f"of 0 to {self.num_blocks - 1}" if self.num_blocks > 1 else "the only one"
            raise DataError(
                f"{shard_file(self.prefix, '.bin')}: block {block} ({others}; "
                f"bytes {block * size} to {min((block + 1) * size, len(self._bytes))}) "
                "has changed since the manifest was written; copy the shard again or prepare it "
                "anew"
            )
        self._is_checked[block] = True


def _missing_manifest(prefix: Path) -> str:
    if not shard_file(prefix, ".idx").exists():
        return f"{prefix}: no token shard there (no .idx, no .manifest.json); check the prefix"
    return (
        f"{prefix}: the shard has no manifest, so nothing can be checked; write one with\n"
        f"  codemix data manifest {prefix} --tokenizer TOKENIZER.json --source NAME"
    )


def _check_against_manifest(prefix: Path, manifest: Manifest, index: Index) -> None:
    idx_path, bin_path = shard_file(prefix, ".idx"), shard_file(prefix, ".bin")
    if hash_file(idx_path) != manifest.idx_sha256:
        raise DataError(
            f"{idx_path}: has changed since the manifest was written; "
            "copy the shard again or prepare it anew"
        )
    try:
        size = bin_path.stat().st_size
    except OSError as error:
        raise DataError(f"{bin_path}: cannot be read ({error.strerror})") from error
    wanted = index.num_tokens * index.dtype.itemsize
    if size != wanted:
        raise DataError(f"{bin_path}: {size} bytes, the index wants {wanted}; copy the shard again")
    said = (manifest.dtype, manifest.num_documents, manifest.num_tokens)
    found = (index.dtype.name, len(index.lengths), index.num_tokens)
    if said != found or len(manifest.block_sha256) != -(-size // manifest.block_bytes):
        raise DataError(
            f"{prefix}: the manifest (type, documents, tokens: {said}) and the index {found} "
            "are of different shards; copy all files of the shard again"
        )


def require_tokenizer(shard: TokenShard, tokenizer_hash: str) -> None:
    """Raises DataError unless the shard was made with this tokenizer."""
    if shard.manifest.tokenizer_hash != tokenizer_hash:
        raise DataError(
            f"{shard.prefix}: made with tokenizer {shard.manifest.tokenizer_hash[:8]}, "
            f"not with {tokenizer_hash[:8]}; prepare the shard again or name the other tokenizer"
        )


class TokenShardWriter:
    """Writes a shard that is whole or absent; use as a context manager and call `finish` inside.

    Memory: 4 bytes a document. Raises UnavailableError where the disk fills up.
    """

    def __init__(self, prefix: Path, dtype: npt.DTypeLike) -> None:
        self.prefix = prefix
        self.dtype = np.dtype(dtype)
        self._code = {dtype: code for code, dtype in _DTYPE_CODES.items()}[self.dtype]
        self._lengths = np.empty(1024, dtype=np.int32)
        self.num_documents = 0
        self.num_tokens = 0
        # A manifest says that the shard is whole, so the old one goes first.
        shard_file(prefix, ".manifest.json").unlink(missing_ok=True)
        self._in_place = atomic_path(shard_file(prefix, ".bin"))
        self._file: IO[bytes] = open(self._in_place.__enter__(), "wb")  # noqa: SIM115 (see finish)
        self._hashes = BlockHashes()

    def __enter__(self) -> "TokenShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file.closed:  # finished
            return
        self._file.close()
        reason = error if error is not None else _AbandonedError()
        self._in_place.__exit__(type(reason), reason, trace)

    def add_document(self, tokens: npt.NDArray[np.integer] | Sequence[int]) -> None:
        """Appends a document as it is: the caller has put the end-of-document token."""
        array = np.ascontiguousarray(tokens, dtype=self.dtype)
        self.append_block(array, np.array([len(array)], dtype=np.int32))

    def append_block(self, tokens: npt.NDArray[Any], lengths: npt.NDArray[np.integer]) -> None:
        """Appends whole documents that lie one after another in `tokens`, of the shard's type.

        lengths: tokens of each. Costs a copy to the file and its hash, whatever their number.
        """
        assert tokens.dtype == self.dtype, (tokens.dtype, self.dtype)
        assert int(lengths.sum()) == len(tokens), (int(lengths.sum()), len(tokens))
        wanted = self.num_documents + len(lengths)
        if wanted > len(self._lengths):
            self._lengths = np.resize(self._lengths, max(wanted, 2 * len(self._lengths)))
        self._lengths[self.num_documents : wanted] = lengths
        self.num_documents = wanted
        self.num_tokens += len(tokens)
        data = np.ascontiguousarray(tokens).data
        try:
            self._file.write(data)
        except OSError as error:
            raise full_disk(error, shard_file(self.prefix, ".bin")) from error
        self._hashes.update(data)

    def finish(self, **fields: Any) -> Manifest:  # Any: the manifest's fields, checked there
        """Puts .bin and .idx in place and the manifest last.

        `fields`: source, split, tokenizer_hash, vocabulary_size, end_of_document_id, num_bytes,
        licences, origin.
        """
        manifest_path = shard_file(self.prefix, ".manifest.json")
        idx_path = shard_file(self.prefix, ".idx")
        with atomic_path(idx_path) as temporary:
            write_index(temporary, self._lengths[: self.num_documents], self._code)
        self._file.close()
        self._in_place.__exit__(None, None, None)  # syncs and renames the .bin
        manifest = Manifest(
            dtype="uint16" if self.dtype == np.uint16 else "int32",
            num_documents=self.num_documents,
            num_tokens=self.num_tokens,
            idx_sha256=hash_file(idx_path),
            bin_sha256=self._hashes.whole(),
            block_sha256=self._hashes.blocks(),
            **fields,
        )
        manifest.save(manifest_path)
        return manifest


class _AbandonedError(Exception):
    """Tells atomic_path not to put the file in place: the writer was left without `finish`."""


def write_index(path: Path, lengths: npt.NDArray[np.int32], dtype_code: int) -> None:
    """A `.idx` with one sequence a document, in pieces, so that memory stays flat at any size."""
    itemsize = _DTYPE_CODES[dtype_code].itemsize
    num_documents = len(lengths)
    piece = 1 << 20
    with open(path, "wb") as handle:
        handle.write(_HEADER.pack(_MAGIC, _VERSION, dtype_code, num_documents, num_documents + 1))
        handle.write(np.ascontiguousarray(lengths).data)
        offset = 0
        for start in range(0, num_documents, piece):
            part = lengths[start : start + piece].astype(np.int64)
            ends = offset + np.cumsum(part)
            handle.write(((ends - part) * itemsize).data)
            offset = int(ends[-1])
        for start in range(0, num_documents + 1, piece):
            handle.write(np.arange(start, min(start + piece, num_documents + 1)).data)


class BlockHashes:
    """sha256 of a stream, of the whole and of each 1 MiB block."""

    def __init__(self) -> None:
        self._whole = hashlib.sha256()
        self._block = hashlib.sha256()
        self._in_block = 0
        self._done: list[str] = []

    def update(self, data: memoryview) -> None:
        data = data.cast("B") if data.nbytes else memoryview(b"")
        self._whole.update(data)
        while data:
            piece = data[: BLOCK_BYTES - self._in_block]
            self._block.update(piece)
            self._in_block += len(piece)
            data = data[len(piece) :]
            if self._in_block == BLOCK_BYTES:
                self._close_block()

    def _close_block(self) -> None:
        self._done.append(self._block.hexdigest())
        self._block, self._in_block = hashlib.sha256(), 0

    def whole(self) -> str:
        return self._whole.hexdigest()

    def blocks(self) -> tuple[str, ...]:
        if self._in_block:
            self._close_block()
        return tuple(self._done)
