"""The manifest of a token shard that another program made."""

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megatron_codemix.config.mixture_checks import source_name_problem
from megatron_codemix.corpus.split import Split
from megatron_codemix.data.documents_file import Listing, summarise_records
from megatron_codemix.data.shards.block_hashes import finish_tree, hash_blocks
from megatron_codemix.data.shards.index_file import PIECE
from megatron_codemix.data.shards.layout import shard_file
from megatron_codemix.data.shards.manifest import Manifest, prepare_again
from megatron_codemix.data.shards.unchecked_shard import UncheckedShard, open_unchecked
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_file

log = logging.getLogger(__name__)

_PIECE_TOKENS = 1 << 19

_REPLACED = "a new one takes its place; it does not know the corpus that the shard was made of"


def describe_shard(
    prefix: Path,
    tokenizer: Tokenizer,
    source: str,
    split: Split,
    advance: Callable[[int], None],
    *,
    is_replacing: bool = False,
) -> Manifest:
    """Writes manifest and documents.jsonl for an existing .bin and .idx. `advance` is told of bytes
    read.

    A manifest that says the same of the shard is left as it is, and a documents.jsonl with a line
    for each document is kept: nothing else knows their names and licences. Raises DataError: either
    of another shard (unless `is_replacing`), sizes that do not fit, tokens outside the vocabulary,
    documents without their last token.
    """
    found = _look(prefix, tokenizer, source, split, is_replacing=is_replacing)
    existing, shard, listing = found.manifest, found.shard, found.listing
    path = shard_file(prefix, ".manifest.json")
    if is_replacing and path.exists():
        log.warning("%s: %s", path, _REPLACED)
    documents = shard_file(prefix, ".documents.jsonl")
    blocks_path = shard_file(prefix, ".blocks")
    with atomic_path(blocks_path) as temporary, open(temporary, "w+b") as blocks:
        for suffix in _hashed_suffixes(existing):
            hash_blocks(shard_file(prefix, suffix), blocks, advance)
        root = finish_tree(blocks)
        if existing is not None:
            _refuse_other(prefix, existing, {"blocks_root": root})
        if existing is not None and found.has_its_documents:
            return existing
        if listing is None:
            num_bytes = _write_documents(documents, prefix, source, shard, tokenizer, advance)
            unknown = {"unknown": len(shard.lengths)}
            listing = Listing(num_bytes, existing.licences if existing else unknown)
        else:
            for _ in _read_documents(prefix, shard, tokenizer, advance):
                pass  # refuses tokens of another tokenizer
    manifest = Manifest(
        source=source,
        split=split,
        tokenizer_hash=tokenizer.hash,
        vocabulary_size=tokenizer.vocabulary_size,
        end_of_document_id=tokenizer.end_of_document_id,
        dtype="uint16" if shard.tokens.dtype == np.uint16 else "int32",
        num_documents=len(shard.lengths),
        num_tokens=len(shard.tokens),
        num_bytes=listing.num_bytes,
        licences=listing.licences,
        blocks_root=root,
        origin={
            **(existing.origin if existing else {"described": prefix.name}),
            "documents_sha256": hash_file(documents),
        },
    )
    manifest.save(path)
    return manifest


def suffixes_to_write(
    prefix: Path, tokenizer: Tokenizer, source: str, split: Split, *, is_replacing: bool = False
) -> list[str]:
    """Of the files that `describe_shard` will write. Raises what it would, as far as can be told
    without reading the tokens."""
    found = _look(prefix, tokenizer, source, split, is_replacing=is_replacing)
    if found.has_its_documents:
        return [".blocks"]
    return [".blocks", *([".documents.jsonl"] if found.listing is None else []), ".manifest.json"]


@dataclass(frozen=True)
class _Found:
    """What is there of a shard before its tokens are read."""

    manifest: Manifest | None
    """None where a new one is to be written."""
    has_its_documents: bool
    """Whether documents.jsonl is the one that `manifest` knows."""
    shard: UncheckedShard
    listing: Listing | None
    """Of another documents.jsonl that is to be kept."""


def _look(
    prefix: Path, tokenizer: Tokenizer, source: str, split: Split, *, is_replacing: bool
) -> _Found:
    """Raises DataError as `describe_shard`, as far as can be told without reading the tokens."""
    require_source_name(source)
    existing = None if is_replacing else require_describable(prefix, tokenizer, source, split)
    has_its_documents = _has_its_documents(prefix, existing)
    is_known = existing is not None and existing.answers is not None and has_its_documents
    if prepare_again(prefix) is not None and not is_known:
        raise DataError(_lost_answers(prefix))
    shard = open_unchecked(prefix)
    listing = None if has_its_documents else _kept_listing(prefix, shard, is_replacing=is_replacing)
    return _Found(existing, has_its_documents, shard, listing)


def _kept_listing(prefix: Path, shard: UncheckedShard, *, is_replacing: bool) -> Listing | None:
    """Of the documents.jsonl that is there; None where one is to be written."""
    path = shard_file(prefix, ".documents.jsonl")
    if not path.is_file():
        return None
    try:
        listing = summarise_records(prefix, _read_lengths(shard))
    except DataError as error:
        if not is_replacing:
            raise DataError(
                f"{error}; put back the file that was made with this shard, or write one anew, "
                "which will not know names, origins and licences of the documents, with --replace"
            ) from error
        log.warning("%s; a new one takes its place, without names, origins and licences", error)
        return None
    log.warning("%s: fits the shard and is kept", path)
    return listing


def _read_lengths(shard: UncheckedShard) -> Iterator[int]:
    for start in range(0, len(shard.lengths), PIECE):
        yield from shard.lengths[start : start + PIECE].tolist()


def _hashed_suffixes(existing: Manifest | None) -> tuple[str, ...]:
    has_answers = existing is not None and existing.answers is not None
    return (".bin", ".idx", ".answers") if has_answers else (".bin", ".idx")


def _lost_answers(prefix: Path) -> str:
    """A manifest written anew cannot say which tokens are answers."""
    return (
        f"{shard_file(prefix, '.answers')}: is of a shard of conversations, whose manifest only "
        "`codemix data prepare` writes; prepare it again, or remove this file and have all tokens "
        "learned alike"
    )


def bytes_to_read(prefix: Path) -> int:
    """What `describe_shard` will tell `advance` of: both files hashed, then the tokens."""
    sizes = {suffix: shard_file(prefix, suffix).stat().st_size for suffix in (".bin", ".idx")}
    return 2 * sizes[".bin"] + sizes[".idx"]


def require_describable(
    prefix: Path, tokenizer: Tokenizer, source: str, split: Split
) -> Manifest | None:
    """The manifest there, if any. Raises DataError where it says something else of the shard, as
    far as can be told without reading the tokens."""
    path = shard_file(prefix, ".manifest.json")
    if not path.exists():
        return None
    try:
        existing = Manifest.load(path)
    except DataError as error:  # which advises to write it anew, but for a shard of conversations
        if prepare_again(prefix) is None:
            log.warning("%s\n%s", error, _REPLACED)
        return None
    wanted = {
        "source": source,
        "split": split,
        "tokenizer_hash": tokenizer.hash,
    }
    _refuse_other(prefix, existing, wanted)
    return existing


def require_source_name(source: str) -> None:
    """Raises DataError."""
    problem = source_name_problem(source)
    if problem is not None:
        raise DataError(f"source {source!r}: {problem}")


def _refuse_other(prefix: Path, existing: Manifest, wanted: dict[str, str]) -> None:
    differences = [
        f"{name} {_short(getattr(existing, name))}, not {_short(value)}"
        for name, value in wanted.items()
        if getattr(existing, name) != value
    ]
    if differences:
        raise DataError(
            f"{shard_file(prefix, '.manifest.json')}: a manifest is there already, with "
            f"{'; '.join(differences)}; check the arguments and the files, or replace it "
            "knowingly with --replace"
        )


def _short(value: str) -> str:
    return value[:8] if len(value) == 64 else value  # 64: a sha256


def _has_its_documents(prefix: Path, manifest: Manifest | None) -> bool:
    documents = shard_file(prefix, ".documents.jsonl")
    if manifest is None:
        return False
    return documents.is_file() and manifest.origin.get("documents_sha256") == hash_file(documents)


def _write_documents(
    path: Path,
    prefix: Path,
    source: str,
    shard: UncheckedShard,
    tokenizer: Tokenizer,
    advance: Callable[[int], None],
) -> int:
    """Writes a line for each document. Returns the UTF-8 bytes of all."""
    number = total = 0
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as lines:
        for lengths, num_bytes in _read_documents(prefix, shard, tokenizer, advance):
            for tokens, size in zip(lengths.tolist(), num_bytes.tolist(), strict=True):
                record = {
                    "id": f"{prefix.name}:{number}",
                    "source": source,
                    "path": prefix.name,
                    "licence": None,
                    "bytes": size,
                    "tokens": tokens,
                }
                lines.write(json.dumps(record) + "\n")
                number += 1
            total += int(num_bytes.sum())
    assert number == len(shard.lengths), (number, len(shard.lengths))
    return total


def _read_documents(
    prefix: Path, shard: UncheckedShard, tokenizer: Tokenizer, advance: Callable[[int], None]
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]:
    """Tokens and UTF-8 bytes of each document, a piece of the .bin at a time.

    Raises DataError at the end where documents do not end with the end-of-document token.
    """
    bin_path = shard_file(prefix, ".bin")
    if num_empty := sum(
        int((shard.lengths[start : start + PIECE] == 0).sum())
        for start in range(0, len(shard.lengths), PIECE)
    ):
        raise _unended(bin_path, num_empty, len(shard.lengths), tokenizer)
    document = num_unended = 0
    started = unfinished_bytes = 0  # of the document that a piece begins in
    for first in range(0, len(shard.tokens), _PIECE_TOKENS):
        tokens = shard.tokens[first : first + _PIECE_TOKENS]
        _require_vocabulary(bin_path, tokens, first, tokenizer)
        # No document is empty, so at most as many end in the piece as it has tokens.
        lengths = shard.lengths[document : document + len(tokens)].astype(np.int64)
        ends = started + np.cumsum(lengths)
        ends = ends[: np.searchsorted(ends, first + len(tokens), side="right")]
        before = np.cumsum(tokenizer.token_byte_lengths[tokens], dtype=np.int64)
        num_bytes = np.diff(before[ends - first - 1], prepend=-unfinished_bytes)
        num_unended += int((tokens[ends - first - 1] != tokenizer.end_of_document_id).sum())
        yield lengths[: len(ends)], num_bytes
        if len(ends):
            unfinished_bytes = int(before[-1] - before[ends[-1] - first - 1])
            started, document = int(ends[-1]), document + len(ends)
        else:
            unfinished_bytes += int(before[-1])
        advance(tokens.nbytes)
    if num_unended:
        raise _unended(bin_path, num_unended, len(shard.lengths), tokenizer)


def _unended(path: Path, num_unended: int, num_documents: int, tokenizer: Tokenizer) -> DataError:
    return DataError(
        f"{path}: {num_unended} of {num_documents} documents do not end with the "
        f"end-of-document token ({tokenizer.end_of_document_id}) of {tokenizer.path}; "
        "make the shard with --append-eod, or name the tokenizer that made it"
    )


def _require_vocabulary(
    path: Path, tokens: npt.NDArray[np.integer], first: int, tokenizer: Tokenizer
) -> None:
    wrong = np.flatnonzero((tokens < 0) | (tokens >= tokenizer.vocabulary_size))
    if len(wrong):
        raise DataError(
            f"{path}: token {first + int(wrong[0])} is {int(tokens[wrong[0]])}, {tokenizer.path} "
            "has "
            f"{tokenizer.vocabulary_size} entries; name the tokenizer that made the shard"
        )
