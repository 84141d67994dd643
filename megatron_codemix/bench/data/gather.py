"""Samples from the memory maps into a batch, from a warm page cache, on one core."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from megatron_codemix.backend.devices import CpuBackend
from megatron_codemix.bench.data.ours import open_dataset
from megatron_codemix.bench.data.peer import open_gpt_dataset
from megatron_codemix.bench.data.setting import SEED, Setting
from megatron_codemix.bench.data.synthetic import random_shard
from megatron_codemix.bench.measure import Cost, Trial, cost_of
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.data.batches import allocate_batch
from megatron_codemix.data.order.stateless import StatelessOrder, source_key
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.ops import RowParts, TokenGather

NUM_DOCUMENTS = 1_000_000
"""1.6 GB of uint16: far more than the processor's own caches hold."""
NUM_SAMPLES = 2048
"""Read in each measurement."""
ROWS = {2048: 32, 8192: 8}
"""Sequence length -> rows of a batch: 65,536 tokens, a large microbatch."""


def gathers(setting: Setting) -> Iterator[Row]:
    """Tokens and labels, and raw windows, at each sequence length."""
    prefix = random_shard(setting.folder, setting.scaled(NUM_DOCUMENTS, least=30_000))
    for sequence, rows in ROWS.items():
        reader = _Reader(prefix, sequence, rows)
        title = f"gather at {sequence}, {rows} rows"
        once = cost_of(Trial(reader.batches, before=lambda: None, calls=NUM_SAMPLES))
        yield Row(
            name=f"{title}: first read, every block's hash checked",
            ours=once.user * 1e6,
            peer=None,
            unit="us",
            note="once",
        )
        yield from _compare(setting, prefix, reader, title)


def _compare(setting: Setting, prefix: Path, reader: "_Reader", title: str) -> Iterator[Row]:
    peer = open_gpt_dataset(prefix, reader.sequence, setting.folder / "cache")

    def peers() -> None:
        for sample in range(NUM_SAMPLES):
            peer[sample]

    trials = {
        "peer": peers,
        "batch": reader.batches,
        "int64": reader.tokens_and_labels,
        "fill": reader.fill,
        "raw": reader.raw,
        "copy": reader.copy,
    }
    costs = setting.compare({name: Trial(run, calls=NUM_SAMPLES) for name, run in trials.items()})
    yield _microseconds(f"{title}: MixtureDataset.batch", costs["batch"], costs["peer"], 25)
    yield _microseconds(f"{title}: tokens and labels, int64", costs["int64"], costs["peer"], 25)
    yield _microseconds(f"{title}: raw uint16", costs["raw"], costs["peer"], 50)
    window_bytes = (reader.sequence + 1) * 2
    yield _rate(
        f"{title}: raw uint16 beside a memcpy of random windows",
        window_bytes,
        costs["raw"],
        costs["copy"],
        Goal(ratio=0.9),
    )
    output_bytes = 2 * reader.sequence * 8
    yield _rate(
        f"{title}: int64 beside a fill of the same buffers",
        output_bytes,
        costs["int64"],
        costs["fill"],
        None,
    )


def _microseconds(name: str, ours: Cost, peer: Cost, ratio: float) -> Row:
    return Row(
        name=name, ours=ours.user * 1e6, peer=peer.user * 1e6, unit="us", goal=Goal(ratio=ratio)
    )


def _rate(name: str, num_bytes: int, ours: Cost, limit: Cost, goal: Goal | None) -> Row:
    return Row(
        name=name,
        ours=num_bytes / ours.user / 1e9,
        peer=num_bytes / limit.user / 1e9,
        unit="GB/s",
        is_rate=True,
        goal=goal,
        note="numpy's, as the machine's limit",
    )


class _Reader:
    """The first NUM_SAMPLES samples of a shard, in batches, into buffers that are used again, as a
    loader's are."""

    def __init__(self, prefix: Path, sequence: int, rows: int) -> None:
        allocate = CpuBackend().allocate_host
        self.sequence, self._rows = sequence, rows
        self._starts = range(0, NUM_SAMPLES, rows)
        self._dataset = open_dataset({"text": prefix}, {"text": 1.0}, sequence)
        self._batch = allocate_batch(rows, sequence, with_documents=False, allocate=allocate)
        shard = TokenShard.open(prefix)
        self._order = StatelessOrder(shard.num_tokens, sequence, source_key(SEED, "text"))
        self._gather = TokenGather([shard.data])
        self._raw = allocate((rows, sequence + 1), np.uint16)
        num_windows = shard.num_tokens // (sequence + 1)
        data = shard.data[: num_windows * (sequence + 1)]
        self._windows = data.reshape(num_windows, sequence + 1)

    def batches(self) -> None:
        """Through the public API."""
        for start in self._starts:
            self._dataset.batch(range(start, start + self._rows), into=self._batch)

    def tokens_and_labels(self) -> None:
        """Order and gather alone."""
        for start in self._starts:
            self._gather.tokens_and_labels(
                self._parts(start), self._batch.tokens, self._batch.labels, fill=0
            )

    def fill(self) -> None:
        """As many bytes as tokens_and_labels writes, and none read."""
        for _ in self._starts:
            self._batch.tokens.fill(1)
            self._batch.labels.fill(1)

    def raw(self) -> None:
        """Windows as they lie in the shard."""
        for start in self._starts:
            self._gather.windows(self._parts(start), self._raw, fill=0)

    def copy(self) -> None:
        """Random windows to the same buffer, by a memcpy of each."""
        rng = np.random.default_rng(0)
        for _ in self._starts:
            chosen = rng.integers(0, len(self._windows), self._rows)
            # mode="clip" copies straight into `out`; the default goes through a buffer.
            self._windows.take(chosen, axis=0, out=self._raw, mode="clip")

    def _parts(self, start: int) -> RowParts:
        parts = self._order.parts(np.arange(start, start + self._rows))
        return RowParts(np.zeros(len(parts.row), np.int16), parts.row, parts.first, parts.length)
