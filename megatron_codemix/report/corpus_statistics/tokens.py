"""How many tokens the sources of a corpus have: as prepared shards record it, else estimated from a
sample of their text."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from megatron_codemix.corpus.statistics.source_counts import SourceCounts
from megatron_codemix.corpus.writer import utf8_bytes
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.files import Json

_NORMAL_95 = 1.96
KnownFrom = Literal["shard", "shard of other text", "sample"]


@dataclass(frozen=True, kw_only=True)
class SourceTokens:
    """Tokens to train on, those that end documents included.

    error: half the width of the 95% interval; 0 of a shard.
    """

    tokens: float
    error: float
    bytes_per_token: float | None
    """Without the tokens that end documents; None where there is no text."""
    known_from: KnownFrom

    def to_json(self) -> dict[str, Json]:
        return asdict(self) | {"tokens": round(self.tokens), "error": round(self.error)}


def tokens_of_shard(manifest: Manifest, *, known_from: KnownFrom = "shard") -> SourceTokens:
    """As it was prepared."""
    text_tokens = manifest.num_tokens - manifest.num_documents
    return SourceTokens(
        tokens=manifest.num_tokens,
        error=0.0,
        bytes_per_token=manifest.num_bytes / text_tokens if text_tokens else None,
        known_from=known_from,
    )


def estimated_tokens(counts: SourceCounts, tokenizer: Tokenizer) -> SourceTokens:
    """Of the documents that are for training: their bytes times the tokens a byte of a sample of
    pieces, and one token more for each document.

    The ratio estimator and its error under simple random sampling without replacement (Cochran,
    Sampling Techniques, 1977, section 6.4). What cutting texts into pieces of 4096 characters adds
    is at most a token a piece.
    """
    pieces = counts.pieces.values()
    tokens = np.array([len(one) for one in tokenizer.encode_batch(pieces)], dtype=np.float64)
    num_bytes = np.array([utf8_bytes(piece) for piece in pieces], dtype=np.float64)
    if not num_bytes.sum():
        return SourceTokens(tokens=0.0, error=0.0, bytes_per_token=None, known_from="sample")
    ratio = float(tokens.sum() / num_bytes.sum())
    deviation = _deviation_of_ratio(tokens, num_bytes, ratio, counts.pieces.seen)
    return SourceTokens(
        tokens=ratio * counts.train_bytes + counts.train_documents,
        error=_NORMAL_95 * deviation * counts.train_bytes,
        bytes_per_token=1 / ratio if ratio else None,
        known_from="sample",
    )


def estimates_of(
    counts: Mapping[str, SourceCounts], tokenizer: Tokenizer
) -> dict[str, SourceTokens]:
    """As `estimated_tokens`, by source."""
    return {name: estimated_tokens(one, tokenizer) for name, one in counts.items()}


def _deviation_of_ratio(
    tokens: np.ndarray, num_bytes: np.ndarray, ratio: float, num_all: int
) -> float:
    number = len(tokens)
    if number == num_all:
        return 0.0
    if number < 2:
        return math.inf
    squares = float(((tokens - ratio * num_bytes) ** 2).sum()) / (number - 1)
    left_out = 1 - number / num_all
    return math.sqrt(left_out * squares / number) / float(num_bytes.mean())
