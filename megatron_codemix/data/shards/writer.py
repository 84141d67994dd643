"""Writes token shards, a stream of documents at a time."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.block_hashes import BlockHasher, finish_tree, hash_blocks
from megatron_codemix.data.shards.index_file import HEADER_BYTES, finish_index
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.files import atomic_path, full_disk

_BUFFER_BYTES = 1 << 20


class TokenShardWriter:
    """Writes a shard that is whole or absent; use as a context manager and call `finish` inside.

    Memory: two buffers of 1 MiB, whatever the size. Raises UnavailableError where the disk fills
    up.
    """

    def __init__(self, prefix: Path, dtype: npt.DTypeLike) -> None:
        """`dtype`: uint16 or int32 (token_dtype)."""
        self.prefix = prefix
        self.dtype = np.dtype(dtype)
        self.num_documents = 0
        self.num_tokens = 0
        self._tokens, self._lengths = bytearray(), bytearray()
        with contextlib.ExitStack() as stack:
            self._bin = _open_in(stack, shard_file(prefix, ".bin"))
            self._idx = _open_in(stack, shard_file(prefix, ".idx"))
            self._blocks = _open_in(stack, shard_file(prefix, ".blocks"))
            self._idx.write(bytes(HEADER_BYTES))  # its counts are known at the end
            self._open = stack.pop_all()
        self._hasher = BlockHasher(self._blocks)

    def __enter__(self) -> "TokenShardWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bin.closed:  # finished
            return
        reason = error if error is not None else _AbandonedError()
        self._open.__exit__(type(reason), reason, trace)

    def add_document(self, tokens: npt.NDArray[np.integer] | Sequence[int]) -> None:
        """Appends a document as it is: the caller has put the end-of-document token."""
        array = np.ascontiguousarray(tokens, dtype=self.dtype)
        self.append_block(array, np.array([len(array)], np.int32))

    def append_block(self, tokens: npt.NDArray[Any], lengths: npt.NDArray[np.integer]) -> None:
        """Appends whole documents that lie one after another in `tokens`, of the shard's type.

        lengths: tokens of each. Costs a copy to the file and its hash, whatever their number.
        """
        assert tokens.dtype == self.dtype, (tokens.dtype, self.dtype)
        lengths = lengths.astype(np.int32)
        assert int(lengths.sum(dtype=np.int64)) == len(tokens), (int(lengths.sum()), len(tokens))
        self.num_documents += len(lengths)
        self.num_tokens += len(tokens)
        self._lengths += lengths.tobytes()
        if tokens.nbytes >= _BUFFER_BYTES:
            self._flush()
            self._write(np.ascontiguousarray(tokens).data.cast("B"))
            return
        self._tokens += tokens.tobytes()
        if max(len(self._tokens), len(self._lengths)) >= _BUFFER_BYTES:
            self._flush()

    def _flush(self) -> None:
        self._write(memoryview(bytes(self._tokens)))
        self._tokens.clear()
        try:
            self._idx.write(self._lengths)
        except OSError as error:
            raise full_disk(error, shard_file(self.prefix, ".idx")) from error
        self._lengths.clear()

    def _write(self, tokens: memoryview) -> None:
        try:
            self._bin.write(tokens)
            self._hasher.update(tokens)
        except OSError as error:
            raise full_disk(error, shard_file(self.prefix, ".bin")) from error

    def finish(self, **fields: Any) -> Manifest:  # Any: the manifest's fields, checked there
        """Puts .bin, .idx and .blocks in place and the manifest last.

        `fields`: source, split, tokenizer_hash, vocabulary_size, end_of_document_id, num_bytes,
        licences, origin.
        """
        root = self.finish_files()
        manifest = Manifest(
            dtype="uint16" if self.dtype == np.uint16 else "int32",
            num_documents=self.num_documents,
            num_tokens=self.num_tokens,
            blocks_root=root,
            **fields,
        )
        manifest.save(shard_file(self.prefix, ".manifest.json"))
        return manifest

    def finish_files(self) -> str:
        """Puts .bin, .idx and .blocks in place without a manifest: what Megatron reads. Returns the
        root of the hashes."""
        self._flush()
        try:
            finish_index(self._idx, self.num_documents, self.dtype)
            self._hasher.finish()
            self._idx.flush()
            hash_blocks(Path(self._idx.name), self._blocks, lambda num_bytes: None)
            root = finish_tree(self._blocks)
        except OSError as error:
            raise full_disk(error, shard_file(self.prefix, ".idx")) from error
        # A manifest says that the shard is whole: the old one goes before its files do.
        shard_file(self.prefix, ".manifest.json").unlink(missing_ok=True)
        self._open.close()
        return root


class _AbandonedError(Exception):
    """Tells atomic_path not to put the file in place: the writer was left without `finish`."""


def _open_in(stack: contextlib.ExitStack, path: Path) -> IO[bytes]:
    """A new file, open for reading and writing, that takes the name `path` when the stack ends."""
    temporary = stack.enter_context(atomic_path(path))
    return stack.enter_context(open(temporary, "w+b"))
