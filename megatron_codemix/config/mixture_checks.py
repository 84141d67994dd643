"""Rules of the mixture: names, sums, order of steps and changes, caps."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from megatron_codemix.config.plan import phase_samples
from megatron_codemix.config.problems import suggestion
from megatron_codemix.config.schema import (
    ConstantMixtureConfig,
    CosineMixtureConfig,
    DataConfig,
    LinearMixtureConfig,
    MixtureConfig,
    RunConfig,
    StagesMixtureConfig,
    StepMixtureConfig,
)
from megatron_codemix.units import format_count

_WEIGHT_TOLERANCE = 1e-6  # six decimals, as people write thirds; quantising makes the sum exact
_SOURCE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_MAX_SOURCE_NAME = 100  # files, whose names have 255 bytes, are called after it


def check_mixture(config: RunConfig) -> list[str]:
    """Everything that is wrong with sources, mixture and changes, as far as no data is needed."""
    data = config.data
    problems = [
        f"data.sources.{name}: {problem}"
        for name in data.sources
        if (problem := source_name_problem(name))
    ]
    for path, mixture in all_mixtures(data):
        for field, weights in weights_of(mixture):
            problems += _check_weights(f"{path}.{field}", weights, list(data.sources))
        problems += _check_kind(path, mixture)
    return [*problems, *_check_places(config), *_check_caps(data), *_check_order(config)]


def all_mixtures(data: DataConfig) -> Iterator[tuple[str, MixtureConfig]]:
    """(path in the configuration, mixture): the phase's own, then those of the changes."""
    yield "data.mixture", data.mixture
    for number, change in enumerate(data.changes):
        yield f"data.changes.{number}.mixture", change.mixture


def weights_of(mixture: MixtureConfig) -> Iterator[tuple[str, Mapping[str, float]]]:
    """(path below the mixture, weights): every set of weights that it names."""
    match mixture:
        case ConstantMixtureConfig():
            yield "weights", mixture.weights
        case StepMixtureConfig():
            for number, step in enumerate(mixture.steps):
                yield f"steps.{number}.weights", step.weights
        case LinearMixtureConfig() | CosineMixtureConfig():
            yield "start", mixture.start
            yield "end", mixture.end
        case StagesMixtureConfig():
            yield "varying", mixture.varying
            yield "others", mixture.others


def weighted_sources(data: DataConfig) -> set[str]:
    """Sources with a weight somewhere in the phase's mixtures, and those that may take one over."""
    weighted = {
        name
        for _, mixture in all_mixtures(data)
        for _, weights in weights_of(mixture)
        for name, weight in weights.items()
        if weight > 0
    }
    found = sorted(weighted)
    for name in found:  # grows: who takes over may be capped too
        source = data.sources.get(name)
        if source is not None and source.max_epochs is not None:
            found += [target for target in source.spill_to if target not in found]
    return set(found)


def source_name_problem(name: str) -> str | None:
    """What is wrong with the name of a source, wherever it is given."""
    if len(name) > _MAX_SOURCE_NAME:
        return f"a source's name has at most {_MAX_SOURCE_NAME} characters"
    if _SOURCE_NAME.fullmatch(name):
        return None
    return "a source's name is part of file and metric names; use letters, digits, '_' and '-'"


def _check_order(config: RunConfig) -> list[str]:
    """What Megatron's order, which is laid out for one run of one length, cannot do."""
    data = config.data
    if data.order != "megatron":
        return []
    problems = []
    if not isinstance(data.mixture, ConstantMixtureConfig) or data.changes:
        problems.append(
            "data.order: megatron mixes with constant weights and changes nothing on the way; use "
            "order: stateless for a schedule or for changes"
        )
    if config.init_from is not None and not data.restart:
        problems.append(
            "data.order: megatron lays the data out for one run, so a phase cannot go on where its "
            "parent's sources stood; set data.restart=true or use order: stateless"
        )
    for name, source in data.sources.items():
        if source.max_epochs is not None:
            problems.append(
                f"data.sources.{name}.max_epochs: cannot be kept in data.order: megatron, which "
                "shuffles the epochs of a source together; use order: stateless"
            )
        if source.packing is not None:
            problems.append(
                f"data.sources.{name}.packing: data.order: megatron cuts windows of joined "
                "documents; use order: stateless"
            )
    return problems


def _check_weights(path: str, weights: Mapping[str, float], sources: Sequence[str]) -> list[str]:
    problems = [
        f"{path}.{name}: no such source{suggestion(name, sources)}; "
        f"data.sources has {', '.join(sources)}"
        for name in weights
        if name not in sources
    ]
    total = math.fsum(weights.values())
    if abs(total - 1) > _WEIGHT_TOLERANCE:
        problems.append(
            f"{path}: they sum to {total:.9g}, not to 1; each is the share of the tokens that "
            "comes from its source"
        )
    return problems


def _check_kind(path: str, mixture: MixtureConfig) -> list[str]:
    if isinstance(mixture, StagesMixtureConfig):
        return [
            f"{path}: source {name!r} is in both `varying` and `others`; its share would be "
            "stepped and not stepped"
            for name in mixture.varying
            if name in mixture.others
        ]
    if not isinstance(mixture, StepMixtureConfig):
        return []
    starts = [step.from_tokens for step in mixture.steps]
    problems = []
    if starts[0] != 0:
        problems.append(
            f"{path}.steps.0.from_tokens: {format_count(starts[0])}; the first step begins at 0"
        )
    problems += [
        f"{path}.steps.{number}.from_tokens: {format_count(start)} is not after the step before "
        f"it, which begins at {format_count(before)}"
        for number, (before, start) in enumerate(pairwise(starts), start=1)
        if start <= before
    ]
    return problems


def _check_places(config: RunConfig) -> list[str]:
    """Steps and changes that begin out of order, or after the end of the phase."""
    data = config.data
    length = data.sequence_length
    phase_tokens = phase_samples(config) * length
    places = [change.at_tokens for change in data.changes]
    problems = [
        f"data.changes.{number}.at_tokens: {format_count(place)} is not after the change before "
        f"it, at {format_count(before)}"
        for number, (before, place) in enumerate(pairwise(places), start=1)
        if place <= before
    ]
    problems += [
        f"data.changes.{number}.at_tokens: {format_count(place)} is not within the phase of "
        f"{format_count(phase_tokens)} tokens (train.train_tokens in whole steps)"
        for number, place in enumerate(places)
        if place >= phase_tokens
    ]
    for (path, mixture), start in zip(all_mixtures(data), [0, *places], strict=True):
        if not isinstance(mixture, StepMixtureConfig) or start >= phase_tokens:
            continue
        problems += [
            f"{path}.steps.{number}.from_tokens: {format_count(step.from_tokens)} is not within "
            f"the {format_count(phase_tokens - start)} tokens from there to the end of the phase"
            for number, step in enumerate(mixture.steps)
            if step.from_tokens >= phase_tokens - start
        ]
    return problems


def _check_caps(data: DataConfig) -> list[str]:
    problems = []
    for name, source in data.sources.items():
        path = f"data.sources.{name}"
        if source.packing is not None and source.max_epochs is not None:
            problems.append(
                f"{path}.max_epochs: how many samples an epoch has is not known before the "
                "documents are packed; leave out one of max_epochs and packing"
            )
        if source.spill_to and source.max_epochs is None:
            problems.append(f"{path}.spill_to: means something only with max_epochs")
        for target in source.spill_to:
            if target == name:
                problems.append(f"{path}.spill_to: a source cannot take over from itself")
            elif target not in data.sources:
                problems.append(
                    f"{path}.spill_to: no source {target!r}{suggestion(target, list(data.sources))}"
                )
    return problems
