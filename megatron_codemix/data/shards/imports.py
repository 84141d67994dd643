"""Token files made elsewhere -> a shard of ours: the same documents, one sequence each, every one
ended, with manifest and documents.jsonl."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.split import Split
from megatron_codemix.data.shards.describe import require_source_name
from megatron_codemix.data.shards.foreign import DocumentBlock, ForeignTokens, open_foreign
from megatron_codemix.data.shards.layout import shard_file, token_dtype
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_file

_LONGEST = np.iinfo(np.int32).max


@dataclass(frozen=True, kw_only=True)
class Import:
    """What is imported, and as what."""

    inputs: Sequence[Path]
    out: Path
    tokenizer: Tokenizer
    source: str
    split: Split = "train"
    dtype: str | None = None
    append_eod: bool = False
    """Whether documents without an end-of-document token get one; else they are refused."""
    is_replacing: bool = False


def plan_import(asked: Import) -> list[ForeignTokens]:
    """Opens the inputs; writes nothing. Raises DataError on all that can be seen from sizes and
    indices."""
    require_source_name(asked.source)
    manifest = shard_file(asked.out, ".manifest.json")
    if manifest.exists() and not asked.is_replacing:
        raise DataError(f"{manifest}: a shard is there already; name another --out, or --replace")
    _require_wide_type(asked.dtype, asked.tokenizer)
    opened = [
        open_foreign(path, asked.dtype, asked.tokenizer.end_of_document_id) for path in asked.inputs
    ]
    own = {shard_file(asked.out, suffix).resolve() for suffix in (".bin", ".idx")}
    if any(foreign.path.resolve() in own for foreign in opened):
        raise DataError(f"{asked.out}: is the data set that is read; name another --out")
    return opened


def _require_wide_type(dtype: str | None, tokenizer: Tokenizer) -> None:
    if dtype is not None and np.iinfo(dtype).max < tokenizer.vocabulary_size - 1:
        raise DataError(
            f"--dtype {dtype} holds numbers up to {np.iinfo(dtype).max}, and {tokenizer.path} has "
            f"{tokenizer.vocabulary_size} entries: tokens of it were never written so; say the "
            "type that the files have"
        )


def import_tokens(asked: Import, advance: Callable[[int], None]) -> Manifest:
    """Copies the inputs, one after the other, into the shard `asked.out`. `advance` is told of
    bytes read.

    Raises DataError: a token outside the vocabulary, documents without their last token (unless
    `append_eod`), an input of a form that cannot be imported.
    """
    opened = plan_import(asked)
    tokenizer, lines_path = asked.tokenizer, shard_file(asked.out, ".documents.jsonl")
    num_bytes = 0
    with TokenShardWriter(asked.out, token_dtype(tokenizer.vocabulary_size)) as writer:
        with atomic_path(lines_path) as temporary, open(temporary, "w", encoding="utf-8") as lines:
            for foreign in opened:
                for number, block in _numbered(foreign, tokenizer, asked.append_eod, advance):
                    writer.append_block(block.tokens.astype(writer.dtype), block.lengths)
                    sizes = _text_bytes(block, tokenizer)
                    _write_lines(lines, foreign.path, asked.source, number, block, sizes)
                    num_bytes += int(sizes.sum())
        num_documents = writer.num_documents
        return writer.finish(
            source=asked.source,
            split=asked.split,
            tokenizer_hash=tokenizer.hash,
            vocabulary_size=tokenizer.vocabulary_size,
            end_of_document_id=tokenizer.end_of_document_id,
            num_bytes=num_bytes,
            licences={"unknown": num_documents},
            origin={
                "imported": [foreign.path.name for foreign in opened],
                "documents_sha256": hash_file(lines_path),
            },
        )


def _numbered(
    foreign: ForeignTokens, tokenizer: Tokenizer, append_eod: bool, advance: Callable[[int], None]
) -> Iterator[tuple[int, DocumentBlock]]:
    """Blocks with the number of their first document in the input, ended and checked."""
    number = first_token = 0
    for block in foreign.blocks():
        _check_vocabulary(foreign.path, block.tokens, first_token, tokenizer)
        yield number, _ended(foreign.path, block, number, tokenizer, append_eod)
        number += len(block.lengths)
        first_token += len(block.tokens)
        advance(block.tokens.nbytes)


def _check_vocabulary(
    path: Path, tokens: npt.NDArray[Any], first_token: int, tokenizer: Tokenizer
) -> None:
    wrong = np.flatnonzero((tokens < 0) | (tokens >= tokenizer.vocabulary_size))
    if len(wrong):
        raise DataError(
            f"{path}: token {first_token + int(wrong[0])} is {int(tokens[wrong[0]])}, "
            f"{tokenizer.path} has {tokenizer.vocabulary_size} entries; name the tokenizer that "
            "made the tokens, or their right --dtype"
        )


def _ended(
    path: Path, block: DocumentBlock, number: int, tokenizer: Tokenizer, append_eod: bool
) -> DocumentBlock:
    """The block with every document ended, or DataError."""
    end = tokenizer.end_of_document_id
    ends = np.cumsum(block.lengths)
    is_ended = block.lengths > 0
    is_ended[is_ended] = block.tokens[ends[is_ended] - 1] == end
    if block.lengths.size and block.lengths.max() >= _LONGEST:
        raise DataError(f"{path}: a document of {block.lengths.max()} tokens; {_LONGEST} fit")
    if is_ended.all():
        return block
    if not append_eod:
        raise DataError(
            f"{path}: document {number + int(np.argmin(is_ended))} does not end with the "
            f"end-of-document token ({end}) of {tokenizer.path}; append it with --append-eod, or "
            "name the tokenizer that made the tokens"
        )
    tokens = np.insert(block.tokens.astype(np.int64), ends[~is_ended], end)
    return DocumentBlock(tokens, block.lengths + ~is_ended)


def _text_bytes(block: DocumentBlock, tokenizer: Tokenizer) -> npt.NDArray[np.int64]:
    """UTF-8 bytes of each document, its end-of-document token not counted."""
    sizes = tokenizer.token_byte_lengths[block.tokens]
    before = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
    return np.diff(before[np.cumsum(block.lengths)], prepend=0)


def _write_lines(
    lines: IO[str],
    path: Path,
    source: str,
    number: int,
    block: DocumentBlock,
    sizes: npt.NDArray[np.int64],
) -> None:
    for place, (tokens, size) in enumerate(
        zip(block.lengths.tolist(), sizes.tolist(), strict=True)
    ):
        record = {
            "id": f"{path.name}:{number + place}",
            "source": source,
            "path": path.name,
            "licence": None,
            "bytes": size,
            "tokens": tokens,
        }
        lines.write(json.dumps(record, ensure_ascii=False) + "\n")
