"""All rows of `codemix bench train --gpu`, one after the other."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megatron_codemix.backend.environment import GPU, DeviceChoice
from megatron_codemix.bench.train.gpu.cases import DEFAULT, Case
from megatron_codemix.bench.train.gpu.figures import (
    Figures,
    failed,
    loop_row,
    skipped,
    step_row,
    with_goals,
)
from megatron_codemix.bench.train.gpu.fit import Fit, fit
from megatron_codemix.bench.train.gpu.job import OURS, PEER, LoopJob, Side, StepJob, Warmth
from megatron_codemix.bench.train.gpu.machine import Machine, why_not
from megatron_codemix.bench.train.gpu.processes import Ended, measure_in_process
from megatron_codemix.bench.train.gpu.results import Results
from megatron_codemix.config.precision_checks import check_capability
from megatron_codemix.config.schema import BackendConfig, Fp8Config
from megatron_codemix.planner.hardware import Gpu
from megatron_codemix.units import format_bytes

Measure = Callable[[Mapping[str, Any], Path], Ended]  # Any: JSON values

_OWN_BYTES = 1536 * 2**20
"""Of a GPU's memory that a process may take before its first tensor: CUDA's context (the planner
counts 640 MiB with all kernels loaded), what the driver keeps, and as much again."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How rows are measured."""

    steps: int
    """That are counted, of each side."""
    has_peer: bool = True
    """Whether plain PyTorch is measured in the rows that have it."""
    device: DeviceChoice = GPU
    is_compiled: bool = True
    """The peer."""
    warmth: Warmth = field(default_factory=Warmth)


def planned_rows(cases: Sequence[Case], gpu: Gpu) -> Iterator[Figures]:
    """What would be tried on a card, and its memory; nothing is measured."""
    for case in cases:
        found = fit(case, gpu.memory_bytes)
        reason = found.why_not()
        if reason is None and case.precision != "bf16" and gpu.fp8_flops is None:
            reason = f"the {gpu.title} has no FP8"
        formats = case.number_formats
        if reason is None and isinstance(formats, Fp8Config):
            reason = "; ".join(check_capability(formats, gpu.compute_capability)) or None
        row = skipped(case, reason or "", found)
        yield row if reason else {**row, "status": "planned", "reason": None}


def measured_rows(
    cases: Sequence[Case],
    machine: Machine,
    results: Results,
    settings: Settings,
    folder: Path,
    *,
    begins: Callable[[str], None],
    measure: Measure = measure_in_process,
) -> Iterator[Figures]:
    """The rows, those of `results` as they are. What was lost has failed and is not kept, unless
    memory ran out on a GPU that nobody else used: that would be so again.

    folder: in which each row works in a folder of its own, which is removed; it is made.
    begins: is told the name of each row that is measured now.
    """
    folder = folder.absolute()  # a measurement's process may work elsewhere
    folder.mkdir(parents=True, exist_ok=True)
    for case in cases:
        row = results.rows.get(case.name)
        if row is None:
            row = _row(case, machine, results, settings, folder, begins=begins, measure=measure)
        bf16, default = (
            results.rows.get(other.name)
            for other in (case.beside(precision="bf16"), case.beside(variant=DEFAULT))
        )
        yield with_goals(row, bf16, default)


def _row(
    case: Case,
    machine: Machine,
    results: Results,
    settings: Settings,
    folder: Path,
    *,
    begins: Callable[[str], None],
    measure: Measure,
) -> Figures:
    found = fit(case, machine.memory_bytes)
    reason = why_not(case, machine) or found.why_not()
    if reason is not None:
        return skipped(case, reason, found)
    begins(case.name)
    with tempfile.TemporaryDirectory(prefix="codemix-bench-", dir=folder) as work:
        measure_case = _measured_loop if case.kind == "loop" else _measured_step
        row = measure_case(case, found, machine, settings, Path(work), measure)
    if row.pop("is_final"):
        results.add(row)
    return row


def _measured_loop(
    case: Case, found: Fit, machine: Machine, settings: Settings, work: Path, measure: Measure
) -> Figures:
    job = LoopJob(
        model=case.shape,
        sequence=case.sequence,
        sequences=found.microbatch_sequences,
        steps=settings.steps,
        backend=_backend(case, settings),
    )
    ended = measure(job.as_dict(), work / "loop")
    if not ended.result:
        return {**failed(case, ended.problem or "nothing was found", found), "is_final": False}
    return {**loop_row(case, found, ended.result), "is_final": True}


def _measured_step(
    case: Case, found: Fit, machine: Machine, settings: Settings, work: Path, measure: Measure
) -> Figures:
    """Both sides by turns where both fit and neither fails; else the peer by itself after ours."""
    has_peer = case.has_peer and settings.has_peer
    sides = (OURS, PEER) if has_peer and found.fits_twice else (OURS,)
    ended = measure(_step_job(case, found, settings, sides).as_dict(), work / "first")
    if OURS not in ended.result:
        reason = _lost(OURS, ended, found)
        return {**failed(case, reason, found), "is_final": _is_final(ended)}
    peer, is_final = ended.result.get(PEER), _is_final(ended)
    if has_peer and peer is None:
        alone = measure(_step_job(case, found, settings, (PEER,)).as_dict(), work / "peer")
        peer = alone.result.get(PEER) or {"reason": _lost(PEER, alone, found)}
        is_final = _is_final(alone)
    row = step_row(case, found, machine.gpu, ended.result[OURS], peer)
    if peer is not None and "reason" not in peer:
        is_by_turns = ended.result.get("by_turns", False)
        row["peer_turns"] = "by turns" if is_by_turns else "one after the other"
    return {**row, "is_final": is_final}


def _step_job(case: Case, found: Fit, settings: Settings, sides: tuple[Side, ...]) -> StepJob:
    return StepJob(
        model=case.shape,
        precision=case.number_formats,
        sequence=case.sequence,
        sequences=found.microbatch_sequences,
        steps=settings.steps,
        sides=sides,
        backend=_backend(case, settings),
        is_compiled=settings.is_compiled,
        warmth=settings.warmth,
    )


def _backend(case: Case, settings: Settings) -> BackendConfig:
    return case.backend.model_copy(update={"device": settings.device})


def _is_final(ended: Ended) -> bool:
    """Whether another try would find the same: nothing crashed, and where memory ran out, nobody
    else held any when it began."""
    memory = ended.result.get("out_of_memory")
    is_shared = memory is not None and (memory["taken_before_bytes"] or 0) > _OWN_BYTES
    return ended.problem is None and not is_shared


def _lost(side: Side, ended: Ended, found: Fit) -> str:
    """Why a side has no figures."""
    memory = ended.result.get("out_of_memory")
    if memory is None:
        return ended.problem or f"nothing was found of {side}"
    held = memory["taken_before_bytes"]
    others = "" if held is None else f", of which {format_bytes(held)} were taken before"
    return (
        f"ran out of memory ({memory['said']}); the planner's estimate of ours is "
        f"{format_bytes(found.planned_bytes)}, and the card has "
        f"{format_bytes(found.memory_bytes)}{others}"
    )
