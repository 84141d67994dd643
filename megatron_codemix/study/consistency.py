"""Whether the names in a study file fit together: parents, variants, axes, the order of phases."""

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter

from megatron_codemix.config.problems import suggestion
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.study.published.check import published_problems
from megatron_codemix.study.spec import StudySpec


def check_names(spec: StudySpec) -> list[str]:
    """Names that refer to nothing."""
    problems = [
        f"{spec.at(f'phases.{name}.init_from.phase')}: no phase {phase.init_from.phase!r}"
        + suggestion(phase.init_from.phase, list(spec.phases))
        for name, phase in spec.phases.items()
        if phase.init_from and phase.init_from.phase not in spec.phases
    ]
    problems += [
        f"{spec.at(f'variants.{name}')}: no phase {phase!r}" + suggestion(phase, list(spec.phases))
        for name, phase in spec.variants.items()
        if phase not in spec.phases
    ]
    if spec.compare.baseline not in spec.variants:
        baseline = spec.compare.baseline
        problems.append(
            f"{spec.at('compare.baseline')}: no variant {baseline!r}"
            + suggestion(baseline, list(spec.variants))
        )
    return problems + published_problems(spec)


def name_warnings(spec: StudySpec) -> list[str]:
    """Phases that no variant needs, and variants that are one; of a study whose names are right."""
    needed: set[str] = set()
    for end in spec.variants.values():
        phase: str | None = end
        while phase is not None and phase not in needed:
            needed.add(phase)
            origin = spec.phases[phase].init_from
            phase = origin.phase if origin else None
    warnings = [
        f"{spec.at(f'phases.{name}')}: no variant needs it: it is trained, and compared with "
        "nothing; let a variant end in it, or remove it"
        for name in spec.phases
        if name not in needed
    ]
    first: dict[str, str] = {}
    for name, end in spec.variants.items():
        if first.setdefault(end, name) != name:
            warnings.append(
                f"{spec.at(f'variants.{name}')}: ends in phase {end!r}, as variant {first[end]!r} "
                "does: one model under two names; let it end in another phase, or remove it"
            )
    return warnings


def check_matrix(spec: StudySpec) -> list[str]:
    problems = [
        f"{spec.at(f'axes.{axis}')}: the matrix has no such axis"
        + suggestion(axis, list(spec.matrix))
        for axis in spec.axes
        if axis not in spec.matrix
    ]
    for axis, values in spec.matrix.items():
        place = spec.at(f"matrix.{axis}")
        if axis in spec.axes:
            problems += [
                f"{place}: axes.{axis} has no value {value!r}"
                + suggestion(value, list(spec.axes[axis]))
                for value in values
                if value not in spec.axes[axis]
            ]
        elif axis.partition(".")[0] not in RunConfig.model_fields:
            problems.append(
                f"{place}: neither an axis with values in `axes` nor a key of the run "
                "configuration such as "
                "train.seed"
            )
        if len(set(values)) < len(values):
            problems.append(f"{place}: a value stands there twice ({', '.join(values)})")
    return problems


def check_source_tokens(spec: StudySpec, configs: Sequence[RunConfig]) -> list[str]:
    """Sources that tokens are stated of, and that no phase has."""
    known = sorted({name for config in configs for name in config.data.sources})
    return [
        f"{spec.at(f'source_tokens.{name}')}: no source {name!r}{suggestion(name, known)}"
        for name in spec.source_tokens or {}
        if name not in known
    ]


def phase_order(spec: StudySpec, problems: list[str]) -> list[str]:
    """Parents before children, otherwise as in the file; a cycle is added to `problems`."""
    graph = {
        name: [phase.init_from.phase] if phase.init_from else []
        for name, phase in spec.phases.items()
    }
    try:
        return [name for name in TopologicalSorter(graph).static_order() if name in spec.phases]
    except CycleError as error:
        # graphlib lists the cycle along its edges, from a phase to the one that starts from it.
        first = error.args[1][0]
        place = spec.at(f"phases.{first}.init_from")
        problems.append(f"{place}: a cycle of init_from: {' -> '.join(error.args[1])}")
        return []
