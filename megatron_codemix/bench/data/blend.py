"""Which source each sample comes from: start-up, and nanoseconds a sample."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import numpy.typing as npt

from megatron_codemix.bench.data.ours import changing_mixture, constant_mixture, tree_mixture
from megatron_codemix.bench.data.peer import SizedDataset, blend, build_blending_indices
from megatron_codemix.bench.data.setting import Setting
from megatron_codemix.bench.measure import Cost, Trial
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.data.mixture.mixture import Mixture

START_UP_SAMPLES = 100_000_000
START_UP_SOURCES = 20
RUN_SAMPLES = 20_000_000
"""Of a run that is gone through from its start: 41B tokens at 2048."""
FIRST_SAMPLES = 1_000_000
"""Within the first period of constant weights (2^20), which is worked out step by step; later ones
repeat it."""
_BLOCK = 1 << 18
RANDOM_SAMPLES = 1_000_000
_SMALLEST_WEIGHT = 1e-4


def blends(setting: Setting) -> Iterator[Row]:
    """Start-up of a long run with 20 sources; all samples in a row, and single ones anywhere."""
    yield from _start_up(setting)
    for num_sources in (3, 20, 100):
        for num_samples in (FIRST_SAMPLES, RUN_SAMPLES):
            yield from _sequential(setting, num_sources, setting.scaled(num_samples))
    yield from _anywhere(setting)


def source_weights(num_sources: int) -> npt.NDArray[np.float64]:
    """Uneven shares that sum to 1, none below 1e-4 by much."""
    shares: npt.NDArray[np.float64] = np.random.default_rng(1).dirichlet(np.full(num_sources, 0.5))
    shares = np.maximum(shares, _SMALLEST_WEIGHT)
    shares /= shares.sum()
    return shares


def _start_up(setting: Setting) -> Iterator[Row]:
    num_samples = setting.scaled(START_UP_SAMPLES)
    weights = source_weights(START_UP_SOURCES)
    datasets = [SizedDataset(num_samples, f"source-{n}") for n in range(START_UP_SOURCES)]
    first = np.arange(64)
    costs = setting.compare(
        {
            "ours": Trial(lambda: constant_mixture(weights).locate_many(first)),
            "resumed": Trial(
                lambda: constant_mixture(weights).locate_many(first + num_samples // 2)
            ),
            "peer": Trial(
                lambda: blend(datasets, weights.tolist(), num_samples), before=lambda: None
            ),
        },
    )
    title = f"blend start-up, {num_samples:,} samples of {START_UP_SOURCES} sources"
    for name, what in (("ours", "first batch"), ("resumed", "first batch of a resumed run")):
        yield Row(
            name=f"{title}: {what}",
            ours=costs[name].user * 1e3,
            peer=costs["peer"].user * 1e3,
            unit="ms",
            goal=Goal(ratio=1000),
            ours_system_seconds=costs[name].system,
            peer_system_seconds=costs["peer"].system,
        )


def _sequential(setting: Setting, num_sources: int, num_samples: int) -> Iterator[Row]:
    weights = source_weights(num_sources)
    costs = setting.compare(
        {
            "constant": Trial(
                lambda: _go_through(constant_mixture(weights), num_samples), calls=num_samples
            ),
            "tree": Trial(
                lambda: _go_through(tree_mixture(weights), num_samples), calls=num_samples
            ),
            "peer": Trial(lambda: build_blending_indices(weights, num_samples), calls=num_samples),
        }
    )
    goals = {"constant": Goal(ratio=1.5), "tree": Goal(ratio=2)} if num_sources >= 20 else {}
    for name in ("constant", "tree"):
        yield _nanoseconds(
            f"blend of {num_sources} sources, {name}: each of the first {num_samples:,}",
            costs[name],
            costs["peer"],
            goals.get(name),
        )


def _go_through(mixture: Mixture, num_samples: int) -> None:
    for start in range(0, num_samples, _BLOCK):
        mixture.locate_range(start, min(start + _BLOCK, num_samples))


def _anywhere(setting: Setting) -> Iterator[Row]:
    """Random access; the peer cannot without its table, so it has no figure."""
    samples = np.random.default_rng(2).integers(
        0, START_UP_SAMPLES, setting.scaled(RANDOM_SAMPLES), np.int64
    )
    weights = source_weights(START_UP_SOURCES)
    mixtures = {
        "constant": (constant_mixture(weights), None),
        "tree": (tree_mixture(weights), Goal(at_most=25)),
        "changing weights": (changing_mixture(weights, START_UP_SAMPLES), Goal(at_most=80)),
    }
    costs = setting.compare(
        {
            name: Trial(partial(mixture.locate_many, samples), calls=len(samples))
            for name, (mixture, _) in mixtures.items()
        },
    )
    for name, (_, goal) in mixtures.items():
        yield _nanoseconds(
            f"blend of {START_UP_SOURCES} sources, {name}: any sample", costs[name], None, goal
        )


def _nanoseconds(name: str, ours: Cost, peer: Cost | None, goal: Goal | None) -> Row:
    return Row(
        name=name,
        ours=ours.user * 1e9,
        peer=None if peer is None else peer.user * 1e9,
        unit="ns",
        goal=goal,
    )
