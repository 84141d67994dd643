"""Other weights over the same shards: what a user waits for and what is written."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megatron_codemix.bench.data.ours import open_dataset
from megatron_codemix.bench.data.peer import blend, folder_bytes, open_gpt_dataset, remove
from megatron_codemix.bench.data.setting import Setting
from megatron_codemix.bench.data.synthetic import sparse_shard
from megatron_codemix.bench.measure import Trial
from megatron_codemix.bench.rows import Goal, Row

SEQUENCE = 2048
NUM_SAMPLES = 2_000_000
NUM_DOCUMENTS = {"code": 1_000_000, "text": 4_000_000, "web": 2_000_000}
BEFORE = {"code": 0.1, "text": 0.6, "web": 0.3}
AFTER = {"code": 0.3, "text": 0.5, "web": 0.2}
_SURPLUS = 1.005
"""By which BlendedMegatronDatasetBuilder lets each of its data sets be longer."""


def new_mixture(setting: Setting) -> Iterator[Row]:
    """A run with other weights starts, its sources having been read before with the first ones."""
    prefixes = {
        name: sparse_shard(setting.folder, setting.scaled(number))
        for name, number in NUM_DOCUMENTS.items()
    }
    num_samples = setting.scaled(NUM_SAMPLES)
    cache = setting.folder / "cache"
    written: list[int] = []

    def before() -> None:
        remove(cache)
        _blended(prefixes, BEFORE, num_samples, cache)
        written.append(folder_bytes(cache))

    open_dataset(prefixes, BEFORE, SEQUENCE).batch([0])
    files_before = folder_bytes(setting.folder)
    open_dataset(prefixes, AFTER, SEQUENCE).batch([0])
    files_ours = folder_bytes(setting.folder) - files_before
    costs = setting.compare(
        {
            "ours": Trial(lambda: open_dataset(prefixes, AFTER, SEQUENCE).batch([0])),
            "peer": Trial(lambda: _blended(prefixes, AFTER, num_samples, cache)[0], before),
        }
    )
    title = f"a new mixture of {len(prefixes)} shards, {num_samples:,} samples"
    yield Row(
        name=f"{title}: CPU",
        ours=costs["ours"].user,
        peer=costs["peer"].user,
        unit="s",
        goal=Goal(at_most=0.005),
        note="0 s is: below 5 ms",
        ours_system_seconds=costs["ours"].system,
        peer_system_seconds=costs["peer"].system,
    )
    yield Row(
        name=f"{title}: written",
        ours=files_ours / 1e6,
        peer=(folder_bytes(cache) - written[-1]) / 1e6,
        unit="MB",
        goal=Goal(at_most=0),
    )
    remove(cache)


def _blended(
    prefixes: dict[str, Path], weights: dict[str, float], num_samples: int, cache: Path
) -> Any:  # Any: untyped class
    """As BlendedMegatronDatasetBuilder does: a data set for each, as long as its share, and the
    blend of them (its own cache wants a process group and is left out)."""
    datasets = [
        open_gpt_dataset(prefix, SEQUENCE, cache, int(num_samples * weights[name] * _SURPLUS) + 1)
        for name, prefix in prefixes.items()
    ]
    return blend(datasets, [weights[name] for name in prefixes], num_samples)
