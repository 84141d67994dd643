"""Samples from the memory maps into a batch, from a warm page cache, on one core."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.bench.data.ours import open_dataset
from megatron_codemix.bench.data.peer import open_gpt_dataset
from megatron_codemix.bench.data.setting import SEED, Setting
from megatron_codemix.bench.data.synthetic import random_shard
from megatron_codemix.bench.measure import Cost, Trial, cost_of
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.data.order.stateless import StatelessOrder, source_key
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.ops import RowParts, TokenGather

NUM_DOCUMENTS = 1_000_000
"""1.6 GB of uint16: far more than the processor's caches hold."""
BATCH = 64
NUM_BATCHES = 32
SEQUENCES = (2048, 8192)


def gathers(setting: Setting) -> Iterator[Row]:
    """Tokens and labels, and raw windows, at each sequence length."""
    prefix = random_shard(setting.folder, setting.scaled(NUM_DOCUMENTS, least=20_000))
    for sequence in SEQUENCES:
        yield from _at(setting, prefix, sequence)


def _at(setting: Setting, prefix: Path, sequence: int) -> Iterator[Row]:
    peer = open_gpt_dataset(prefix, sequence, setting.folder / "cache")
    dataset = open_dataset({"text": prefix}, {"text": 1.0}, sequence)
    kernel = _kernel(prefix, sequence)
    num_samples = min(BATCH * NUM_BATCHES, len(peer) // BATCH * BATCH)
    starts = range(0, num_samples, BATCH)
    yield _first_touch(dataset, sequence, starts)

    def peers() -> None:
        for sample in range(num_samples):
            peer[sample]

    def batches() -> None:
        for start in starts:
            dataset.batch(range(start, start + BATCH))

    trials = {
        "peer": peers,
        "batch": batches,
        "tokens and labels": lambda: kernel.tokens_and_labels(starts),
        "raw": lambda: kernel.raw(starts),
        "copy": lambda: kernel.copy(starts),
    }
    costs = setting.compare({name: Trial(run, calls=num_samples) for name, run in trials.items()})
    title = f"gather at {sequence}"
    yield _microseconds(f"{title}: MixtureDataset.batch", costs["batch"], costs["peer"], 25)
    yield _microseconds(
        f"{title}: tokens and labels, int64", costs["tokens and labels"], costs["peer"], 25
    )
    yield _microseconds(f"{title}: raw uint16", costs["raw"], costs["peer"], 50)
    window_bytes = (sequence + 1) * 2
    yield Row(
        name=f"{title}: raw uint16 beside a memcpy of random windows",
        ours=window_bytes / costs["raw"].user / 1e9,
        peer=window_bytes / costs["copy"].user / 1e9,
        unit="GB/s",
        is_rate=True,
        goal=Goal(ratio=0.9),
        note="the memcpy: numpy.take of rows",
    )


def _first_touch(dataset: Any, sequence: int, starts: range) -> Row:  # Any: MixtureDataset
    def batches() -> None:
        for start in starts:
            dataset.batch(range(start, start + BATCH))

    once = cost_of(Trial(batches, before=lambda: None, calls=len(starts) * BATCH))
    return Row(
        name=f"gather at {sequence}: first read, every block's hash checked",
        ours=once.user * 1e6,
        peer=None,
        unit="us",
        note="once",
    )


def _microseconds(name: str, ours: Cost, peer: Cost, ratio: float) -> Row:
    return Row(
        name=name, ours=ours.user * 1e6, peer=peer.user * 1e6, unit="us", goal=Goal(ratio=ratio)
    )


class _Kernel(NamedTuple):
    """The parts of `MixtureDataset.batch` that a loader of its own would call, in reused
    buffers."""

    order: StatelessOrder
    gather: TokenGather
    windows: npt.NDArray[np.uint16]
    """The shard as rows of a window each."""
    tokens: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.uint16]

    def tokens_and_labels(self, starts: range) -> None:
        for start in starts:
            self.gather.tokens_and_labels(self._parts(start), self.tokens, self.labels, fill=0)

    def raw(self, starts: range) -> None:
        for start in starts:
            self.gather.windows(self._parts(start), self.rows, fill=0)

    def copy(self, starts: range) -> None:
        """Whole windows to the same buffer: what a memcpy of each takes."""
        rng = np.random.default_rng(0)
        for _ in starts:
            chosen = rng.integers(0, len(self.windows), BATCH)
            # mode="clip" copies straight into `out`; the default goes through a buffer.
            self.windows.take(chosen, axis=0, out=self.rows, mode="clip")

    def _parts(self, start: int) -> RowParts:
        parts = self.order.parts(np.arange(start, start + BATCH))
        return RowParts(np.zeros(len(parts.row), np.int16), parts.row, parts.first, parts.length)


def _kernel(prefix: Path, sequence: int) -> _Kernel:
    shard = TokenShard.open(prefix)
    window = sequence + 1
    num_windows = shard.num_tokens // window
    data = shard.data
    return _Kernel(
        StatelessOrder(shard.num_tokens, sequence, source_key(SEED, "text")),
        TokenGather([data]),
        data[: num_windows * window].reshape(num_windows, window),
        np.empty((BATCH, sequence), np.int64),
        np.empty((BATCH, sequence), np.int64),
        np.empty((BATCH, window), np.uint16),
    )
