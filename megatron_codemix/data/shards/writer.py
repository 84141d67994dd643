"""Writes token shards, a stream of documents at a time."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.instructions.template import ChatTemplate
from megatron_codemix.data.shards.answers import AnswersWriter
from megatron_codemix.data.shards.block_hashes import BlockHasher, finish_tree, hash_blocks
from megatron_codemix.data.shards.index_file import HEADER_BYTES, finish_index
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import ChatAnswers, Manifest
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, full_disk

_BUFFER_BYTES = 1 << 20


class TokenShardWriter:
    """Writes a shard that is whole or absent; use as a context manager and call `finish` inside.

    Memory: two buffers of 1 MiB, whatever the size. Raises UnavailableError where the disk fills
    up.
    """

    def __init__(
        self, prefix: Path, dtype: npt.DTypeLike, chat_template: ChatTemplate | None = None
    ) -> None:
        """`dtype`: uint16 or int32 (token_dtype). chat_template: of a shard of conversations, by
        which they were rendered; each block then comes with its answers."""
        self.prefix = prefix
        self._template = chat_template
        self.dtype = np.dtype(dtype)
        self.num_documents = 0
        self.num_tokens = 0
        self._tokens, self._lengths = bytearray(), bytearray()
        self._seen = _Seen()
        with contextlib.ExitStack() as stack:
            self._bin = _open_in(stack, shard_file(prefix, ".bin"))
            self._idx = _open_in(stack, shard_file(prefix, ".idx"))
            self._blocks = _open_in(stack, shard_file(prefix, ".blocks"))
            self._answers = self._answers_path = None
            if chat_template is not None:
                file = _open_in(stack, shard_file(prefix, ".answers"))
                self._answers, self._answers_path = AnswersWriter(prefix, file), Path(file.name)
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

    def add_document(
        self,
        tokens: npt.NDArray[np.integer] | Sequence[int],
        learned: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Appends a document as it is: the caller has put the end-of-document token. learned: of a
        conversation, which tokens are answers.

        Raises DataError where it is no list of integers that the shard's type can hold.
        """
        array = np.asarray(tokens)
        limits = np.iinfo(self.dtype)
        if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
            raise DataError(
                f"{self.prefix}: document {self.num_documents} is an array of {array.dtype.name} "
                f"of {array.ndim} dimensions; tokens are a flat list of integers"
            )
        if array.size and not limits.min <= array.min() <= array.max() <= limits.max:
            raise DataError(
                f"{self.prefix}: document {self.num_documents} has tokens from {array.min()} to "
                f"{array.max()}, which {self.dtype.name} cannot hold; take the type from "
                "token_dtype(vocabulary_size)"
            )
        self.append_block(
            np.ascontiguousarray(array, dtype=self.dtype), np.array([len(array)], np.int32), learned
        )

    def append_block(
        self,
        tokens: npt.NDArray[Any],
        lengths: npt.NDArray[np.integer],
        learned: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Appends whole documents that lie one after another in `tokens`, of the shard's type.

        lengths: tokens of each. learned: of conversations, which tokens are answers [tokens]. Costs
        a copy to the file and its hash, whatever their number.
        """
        assert tokens.dtype == self.dtype, (tokens.dtype, self.dtype)
        assert (learned is None) == (self._answers is None), "answers belong to conversations"
        if self._answers is not None and learned is not None:
            assert learned.shape == tokens.shape, (learned.shape, tokens.shape)
            self._answers.append(learned)
        sizes: npt.NDArray[np.int32] = lengths.astype(np.int32)
        assert int(sizes.sum(dtype=np.int64)) == len(tokens), (int(sizes.sum()), len(tokens))
        self._seen.add(tokens, sizes, self.num_tokens, self.num_documents)
        self.num_documents += len(sizes)
        self.num_tokens += len(tokens)
        self._lengths += sizes.tobytes()
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
        licences, origin. Raises DataError, and leaves no shard, where there is no document, a token
        is outside the vocabulary or a document does not end with the end-of-document token.
        """
        if not self.num_documents:
            raise DataError(f"{self.prefix}: no document was added, and a shard needs one")
        self._seen.require(self.prefix, fields["vocabulary_size"], fields["end_of_document_id"])
        root = self.finish_files()
        manifest = Manifest(
            dtype="uint16" if self.dtype == np.uint16 else "int32",
            num_documents=self.num_documents,
            num_tokens=self.num_tokens,
            blocks_root=root,
            answers=self._described_answers(),
            **fields,
        )
        manifest.save(shard_file(self.prefix, ".manifest.json"))
        return manifest

    def _described_answers(self) -> ChatAnswers | None:
        if self._template is None or self._answers is None:
            return None
        return ChatAnswers(
            template=self._template.name,
            template_sha256=self._template.hash,
            template_source=self._template.source,
            num_learned=self._answers.num_learned,
        )

    def finish_files(self) -> str:
        """Puts .bin, .idx and .blocks in place without a manifest: what Megatron reads. Returns the
        root of the hashes."""
        self._flush()
        try:
            finish_index(self._idx, self.num_documents, self.dtype)
            self._hasher.finish()
            self._idx.flush()
            hash_blocks(Path(self._idx.name), self._blocks, lambda num_bytes: None)
            if self._answers is not None and self._answers_path is not None:
                self._answers.finish()
                hash_blocks(self._answers_path, self._blocks, lambda num_bytes: None)
            root = finish_tree(self._blocks)
        except OSError as error:
            raise full_disk(error, shard_file(self.prefix, ".idx")) from error
        # A manifest says that the shard is whole: the old one goes before its files do.
        shard_file(self.prefix, ".manifest.json").unlink(missing_ok=True)
        if self._answers is None:  # those of the shard that stood here before
            shard_file(self.prefix, ".answers").unlink(missing_ok=True)
        self._open.close()
        return root


class _Seen:
    """The largest token, and how documents end: compared once it is known with what."""

    def __init__(self) -> None:
        self._largest, self._place = -1, 0
        self._end: int | None = None
        """Last token of document 0; -1 where it is empty."""
        self._odd: int | None = None
        """The first document that ends otherwise."""

    def add(
        self,
        tokens: npt.NDArray[Any],
        lengths: npt.NDArray[np.int32],
        first_token: int,
        first_document: int,
    ) -> None:
        """Whole documents; the numbers of their first token and of the first of them."""
        if tokens.size:
            # A negative int32 is a large uint32: one comparison finds both.
            unsigned = tokens.view(np.uint16 if tokens.dtype == np.uint16 else np.uint32)
            largest = int(unsigned.max())
            if largest > self._largest:
                self._largest, self._place = largest, first_token + int(unsigned.argmax())
        if self._odd is not None or not lengths.size:
            return
        last = np.full(len(lengths), -1, np.int64)
        is_filled = lengths > 0
        last[is_filled] = tokens[np.cumsum(lengths, dtype=np.int64)[is_filled] - 1]
        if self._end is None:
            self._end = int(last[0])
        differs = last != self._end
        if differs.any():
            self._odd = first_document + int(differs.argmax())

    def require(self, prefix: Path, vocabulary_size: int, end_of_document_id: int) -> None:
        """Raises DataError where tokens are outside the vocabulary, or documents are not ended."""
        problems = []
        if self._largest >= vocabulary_size:
            value = int(np.array(self._largest, np.uint32).view(np.int32))
            problems.append(
                f"{prefix}: token {self._place} is {value}, outside the vocabulary of "
                f"{vocabulary_size} entries; name the tokenizer that made the tokens"
            )
        unended = self._odd if self._end == end_of_document_id else 0
        if unended is not None:
            problems.append(
                f"{prefix}: document {unended} does not end with the end-of-document token "
                f"({end_of_document_id}); append it to every document"
            )
        if problems:
            raise DataError(*problems)


class _AbandonedError(Exception):
    """Tells atomic_path not to put the file in place: the writer was left without `finish`."""


def _open_in(stack: contextlib.ExitStack, path: Path) -> IO[bytes]:
    """A new file, open for reading and writing, that takes the name `path` when the stack ends."""
    temporary = stack.enter_context(atomic_path(path))
    return stack.enter_context(open(temporary, "w+b"))
