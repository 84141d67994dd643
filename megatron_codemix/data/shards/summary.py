"""A look into a shard: counts, lengths of documents, decoded documents or training windows."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from megatron_codemix.data.answers import pack_conversations
from megatron_codemix.data.order.best_fit import PackingReport, describe_packing
from megatron_codemix.data.shards.manifest import Manifest
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.errors import DataError

_HISTOGRAM_EDGES = (0, 16, 64, 256, 1024, 4096, 16384, 65536)
_PERCENTILES = (5, 25, 50, 75, 95, 99)


@dataclass(frozen=True)
class ShardSummary:
    """`length_histogram`: documents by tokens, keys such as "16-63"; `length_percentiles`: "50" is
    the median; `samples`: text of a few documents or windows."""

    prefix: str
    manifest: Manifest
    bytes_per_token: float
    length_histogram: dict[str, int]
    length_percentiles: dict[str, float]
    mean_length: float
    shortest: int
    longest: int
    packing: PackingReport | None
    """What packing by best fit would do; None without a sequence length."""
    num_cut_conversations: int | None
    """Longer than a sample, which are cut at its end where answers alone are learned; None without
    a sequence length or answers."""
    num_unanswered_conversations: int | None
    """Of these, those that are left out: their first answer is behind the cut."""
    samples: list[str]


def summarise_shard(
    prefix: Path,
    tokenizer: Tokenizer | None,
    *,
    num_samples: int,
    sample_tokens: int,
    sequence_length: int | None = None,
) -> ShardSummary:
    """Samples are documents at equal distances, cut to `sample_tokens`, or whole windows of
    `sequence_length` as training reads them; none without a tokenizer.

    Raises DataError where the shard is damaged or another tokenizer made it.
    """
    shard = TokenShard.open(prefix)
    if tokenizer is not None and tokenizer.hash != shard.manifest.tokenizer_hash:
        raise DataError(
            f"{prefix}: made with tokenizer {shard.manifest.tokenizer_hash[:8]}, {tokenizer.path} "
            f"is {tokenizer.hash[:8]}; name the tokenizer that made the shard"
        )
    samples: list[str] = []
    if tokenizer is not None and sequence_length is None:
        samples = _documents(shard, tokenizer, num_samples, sample_tokens)
    elif tokenizer is not None and sequence_length is not None:
        samples = _windows(shard, tokenizer, num_samples, sequence_length)
    lengths = shard.lengths if shard.num_documents else np.zeros(1, np.int32)
    packed = None
    if sequence_length is not None and shard.answers is not None:
        packed = pack_conversations(shard, sequence_length)
    values = np.percentile(lengths, _PERCENTILES).tolist()
    return ShardSummary(
        prefix=str(prefix),
        manifest=shard.manifest,
        bytes_per_token=shard.manifest.num_bytes / max(1, shard.num_tokens),
        length_histogram=_histogram(shard),
        length_percentiles=dict(zip(map(str, _PERCENTILES), values, strict=True)),
        mean_length=float(lengths.mean()),
        shortest=int(lengths.min()),
        longest=int(lengths.max()),
        packing=describe_packing(shard.lengths, sequence_length) if sequence_length else None,
        num_cut_conversations=None if packed is None else packed.num_cut,
        num_unanswered_conversations=None if packed is None else packed.num_left_out,
        samples=samples,
    )


def _histogram(shard: TokenShard) -> dict[str, int]:
    edges = [*_HISTOGRAM_EDGES, np.iinfo(np.int32).max]
    counts, _ = np.histogram(shard.lengths, bins=edges)
    names = [f"{low}-{high - 1}" for low, high in pairwise(edges[:-1])]
    return dict(zip([*names, f"{edges[-2]} and more"], counts.tolist(), strict=True))


def _documents(
    shard: TokenShard, tokenizer: Tokenizer, num_samples: int, sample_tokens: int
) -> list[str]:
    chosen = np.linspace(0, shard.num_documents - 1, min(num_samples, shard.num_documents))
    return [
        tokenizer.decode(shard.document(number)[:sample_tokens])
        for number in chosen.astype(np.int64).tolist()
    ]


def _windows(
    shard: TokenShard, tokenizer: Tokenizer, num_samples: int, sequence_length: int
) -> list[str]:
    num_windows = (shard.num_tokens - 1) // sequence_length
    if num_windows < 1:
        raise DataError(
            f"{shard.prefix}: {shard.num_tokens} tokens are less than one sample of "
            f"{sequence_length} + 1; use a shorter sequence length"
        )
    chosen = np.linspace(0, num_windows - 1, min(num_samples, num_windows)).astype(np.int64)
    starts = (chosen * sequence_length).tolist()
    return [tokenizer.decode(shard.tokens(at, at + sequence_length + 1)) for at in starts]
