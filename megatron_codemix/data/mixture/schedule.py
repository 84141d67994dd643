"""From the configured mixtures of a phase to courses: weights as a function of the sample.

A schedule is a function of tokens; a point in tokens is rounded to the nearest whole sample.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

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
from megatron_codemix.data.mixture.plan import Segment, constant_segment
from megatron_codemix.data.mixture.spilling import SpillTo, spilled
from megatron_codemix.data.mixture.split_tree import MAX_ERROR, best_tree, units_of
from megatron_codemix.data.mixture.weights import quantise_weights

Weights = Mapping[str, float]

STAGE_SHARES = {
    "uniform": (3 / 8, 3 / 8, 3 / 8, 3 / 8),
    "increase": (3 / 10, 3 / 10, 4 / 10, 5 / 10),
    "decrease": (5 / 10, 4 / 10, 3 / 10, 3 / 10),
}
"""Share of code in the four stages (arXiv 2309.16298, Table 5, which gives text : code)."""

MAX_PIECES = 128
"""Straight pieces of a varying course. A half cosine in 64 or more of them is nowhere further than
1.5e-4 of its rise from the curve."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What is asked for from one sample to another, before any source is exhausted."""

    first_sample: int
    stop: int
    """First sample after it."""
    natural_stop: int
    """Where a schedule that a change cuts short would have ended."""
    weights_at: Callable[[float], Weights]
    """Weights at a (fraction of a) sample of the phase."""
    is_constant: bool
    exhausted: SpillTo = field(default_factory=dict)
    """Sources that have reached their caps."""


def courses_of(config: RunConfig) -> list[Course]:
    """The courses of a phase, in order. Their stops are the starts of the next ones."""
    length, end = config.data.sequence_length, phase_samples(config)
    starts = [0, *(nearest_sample(change.at_tokens, length) for change in config.data.changes)]
    mixtures = [config.data.mixture, *(change.mixture for change in config.data.changes)]
    found: list[Course] = []
    for mixture, start, stop in zip(mixtures, starts, [*starts[1:], end], strict=True):
        for course in _courses(mixture, start, end, length):
            if course.first_sample >= stop:
                continue
            course = replace(course, stop=min(course.stop, stop))
            if found and _is_more_of(found[-1], course):
                found[-1] = replace(found[-1], stop=course.stop)
            else:
                found.append(course)
    return found


def nearest_sample(tokens: int, sequence_length: int) -> int:
    """The whole sample nearest to a point in tokens (halves up)."""
    return (2 * tokens + sequence_length) // (2 * sequence_length)


def segment_of(course: Course, first_sample: int) -> Segment:
    """What the course gives from `first_sample` on; it may end before the course does.

    Where no tree keeps every source close to a whole varying course, the segment is the half, the
    quarter, ... of it in which shares change less.
    """
    num_samples = course.stop - first_sample
    if course.is_constant:
        units = quantise_weights(spilled(course.weights_at(first_sample), course.exhausted))
        return constant_segment(units, first_sample, num_samples)
    length = course.natural_stop - first_sample
    while True:
        segment, bound = _varying_segment(course, first_sample, length)
        if bound < MAX_ERROR or length == 1:  # one sample is never more than one sample off
            return replace(segment, num_samples=min(num_samples, length))
        length = (length + 1) // 2


def _varying_segment(course: Course, first: int, length: int) -> tuple[Segment, float]:
    """(the course's segment of `length` samples from `first` on, its largest error)."""
    spacing = _spacing(length)
    last = course.natural_stop
    samples = [min(first + offset, last) for offset in range(0, length + spacing, spacing)]
    units = [
        quantise_weights(spilled(course.weights_at(sample), course.exhausted)) for sample in samples
    ]
    names = sorted({name for at_knot in units for name, n in at_knot.items() if n})
    knots = [{name: at_knot[name] for name in names} for at_knot in units]
    if all(at_knot == knots[0] for at_knot in knots):
        return constant_segment(knots[0], first, length), 0.0
    bare = Segment(
        first_sample=first,
        num_samples=length,
        method="split-tree",
        knots=tuple((number * spacing, at_knot) for number, at_knot in enumerate(knots)),
    )
    tree, bound = best_tree(names, units_of(bare))
    return replace(bare, tree=tree), bound


def _courses(mixture: MixtureConfig, start: int, end: int, length: int) -> Iterator[Course]:
    """The mixture's courses from `start` to the end of the phase."""
    match mixture:
        case ConstantMixtureConfig():
            yield _constant(mixture.weights, start, end)
        case StepMixtureConfig():
            for weights, first, stop in steps_of(mixture, start, end, length):
                if first < stop:
                    yield _constant(weights, first, stop)
        case StagesMixtureConfig():
            for weights, first, stop in stages_of(mixture, start, end):
                if first < stop:
                    yield _constant(weights, first, stop)
        case LinearMixtureConfig():
            yield _varying(mixture, start, end, lambda done: done)
        case CosineMixtureConfig():
            yield _varying(mixture, start, end, lambda done: (1 - math.cos(math.pi * done)) / 2)


def steps_of(
    mixture: StepMixtureConfig, start: int, end: int, length: int
) -> list[tuple[Weights, int, int]]:
    """(weights, first sample, first sample after it) of each step of a mixture that begins at
    sample `start` of a phase of `end` samples."""
    begins = [start + nearest_sample(step.from_tokens, length) for step in mixture.steps]
    weights = [step.weights for step in mixture.steps]
    return list(zip(weights, begins, [*begins[1:], end], strict=True))


def stages_of(mixture: StagesMixtureConfig, start: int, end: int) -> list[tuple[Weights, int, int]]:
    """As steps_of, of the four stages."""
    shares = STAGE_SHARES[mixture.strategy]
    begins = [start + (end - start) * number // len(shares) for number in range(len(shares) + 1)]
    weights = [_joined(mixture.varying, mixture.others, share) for share in shares]
    return list(zip(weights, begins[:-1], begins[1:], strict=True))


def _constant(weights: Weights, first: int, stop: int) -> Course:
    return Course(
        first_sample=first,
        stop=stop,
        natural_stop=stop,
        weights_at=lambda sample: weights,
        is_constant=True,
    )


def _varying(
    mixture: LinearMixtureConfig | CosineMixtureConfig,
    first: int,
    stop: int,
    progress: Callable[[float], float],
) -> Course:
    """progress: from the share of the course that is done to how far the weights have come."""
    return Course(
        first_sample=first,
        stop=stop,
        natural_stop=stop,
        weights_at=lambda sample: _joined(
            mixture.end, mixture.start, progress((sample - first) / (stop - first))
        ),
        is_constant=False,
    )


def _joined(one: Weights, other: Weights, share: float) -> Weights:
    """`share` of the first set of weights and the rest of the second."""
    return {
        name: share * one.get(name, 0.0) + (1 - share) * other.get(name, 0.0)
        for name in sorted({*one, *other})
    }


def _is_more_of(before: Course, after: Course) -> bool:
    """Whether nothing changes from one course to the next."""
    if not (before.is_constant and after.is_constant):
        return False
    one, other = (course.weights_at(course.first_sample) for course in (before, after))
    units = [constant_segment(quantise_weights(weights)).knots for weights in (one, other)]
    return units[0] == units[1]


def _spacing(num_samples: int) -> int:
    """The least power of two that makes at most MAX_PIECES pieces."""
    return 1 << max(0, math.ceil(num_samples / MAX_PIECES) - 1).bit_length()
