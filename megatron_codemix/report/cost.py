"""`cost` of a report: tokens, seconds, GPU-hours or processor-hours, failures and restarts, of each
phase and of each variant.

A training that several phases of the study share is counted once in the total, and for each variant
that needs it as far as the variant's next phase starts: that is what the variant would cost alone.
So is a training that another study has done, in a store of both; the total has this study's part of
it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from megatron_codemix.files import Json
from megatron_codemix.report.collect import PhaseRecord, StudyRecords
from megatron_codemix.study.evaluation import HeldoutSpec

_SECONDS_PER_HOUR = 3600

Cost = dict[str, Any]  # Any: JSON values


def cost(records: StudyRecords) -> Cost:
    """By phase, by variant, and of everything. All of it but tokens depends on the clock."""
    phases = {key: _phase(records, key) for key in records.phases}
    first = {phase.run.path: key for key, phase in reversed(records.phases.items())}
    return {
        "phases": list(phases.values()),
        "variants": [
            _variant(records, phases, cell, variant)
            for cell in records.tree.cells
            for variant in records.tree.spec.variants
            if records.chain(cell, variant)
        ],
        "total": {
            "phases": len(first),
            **_sums([_own(records, key) for key in first.values()]),
        },
    }


def _own(records: StudyRecords, key: str) -> Cost:
    """Of a training without what other studies have done of it. key: the first phase that it is."""
    part = records.phases[key].own_part
    found = _phase(records, key, part=part)
    return found if part else found | {"restarts": 0, "failures": 0}


def _phase(records: StudyRecords, key: str, *, part: float = 1.0) -> Cost:
    """part: of its training that is meant; its evaluation counts whole."""
    phase = records.phases[key]
    same = {k: one for k, one in records.phases.items() if one.run.path == phase.run.path}
    first = next(iter(same.values()))
    wall = part * _training_seconds(list(same.values()))
    evaluated = sum(one.wall.evaluate for one in same.values())
    device, processes = _device(phase), phase.plan.get("world_size")
    train_seconds = part * phase.status.train_seconds
    trained = max(wall, train_seconds)  # nobody has timed the processes of a killed study
    hours = _hours(trained * (processes or 0) + evaluated * _evaluators(records, phase))
    is_known = device is not None and processes is not None
    return {
        "cell": phase.node.cell,
        "phase": phase.node.name,
        "variants": needed_by(records, phase.node.cell, phase.node.name),
        "state": phase.status.state,
        "device": device,
        "processes": processes,
        "tokens": round(part * phase.tokens),
        "train_seconds": train_seconds,
        "wall_seconds": wall,
        "evaluate_seconds": evaluated,
        "gpu_hours": hours if is_known and device != "cpu" else None,
        "processor_hours": hours if is_known and device == "cpu" else None,
        "attempts": phase.status.attempts,
        "restarts": max(0, phase.status.attempts - 1),
        "failures": phase.status.failures,
        "shared_with": [other for other in same if other != key],
        "own_part": first.own_part,
        "trained_by": ", ".join(f"study {one.study}" for one in first.other_trainers) or None,
    }


def _training_seconds(same: Sequence[PhaseRecord]) -> float:
    """Wall seconds of the processes of a training, over all attempts of all studies. same: the
    phases that are this training."""
    first = same[0]
    if first.other_trainers:
        return sum(one.seconds for one in first.trainers)
    # Whichever of them a process was started for has its seconds.
    return sum(one.wall.train for one in same)


def needed_by(records: StudyRecords, cell: str, phase: str) -> list[str]:
    """Variants whose chain has the phase."""
    return [
        variant
        for variant in records.tree.spec.variants
        if any(node.name == phase for node in records.tree.variant(cell, variant))
    ]


def _variant(records: StudyRecords, phases: Mapping[str, Cost], cell: str, variant: str) -> Cost:
    chain = []
    for phase in records.chain(cell, variant):
        key = phase.node.key
        part = _taken_part(phase, records.phases[key])
        chain.append(phases[key] if part == 1 else _phase(records, key, part=part))
    unknown = {} if _are_known(chain) else {"gpu_hours": None, "processor_hours": None}
    return {
        "cell": cell,
        "variant": variant,
        "phases": [one["phase"] for one in chain],
        **_sums(chain),
        **unknown,
        "is_complete": records.is_complete(cell, variant),
    }


def _taken_part(taken: PhaseRecord, whole: PhaseRecord) -> float:
    """Of a phase's tokens that come before the phase which starts from it; all of them where its
    ledger does not say."""
    return taken.tokens / whole.tokens if taken.tokens and whole.tokens else 1.0


def _are_known(chain: Sequence[Cost]) -> bool:
    """Whether all that was trained has hours: a sum without one of them would pass for all."""
    return not any(
        _trained_seconds(one) and one["gpu_hours"] is one["processor_hours"] is None
        for one in chain
    )


def _sums(phases: Sequence[Cost]) -> Cost:
    return {
        "tokens": sum(one["tokens"] for one in phases),
        "seconds": sum(_trained_seconds(one) + one["evaluate_seconds"] for one in phases),
        "gpu_hours": _sum_of_known(one["gpu_hours"] for one in phases),
        "processor_hours": _sum_of_known(one["processor_hours"] for one in phases),
        "restarts": sum(one["restarts"] for one in phases),
        "failures": sum(one["failures"] for one in phases),
    }


def _trained_seconds(one: Cost) -> float:
    return float(max(one["wall_seconds"], one["train_seconds"]))


def _sum_of_known(hours: Iterable[float | None]) -> float | None:
    known = [one for one in hours if one is not None]
    return sum(known) if known else None


def _hours(process_seconds: float) -> float:
    return process_seconds / _SECONDS_PER_HOUR


def _evaluators(records: StudyRecords, phase: PhaseRecord) -> int:
    """Processes of an evaluation, also of one that takes the place of a validation."""
    asked = records.tree.spec.evaluation.by_processes(phase.node.config).heldout
    assert isinstance(asked, HeldoutSpec), "by_processes"
    return asked.world_size


def _device(phase: PhaseRecord) -> Json:
    """`cpu`, or the name of the GPU; None where the run has not recorded it."""
    backend = phase.provenance.get("backend")
    if backend is None:
        return "cpu" if phase.config.backend.device == "cpu" else None
    return "cpu" if backend == "cpu" else phase.provenance.get("device") or backend
