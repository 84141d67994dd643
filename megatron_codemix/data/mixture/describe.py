"""The mixture of a phase in words, and what it reads of each source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from megatron_codemix.config.plan import phase_samples
from megatron_codemix.config.schema import (
    ConstantMixtureConfig,
    CosineMixtureConfig,
    LinearMixtureConfig,
    MixtureConfig,
    RunConfig,
    StagesMixtureConfig,
    StepMixtureConfig,
)
from megatron_codemix.data.mixture.caps import SourceState
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import MixturePlan, Segment
from megatron_codemix.data.mixture.schedule import (
    Weights,
    nearest_sample,
    stages_of,
    steps_of,
)
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS
from megatron_codemix.units import format_count

MAX_EPOCHS = 4.0
"""Repeating data beyond about four epochs loses value (Muennighoff et al. 2023, arXiv
2305.16264)."""


@dataclass(frozen=True, kw_only=True)
class SourceReading:
    """What was read of a source by the end of a segment."""

    samples: int
    """In this phase."""
    tokens: int
    epochs: float
    """Along the chain of phases."""


@dataclass(frozen=True, kw_only=True)
class SegmentReading:
    """A segment, and where the sources stand at its end."""

    segment: Segment
    stop: int
    error_bound: float | None
    """The most by which a source is ever off its plan within the segment, in samples; None where
    no bound is known (Megatron's blend)."""
    sources: dict[str, SourceReading]


def describe_mixtures(config: RunConfig) -> str:
    """`text 100.0% to 500M tokens, then code 20.0%, text 80.0%; from 1B tokens on: ...`."""
    length, end = config.data.sequence_length, phase_samples(config)
    changes = config.data.changes
    starts = [0, *(nearest_sample(change.at_tokens, length) for change in changes)]
    mixtures = [config.data.mixture, *(change.mixture for change in changes)]
    words = [
        _describe(mixture, start, stop, end, length)
        for mixture, start, stop in zip(mixtures, starts, [*starts[1:], end], strict=True)
    ]
    places = [f"from {format_count(change.at_tokens)} tokens on: " for change in changes]
    return "; ".join(place + mixture for place, mixture in zip(["", *places], words, strict=True))


def _describe(mixture: MixtureConfig, start: int, stop: int, end: int, length: int) -> str:
    """The mixture that begins at sample `start` of a phase of `end`; a change follows at `stop`."""
    match mixture:
        case ConstantMixtureConfig():
            return _shares(mixture.weights)
        case StepMixtureConfig():
            return _in_turn(steps_of(mixture, start, end, length), stop, length)
        case StagesMixtureConfig():
            words = _in_turn(stages_of(mixture, start, end), stop, length)
            return f"four stages ({mixture.strategy}): {words}"
        case LinearMixtureConfig() | CosineMixtureConfig():
            ranges = (
                f"{name} {mixture.start.get(name, 0):.1%} -> {mixture.end.get(name, 0):.1%}"
                for name in sorted({*mixture.start, *mixture.end})
            )
            return f"{mixture.kind} to {format_count(end * length)} tokens, {', '.join(ranges)}"


def _in_turn(pieces: Sequence[tuple[Weights, int, int]], stop: int, length: int) -> str:
    """`text 100.0% to 500M tokens, then code 20.0%, text 80.0% to 1B`, places counted from the
    start of the phase."""
    words = [
        f"{_shares(weights)} to {format_count(min(last, stop) * length)}"
        for weights, first, last in pieces
        if first < min(last, stop)
    ]
    return ", then ".join([f"{words[0]} tokens", *words[1:]])


def readings(
    config: RunConfig, plan: MixturePlan, states: Mapping[str, SourceState]
) -> list[SegmentReading]:
    """Each segment of the phase with what will have been read at its end."""
    mixture = Mixture(plan)
    found = []
    for number, segment in enumerate(plan.segments):
        stop = phase_samples(config) if segment.stop is None else segment.stop
        counts = dict(zip(mixture.source_names, mixture.counts(stop).tolist(), strict=True))
        found.append(
            SegmentReading(
                segment=segment,
                stop=stop,
                error_bound=None if segment.method == "megatron" else mixture.error_bounds[number],
                sources={
                    name: _reading(config, count, states[name]) for name, count in counts.items()
                },
            )
        )
    return found


def repetitions(epochs: Mapping[str, float]) -> list[str]:
    """A line for each source that is read more than four times by the end."""
    return [
        f"{name} is read {times:.1f} times; beyond {MAX_EPOCHS:.0f} epochs repeated data is worth "
        "less than new data (Muennighoff et al. 2023, arXiv 2305.16264)"
        for name, times in epochs.items()
        if times > MAX_EPOCHS
    ]


def shares_at(segment: Segment, offset: int) -> dict[str, float]:
    """Shares of the sources `offset` samples into a segment."""
    samples = [sample for sample, _ in segment.knots]
    return {
        name: float(np.interp(offset, samples, [units[name] for _, units in segment.knots]))
        / WEIGHT_UNITS
        for name in segment.source_names
    }


def _reading(config: RunConfig, samples: int, state: SourceState) -> SourceReading:
    return SourceReading(
        samples=samples,
        tokens=samples * config.data.sequence_length,
        epochs=(state.cursor + samples) / state.samples_per_epoch,
    )


def _shares(weights: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {weight:.1%}" for name, weight in weights.items() if weight)
