"""Token shards in Megatron's format: `<prefix>.bin`, `.idx`, `.blocks` and `.manifest.json`; of
conversations also `.answers`.

A document is one sequence of the index and ends with the end-of-document token. Opening reads the
manifest, the index's header and the sizes, so it costs the same at any size (0.1 ms); a block of 64
KiB of the .bin or the .idx is hashed when it is first touched, and its tokens are compared with the
vocabulary then.

What that costs, on one core with SHA extensions: 0.85 ns a byte, once for each process, so 3.5 us a
sample of 2,048 tokens (uint16) over an epoch and 14 us at 8,192; while few blocks were touched yet,
up to 115 us a sample, which a prefetcher hides. Later 1.1 us for a batch of 64. It also makes the
first touch of a window read 64 KiB from the disk.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.answers import Answers, num_answer_bytes
from megatron_codemix.data.shards.block_hashes import BLOCK_BYTES, HashTree, count_blocks
from megatron_codemix.data.shards.checked_file import CheckedBlocks, CheckedFile
from megatron_codemix.data.shards.document_index import DocumentIndex
from megatron_codemix.data.shards.index_file import read_header
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest, manifest_command, prepare_again
from megatron_codemix.data.shards.mapped_file import FileState, file_state
from megatron_codemix.errors import DataError

Tokens = npt.NDArray[np.uint16] | npt.NDArray[np.int32]
_Int64s = npt.NDArray[np.int64]


class _Files(NamedTuple):
    """What opening finds."""

    states: tuple[FileState, ...]
    manifest: Manifest
    bin: CheckedFile
    idx: CheckedFile
    documents: DocumentIndex
    answers: Answers | None


class TokenShard:
    """Read-only view of a shard. Threads may share it; so may processes that fork."""

    prefix: Path
    manifest: Manifest
    dtype: np.dtype[Any]
    data: npt.NDArray[Any]
    """All tokens, mapped. [num_tokens] Call `check` for what is about to be read of it."""
    num_documents: int
    num_tokens: int
    answers: Answers | None
    """Which tokens the assistant has written; None where documents are no conversations."""

    def __init__(self, prefix: Path, files: _Files) -> None:
        self.prefix = prefix
        self._use(files)

    @classmethod
    def open(cls, prefix: Path | str) -> "TokenShard":
        """Raises DataError that names the file: absent, cut, or not what the manifest says."""
        return cls(Path(prefix), _open_files(Path(prefix)))

    def _use(self, files: _Files) -> None:
        self._states, self.manifest, self._bin, self._idx, self._documents, self.answers = files
        self.dtype = np.dtype(self.manifest.dtype)
        self.data = self._bin.data.view(self.dtype)
        self.num_documents = self.manifest.num_documents
        self.num_tokens = self.manifest.num_tokens

    def check(self, first: _Int64s, length: _Int64s) -> None:
        """Hashes the blocks of tokens [first, first + length) that were not touched before.

        Raises ValueError where a range is outside the shard, DataError that names the block where
        one has changed or holds a token outside the vocabulary.
        """
        self._bin.check(first, length)

    @property
    def checked_blocks(self) -> CheckedBlocks:
        """Which blocks of tokens `check` would not hash any more."""
        return self._bin.checked_blocks

    def tokens(self, start: int, stop: int) -> Tokens:
        """Tokens [start, stop) of the whole shard, checked, native dtype."""
        if not 0 <= start <= stop <= self.num_tokens:
            raise IndexError(f"{self.prefix}: [{start}, {stop}) of {self.num_tokens} tokens")
        self._bin.check_range(start, stop)
        return self.data[start:stop]

    def document(self, number: int) -> Tokens:
        """All tokens of a document, its end-of-document token included."""
        (first,), (length,) = self.document_bounds(np.array([number]))
        return self.tokens(int(first), int(first + length))

    def document_bounds(self, documents: _Int64s) -> tuple[_Int64s, _Int64s]:
        """(first token, tokens) of each document. Raises IndexError, DataError."""
        return self._documents.bounds(documents)

    def documents_of(self, tokens: _Int64s) -> _Int64s:
        """Number of the document that holds each token. Raises IndexError, DataError."""
        return self._documents.documents_of(tokens)

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Tokens of each document, its end-of-document token included; read on first use."""
        return self._documents.lengths

    @property
    def offsets(self) -> _Int64s:
        """First token of each document; read on first use."""
        return self._documents.offsets

    @property
    def num_blocks(self) -> int:
        """Blocks that are hashed: of the .bin, then of the .idx, then of the .answers."""
        return sum(file.num_blocks for file in self._hashed)

    @property
    def _hashed(self) -> list[CheckedFile]:
        return [self._bin, self._idx, *([self.answers.file] if self.answers else [])]

    def check_block(self, block: int) -> None:
        """Hashes one of the `num_blocks`, unless it was before. Raises DataError."""
        for file in self._hashed:
            if block < file.num_blocks:
                file.check_block(block)
                return
            block -= file.num_blocks

    def check_structure(self) -> None:
        """Reads the whole index. Raises DataError where documents do not follow one another."""
        self._documents.check_structure()

    def recheck(self) -> bool:
        """Looks whether the files have been exchanged or written to since they were opened.

        True: they were, for the same content. `data` is then another array, and all blocks are
        hashed anew when touched. Raises DataError where the content is another or files are gone.
        Called where an epoch begins: tokens read before are not checked again within it.
        """
        if _states(self.prefix, has_answers=self.answers is not None) == self._states:
            return False
        files = _open_files(self.prefix)
        was, now = self.manifest.content_hash, files.manifest.content_hash
        if was != now:
            raise DataError(
                f"{self.prefix}: replaced by another shard while it was read (content {was[:8]}, "
                f"now {now[:8]}); put the former files back, or start a new run"
            )
        self._use(files)
        return True


def _states(prefix: Path, *, has_answers: bool) -> tuple[FileState, ...]:
    suffixes = (".manifest.json", ".bin", ".idx", ".blocks", *((".answers",) * has_answers))
    return tuple(file_state(shard_file(prefix, suffix)) for suffix in suffixes)


def _open_files(prefix: Path) -> _Files:
    if not shard_file(prefix, ".manifest.json").exists():
        raise DataError(_missing_manifest(prefix))
    # Before the files are read: what changes meanwhile is noticed later.
    states = _states(prefix, has_answers=False)
    manifest = Manifest.load(shard_file(prefix, ".manifest.json"))
    if manifest.answers is not None:
        states = (*states, file_state(shard_file(prefix, ".answers")))
    idx_path = shard_file(prefix, ".idx")
    header = read_header(idx_path)
    said = (manifest.dtype, manifest.num_documents, manifest.num_documents + 1)
    found = (header.dtype.name, header.num_sequences, header.num_borders)
    if said != found:
        raise DataError(
            f"{idx_path}: is of another shard than the manifest (type, documents, borders: "
            f"{found}, the manifest says {said}); copy all files of the shard again"
        )
    itemsize = header.dtype.itemsize
    bin_bytes = manifest.num_tokens * itemsize
    bin_blocks, idx_blocks = count_blocks(bin_bytes), count_blocks(header.num_bytes)
    answer_bytes = num_answer_bytes(manifest.num_tokens) if manifest.answers else 0
    tree = HashTree(
        shard_file(prefix, ".blocks"),
        bin_blocks + idx_blocks + count_blocks(answer_bytes),
        manifest.blocks_root,
    )
    bin_path = shard_file(prefix, ".bin")
    inspect = _Vocabulary(bin_path, manifest).require
    bin_file = CheckedFile(bin_path, bin_bytes, itemsize, tree, 0, inspect)
    idx_file = CheckedFile(idx_path, header.num_bytes, 1, tree, bin_blocks)
    documents = DocumentIndex(idx_file, header, manifest.num_tokens)
    answers = None
    if manifest.answers is not None:
        path, first = shard_file(prefix, ".answers"), bin_blocks + idx_blocks
        bits = CheckedFile(path, answer_bytes, 1, tree, first)
        answers = Answers(bits, manifest.num_tokens)
    return _Files(states, manifest, bin_file, idx_file, documents, answers)


class _Vocabulary:
    """Compares a block's tokens with the vocabulary."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self._path, self._size = path, manifest.vocabulary_size
        # A negative int32 is a large uint32: one comparison finds both.
        self._dtype = np.dtype(np.uint16 if manifest.dtype == "uint16" else np.uint32)

    def require(self, block: int, data: npt.NDArray[np.uint8]) -> None:
        """Raises DataError that names the first token outside."""
        tokens = data.view(self._dtype)
        if int(tokens.max()) < self._size:
            return
        place = int(np.flatnonzero(tokens >= self._size)[0])
        number = block * (BLOCK_BYTES // self._dtype.itemsize) + place
        value = int(tokens[place].astype(np.int32))
        raise DataError(
            f"{self._path}: token {number} is {value}, outside the vocabulary of {self._size} "
            "entries; prepare the shard again with the tokenizer of this run"
        )


def _missing_manifest(prefix: Path) -> str:
    if not shard_file(prefix, ".idx").exists():
        return f"{prefix}: no token shard there (no .idx, no .manifest.json); check the prefix"
    again = prepare_again(prefix) or f"write one with\n  {manifest_command(prefix)}"
    return f"{prefix}: the shard has no manifest, so nothing can be checked; {again}"


def require_tokenizer(shard: TokenShard, tokenizer_hash: str) -> None:
    """Raises DataError unless the shard was made with this tokenizer."""
    if shard.manifest.tokenizer_hash != tokenizer_hash:
        raise DataError(
            f"{shard.prefix}: made with tokenizer {shard.manifest.tokenizer_hash[:8]}, "
            f"not with {tokenizer_hash[:8]}; prepare the shard again or name the other tokenizer"
        )
