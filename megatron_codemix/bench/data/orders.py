"""`order: megatron`: GPTDataset's indices, built by our C++ and by megatron-core."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.bench.data import memory_jobs
from megatron_codemix.bench.data.ours import megatron_order
from megatron_codemix.bench.data.peer import GptIndices, remove
from megatron_codemix.bench.data.setting import Setting
from megatron_codemix.bench.data.synthetic import sparse_shard
from megatron_codemix.bench.measure import Trial, memory_of
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.data.shards.token_shard import TokenShard

NUM_DOCUMENTS = 20_000_000
_CPU_GOALS = {8192: 8.0, 2048: 6.0}
_MEMORY_GOAL = 1 / 0.4


def orders(setting: Setting) -> Iterator[Row]:
    """CPU, memory and equality at 20M documents, one epoch."""
    prefix = sparse_shard(setting.folder, setting.scaled(NUM_DOCUMENTS))
    shard = TokenShard.open(prefix)
    lengths, offsets = shard.lengths, shard.offsets
    cache = setting.folder / "cache"
    for sequence, goal in _CPU_GOALS.items():
        peer = GptIndices(prefix, sequence, cache)
        title = f"order: megatron, {shard.num_documents:,} documents at {sequence}"
        ours = megatron_order(lengths, offsets, sequence)
        indices = (ours.document_index, ours.sample_index, ours.shuffle_index)
        pairs = zip(indices, peer.build(), strict=True)
        yield Row(
            name=f"{title}: entries that differ",
            ours=sum(_differences(mine, theirs) for mine, theirs in pairs),
            peer=None,
            unit="",
            goal=Goal(at_most=0),
        )
        del ours, indices
        costs = setting.compare(
            {
                "ours": Trial(partial(megatron_order, lengths, offsets, sequence)),
                "peer": Trial(peer.build, before=peer.forget),
            }
        )
        yield Row(
            name=f"{title}: CPU",
            ours=costs["ours"].user,
            peer=costs["peer"].user,
            unit="s",
            goal=Goal(ratio=goal),
            note="the peer also writes its cache: in its system time",
            ours_system_seconds=costs["ours"].system,
            peer_system_seconds=costs["peer"].system,
        )
        remove(cache)
        arguments = {"prefix": str(prefix), "sequence_length": sequence}
        yield Row(
            name=f"{title}: peak memory",
            ours=memory_of(f"{memory_jobs.__name__}:our_indices", **arguments).peak / 1e6,
            peer=memory_of(
                f"{memory_jobs.__name__}:gpt_indices", cache=str(cache), **arguments
            ).peak
            / 1e6,
            unit="MB",
            goal=Goal(ratio=_MEMORY_GOAL),
        )
        remove(cache)


def _differences(ours: npt.NDArray[Any], theirs: npt.NDArray[Any]) -> int:
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return max(ours.size, theirs.size)
    return int(np.count_nonzero(ours != theirs))
