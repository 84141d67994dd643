"""The manifest of a token shard that another program made, and a look into any shard."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megatron_codemix.config.checks import source_name_problem
from megatron_codemix.corpus.split import Split
from megatron_codemix.data.shards.manifest import BLOCK_BYTES, Manifest
from megatron_codemix.data.shards.token_shard import (
    BlockHashes,
    Index,
    TokenShard,
    read_index,
    shard_file,
)
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError
from megatron_codemix.files import atomic_path, hash_file

log = logging.getLogger(__name__)

_HISTOGRAM_EDGES = (0, 16, 64, 256, 1024, 4096, 16384, 65536)


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

    A manifest that says the same of the shard is left as it is. Raises DataError: one that says
    something else (unless `is_replacing`), sizes that do not fit, tokens outside the vocabulary,
    documents without their last token.
    """
    require_source_name(source)
    existing = None if is_replacing else require_describable(prefix, tokenizer, source, split)
    index = read_index(shard_file(prefix, ".idx"))
    bin_path = shard_file(prefix, ".bin")
    wanted = index.num_tokens * index.dtype.itemsize
    try:
        size = bin_path.stat().st_size
    except OSError as error:
        raise DataError(f"{bin_path}: cannot be read ({error.strerror})") from error
    if size != wanted:
        raise DataError(f"{bin_path}: {size} bytes, the index wants {wanted}; copy the shard again")
    hashes, text_bytes = _read_tokens(bin_path, index, tokenizer, advance)
    if existing is not None:
        _refuse_other(prefix, existing, {"bin_sha256": hashes.whole()})
        if _has_its_documents(prefix, existing):
            return existing
    num_bytes = _document_bytes(text_bytes, index)
    documents = shard_file(prefix, ".documents.jsonl")
    with atomic_path(documents) as temporary, open(temporary, "w", encoding="utf-8") as lines:
        for number, tokens in enumerate(index.lengths.tolist()):
            record = {
                "id": f"{prefix.name}:{number}",
                "source": source,
                "path": prefix.name,
                "licence": None,
                "bytes": int(num_bytes[number]),
                "tokens": tokens,
            }
            lines.write(json.dumps(record) + "\n")
    manifest = Manifest(
        source=source,
        split=split,
        tokenizer_hash=tokenizer.hash,
        vocabulary_size=tokenizer.vocabulary_size,
        end_of_document_id=tokenizer.end_of_document_id,
        dtype="uint16" if index.dtype == np.uint16 else "int32",
        num_documents=len(index.lengths),
        num_tokens=index.num_tokens,
        num_bytes=int(num_bytes.sum()),
        licences={"unknown": len(index.lengths)},
        bin_sha256=hashes.whole(),
        idx_sha256=hash_file(shard_file(prefix, ".idx")),
        block_sha256=hashes.blocks(),
        origin={"described": prefix.name, "documents_sha256": hash_file(documents)},
    )
    manifest.save(shard_file(prefix, ".manifest.json"))
    return manifest


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
    except DataError as error:  # which advises to write it anew
        log.warning("%s; a new one takes its place", error)
        return None
    wanted = {
        "source": source,
        "split": split,
        "tokenizer_hash": tokenizer.hash,
        "idx_sha256": hash_file(shard_file(prefix, ".idx")),
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


def _has_its_documents(prefix: Path, manifest: Manifest) -> bool:
    documents = shard_file(prefix, ".documents.jsonl")
    return documents.is_file() and manifest.origin.get("documents_sha256") == hash_file(documents)


def _read_tokens(
    path: Path, index: Index, tokenizer: Tokenizer, advance: Callable[[int], None]
) -> tuple[BlockHashes, npt.NDArray[np.int64]]:
    """Hashes, and the text bytes before each document border. [documents + 1]"""
    borders = np.append(index.offsets, index.num_tokens)
    before = np.zeros(len(borders), dtype=np.int64)
    last_tokens = index.offsets + index.lengths - 1
    hashes = BlockHashes()
    first = total = num_unended = 0
    with open(path, "rb") as handle:
        while piece := handle.read(BLOCK_BYTES):
            hashes.update(memoryview(piece))
            tokens = np.frombuffer(piece, dtype=index.dtype)
            _require_vocabulary(path, tokens, first, tokenizer)
            stop = first + len(tokens)
            ends = np.cumsum(tokenizer.token_byte_lengths[tokens], dtype=np.int64)
            inside = slice(*np.searchsorted(borders, [first + 1, stop + 1]))
            before[inside] = total + ends[borders[inside] - first - 1]
            lasts = last_tokens[slice(*np.searchsorted(last_tokens, [first, stop]))]
            num_unended += int((tokens[lasts - first] != tokenizer.end_of_document_id).sum())
            total += int(ends[-1])
            first = stop
            advance(len(piece))
    num_unended += int((index.lengths == 0).sum())
    if num_unended:
        raise DataError(
            f"{path}: {num_unended} of {len(index.lengths)} documents do not end with the "
            f"end-of-document token ({tokenizer.end_of_document_id}) of {tokenizer.path}; "
            "make the shard with --append-eod, or name the tokenizer that made it"
        )
    return hashes, before


def _document_bytes(before: npt.NDArray[np.int64], index: Index) -> npt.NDArray[np.int64]:
    assert len(before) == len(index.lengths) + 1, (len(before), len(index.lengths))
    return np.diff(before)


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


@dataclass(frozen=True)
class ShardSummary:
    """`length_histogram`: documents by tokens, keys such as "16-63"; `samples`: text of a few
    documents."""

    prefix: str
    manifest: Manifest
    length_histogram: dict[str, int]
    shortest: int
    longest: int
    samples: list[str]


def summarise_shard(
    prefix: Path, tokenizer: Tokenizer | None, *, num_samples: int, sample_tokens: int
) -> ShardSummary:
    """Samples are documents at equal distances; none without a tokenizer."""
    shard = TokenShard.open(prefix)
    edges = [*_HISTOGRAM_EDGES, np.iinfo(np.int32).max]
    counts, _ = np.histogram(shard.lengths, bins=edges)
    names = [f"{low}-{high - 1}" for low, high in pairwise(edges[:-1])]
    names.append(f"{edges[-2]} and more")
    chosen = np.linspace(0, shard.num_documents - 1, min(num_samples, shard.num_documents))
    samples: list[str] = []
    if tokenizer is not None:
        samples += (
            tokenizer.decode(shard.document(number)[:sample_tokens])
            for number in chosen.astype(int).tolist()
        )
    return ShardSummary(
        prefix=str(prefix),
        manifest=shard.manifest,
        length_histogram=dict(zip(names, counts.tolist(), strict=True)),
        shortest=int(shard.lengths.min()) if shard.num_documents else 0,
        longest=int(shard.lengths.max()) if shard.num_documents else 0,
        samples=samples,
    )
