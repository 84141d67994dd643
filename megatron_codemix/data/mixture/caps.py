"""The plan of a phase, and where sources reach the number of epochs they may be read."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor

from megatron_codemix.config.plan import phase_samples
from megatron_codemix.config.schema import ConstantMixtureConfig, RunConfig
from megatron_codemix.data.mixture.mixture import Mixture, order_of
from megatron_codemix.data.mixture.plan import MixturePlan, Segment, megatron_plan
from megatron_codemix.data.mixture.schedule import Course, courses_of, segment_of
from megatron_codemix.data.mixture.spilling import SpillTo, chain_of, takers
from megatron_codemix.errors import ConfigError
from megatron_codemix.units import format_count


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """What the caps depend on."""

    samples_per_epoch: int
    cursor: int
    """Samples read by earlier phases."""


def source_states(
    config: RunConfig, num_tokens: Mapping[str, int], cursors: Mapping[str, int]
) -> dict[str, SourceState]:
    """num_tokens: of the training shard of each source. cursors: where sources stand; absent is
    0."""
    length = config.data.sequence_length
    return {
        name: SourceState(
            samples_per_epoch=max(1, (tokens - 1) // length), cursor=cursors.get(name, 0)
        )
        for name, tokens in num_tokens.items()
    }


def plan_mixture(config: RunConfig, states: Mapping[str, SourceState] | None = None) -> MixturePlan:
    """The segments of a phase, in which no source exceeds its `max_epochs`.

    states: of each source that is read; None: without regard to caps.
    Raises ConfigError with the numbers where a cap cannot be kept.
    """
    if config.data.order == "megatron":
        assert isinstance(config.data.mixture, ConstantMixtureConfig), "checked with the order"
        return megatron_plan(config.data.mixture.weights, phase_samples(config))
    states = states or {}
    caps = {
        name: floor(Fraction(str(source.max_epochs)) * states[name].samples_per_epoch)
        for name, source in config.data.sources.items()
        if source.max_epochs is not None and name in states
    }
    left = {name: max(0, cap - states[name].cursor) for name, cap in caps.items()}
    exhausted: dict[str, tuple[str, ...]] = {}  # the order in which they ran out
    segments: list[Segment] = []
    for course in courses_of(config):
        first = course.first_sample
        while first < course.stop:
            stuck = _stuck(course, first, exhausted)
            if stuck is not None:
                raise ConfigError(
                    [_refusal(config, stuck, first, caps[stuck], states[stuck], exhausted)]
                )
            segment = segment_of(replace(course, exhausted=dict(exhausted)), first)
            reached = _first_exhausted(segment, left)
            if reached is not None:
                name, length = reached
                exhausted[name] = tuple(config.data.sources[name].spill_to)
                segment = replace(segment, num_samples=length)
            if segment.num_samples:
                segments.append(segment)
                _consume(segment, left)
                first += segment.num_samples
    return MixturePlan((*segments[:-1], replace(segments[-1], num_samples=None)))


def _first_exhausted(segment: Segment, left: Mapping[str, int]) -> tuple[str, int] | None:
    """(source, samples of the segment before the first that the source may not give); None if the
    segment needs no more of any source than is left."""
    assert segment.num_samples is not None, "planned before the last segment is opened"
    order = order_of(segment)
    found = []
    for number, name in enumerate(order.source_names):
        if name in left and order.counts(segment.num_samples)[number] > left[name]:
            low, high = 0, segment.num_samples  # counts(low) <= left < counts(high)
            while high - low > 1:
                middle = (low + high) // 2
                if order.counts(middle)[number] > left[name]:
                    high = middle
                else:
                    low = middle
            found.append((low, name))
    return min(((name, low) for low, name in found), key=lambda item: item[::-1], default=None)


def _consume(segment: Segment, left: dict[str, int]) -> None:
    """Takes what a segment reads from what is left of each capped source."""
    assert segment.num_samples is not None, "planned before the last segment is opened"
    if not left.keys() & set(segment.source_names):
        return
    order = order_of(segment)
    for name, count in zip(order.source_names, order.counts(segment.num_samples), strict=True):
        if name in left:
            left[name] -= int(count)


def _stuck(course: Course, sample: int, exhausted: SpillTo) -> str | None:
    """An exhausted source that the course needs from `sample` on, and that nobody takes over."""
    weights = [course.weights_at(place) for place in (sample, course.stop)]
    ended = (name for name in exhausted if not takers(name, exhausted))
    return next((name for name in ended if any(w.get(name, 0.0) for w in weights)), None)


def _refusal(
    config: RunConfig, name: str, sample: int, cap: int, state: SourceState, exhausted: SpillTo
) -> str:
    """Why the phase cannot be run: `name` is needed from `sample` on, and has reached its cap."""
    source = config.data.sources[name]
    uncapped = Mixture(plan_mixture(config))
    counts = dict(zip(uncapped.source_names, uncapped.counts(phase_samples(config)), strict=True))
    if source.spill_to:
        advice = (
            f"all that take over from it ({', '.join(chain_of(name, exhausted))}) have reached "
            "theirs too; add a source to spill_to, or raise a cap"
        )
    else:
        advice = "lower its weight, raise max_epochs, or name sources in spill_to"
    return (
        f"data.sources.{name}.max_epochs: {source.max_epochs:g} epochs are {cap} samples; earlier "
        f"phases have read {state.cursor}, and the mixture asks for {counts.get(name, 0)} in this "
        f"phase. They have run out at sample {sample} of {phase_samples(config)} "
        f"({format_count(sample * config.data.sequence_length)} tokens); {advice}"
    )
