"""From nothing to the first sample, and what is held in memory then; how both grow."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from megatron_codemix.bench.data import memory_jobs
from megatron_codemix.bench.data.ours import open_dataset
from megatron_codemix.bench.data.peer import folder_bytes, open_gpt_dataset, remove
from megatron_codemix.bench.data.setting import MEAN_TOKENS, Setting
from megatron_codemix.bench.data.synthetic import sparse_shard
from megatron_codemix.bench.measure import Cost, Memory, Trial, cost_of, memory_of
from megatron_codemix.bench.rows import Goal, Row

SEQUENCE = 2048
SIZES = (1_000_000, 10_000_000, 100_000_000)
"""Samples of the runs that are measured; the goals are for the last."""
MAX_DOCUMENTS = 20_000_000
"""Longer runs read several epochs of these: 13 at 100M samples."""
MILLION = 10**6
COMPUTED_TOKENS = 15 * 10**12


class _Measured(NamedTuple):
    num_samples: int
    ours: Cost
    peer: Cost
    ours_memory: Memory
    peer_memory: Memory
    peer_files: int
    note: str


def start_up(setting: Setting) -> Iterator[Row]:
    """CPU, time, files and memory at 1M, 10M and 100M samples; 15T tokens from what a sample of the
    largest costs."""
    for size in SIZES:
        measured = _measure(setting, setting.scaled(size), is_slow=size == SIZES[-1])
        yield from _rows(measured, has_goals=size == SIZES[-1])
    yield from _computed(measured)


def _measure(setting: Setting, num_samples: int, *, is_slow: bool) -> _Measured:
    num_documents = min(num_samples * SEQUENCE // MEAN_TOKENS, setting.scaled(MAX_DOCUMENTS))
    prefix = sparse_shard(setting.folder, num_documents)
    cache = setting.folder / "cache"
    repeats = setting.slow_repeats if is_slow else setting.repeats
    trials = {
        "ours": Trial(lambda: open_dataset({"text": prefix}, {"text": 1.0}, SEQUENCE).batch([0])),
        "peer": Trial(
            lambda: open_gpt_dataset(prefix, SEQUENCE, cache, num_samples)[0],
            before=lambda: remove(cache),
        ),
    }
    before = folder_bytes(setting.folder)
    cost_of(trials["ours"])
    assert folder_bytes(setting.folder) == before, "our start-up has written files"
    costs = setting.compare(trials, is_slow=is_slow)
    peer_files = folder_bytes(cache)
    remove(cache)
    arguments = {
        "prefix": str(prefix),
        "warm_up": str(sparse_shard(setting.folder, 1000)),
        "sequence_length": SEQUENCE,
        "num_samples": num_samples,
    }
    ours_memory = memory_of(f"{memory_jobs.__name__}:our_dataset", **arguments)
    peer_memory = memory_of(f"{memory_jobs.__name__}:gpt_dataset", cache=str(cache), **arguments)
    remove(cache)
    epochs = -(-num_samples * SEQUENCE // (num_documents * MEAN_TOKENS))
    note = f"{num_documents:,} documents, {epochs} epochs; median of {repeats}"
    return _Measured(
        num_samples, costs["ours"], costs["peer"], ours_memory, peer_memory, peer_files, note
    )


def _rows(measured: _Measured, *, has_goals: bool) -> Iterator[Row]:
    title = f"start-up, {_count(measured.num_samples)} samples"

    def goal(**parts: Any) -> Goal | None:
        return Goal(**parts) if has_goals else None

    yield Row(
        name=f"{title}: CPU",
        ours=measured.ours.user * 1e3,
        peer=measured.peer.user * 1e3,
        unit="ms",
        goal=goal(ratio=1000),
        note=measured.note,
        ours_system_seconds=measured.ours.system,
        peer_system_seconds=measured.peer.system,
    )
    yield Row(
        name=f"{title}: time to the first sample",
        ours=measured.ours.wall * 1e3,
        peer=measured.peer.wall * 1e3,
        unit="ms",
        goal=goal(at_most=5),
    )
    yield Row(
        name=f"{title}: files written",
        ours=0,  # asserted while it was measured
        peer=measured.peer_files / MILLION,
        unit="MB",
        goal=goal(at_most=0),
    )
    yield Row(
        name=f"{title}: memory held, a sample",
        ours=measured.ours_memory.held / measured.num_samples,
        peer=measured.peer_memory.held / measured.num_samples,
        unit="B",
        goal=goal(at_most=0.05),
    )
    yield Row(
        name=f"{title}: memory at the worst moment",
        ours=measured.ours_memory.peak / MILLION,
        peer=measured.peer_memory.peak / MILLION,
        unit="MB",
        goal=goal(at_most=16),
        note="one source",
    )


def _computed(measured: _Measured) -> Iterator[Row]:
    num_samples = COMPUTED_TOKENS // SEQUENCE
    factor = num_samples / measured.num_samples
    title = f"start-up, 15T tokens ({_count(num_samples)} samples)"
    note = "computed: ours costs nothing a sample, the peer's grows as its samples do"
    figures = {
        "CPU": (measured.ours.user, measured.peer.user * factor, "s"),
        "files written": (0.0, measured.peer_files * factor / 1e9, "GB"),
        "memory at the worst moment": (
            measured.ours_memory.peak / 1e9,
            measured.peer_memory.peak * factor / 1e9,
            "GB",
        ),
    }
    for name, (ours, peer, unit) in figures.items():
        yield Row(name=f"{title}: {name}", ours=ours, peer=peer, unit=unit, note=note)


def _count(number: int) -> str:
    return f"{number / MILLION:,.0f}M" if number >= MILLION else f"{number:,}"
