"""What a run's ledger says, compared with what its recorded plan gives: neither believed alone.

A run records the plan of its data in `attempts/<n>/provenance.json`; `ledger.jsonl` counts the
batches that went through the model. Both are read here, along the chain of parents.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from megatron_codemix.config.batch_sizes import BatchSizes, batch_sizes
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json
from megatron_codemix.ledgers import ledger_advice, ledger_damage, lost_steps, read_ledger
from megatron_codemix.lineage import chain_of
from megatron_codemix.runs import RunDirectory

Record = Mapping[str, Any]  # a line of the ledger, or one source of it

_SAMPLE_TOLERANCE = 1e-6
"""Planned samples are floating point: some 1e-16 of their number away from exact."""


@dataclass(frozen=True)
class RecordedPlan:
    """What decided a run's samples, as it wrote it down when it started."""

    mixture: MixturePlan
    start_cursors: dict[str, int]
    manifest_hashes: dict[str, str]


@dataclass(frozen=True)
class AuditedRun:
    """`lines` are the ledger's, one for each checkpoint, with `chain_planned_tokens` of each source
    added; `problems` name the line and the source where plan and ledger disagree."""

    path: str
    lines: list[dict[str, Any]]
    problems: list[str]


def recorded_plan(run: RunDirectory) -> RecordedPlan:
    """Of the newest attempt that got so far as to write it. Raises RunError."""
    attempts = run.path / "attempts"
    numbers = sorted(int(path.name) for path in attempts.glob("[0-9]*") if path.name.isdigit())
    for number in reversed(numbers):
        path = run.attempt(number) / "provenance.json"
        if path.is_file():
            return _read_plan(path)
    raise RunError(f"{run.path}: no attempt recorded its data (attempts/*/provenance.json)")


def _read_plan(path: Path) -> RecordedPlan:
    try:
        data = read_json(path)["data"]
        return RecordedPlan(
            MixturePlan.from_dict(data["mixture"]), data["start_cursors"], data["manifest_hashes"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path}: the plan of the data cannot be read ({error!r})") from error


def audit_ledger(path: Path) -> list[AuditedRun]:
    """Every line of the ledgers of a run and its parents, oldest first."""
    audited = []
    inherited: Record = {}
    is_start_unknown = False
    planned_before: dict[str, float] = {}
    for ancestor in chain_of(path):
        run, config = ancestor.run, ancestor.config
        starts = {} if config.data.restart else inherited
        planned_before = {} if config.data.restart else planned_before
        lines, problems = _lines_of(run)
        if is_start_unknown and not config.data.restart:
            problems.append(f"{run.path}: not compared, as its parent's ledger is damaged")
        else:
            problems += _problems(run, config, lines, starts)
        _add_chain_plan(lines, planned_before)
        audited.append(AuditedRun(str(run.path), lines, problems))
        is_start_unknown = all(line["step"] != ancestor.step for line in lines)
        inherited = _sources_at(ancestor.step, lines)
        planned_before = {
            name: source["chain_planned_tokens"] for name, source in inherited.items()
        }
    return audited


def _lines_of(run: RunDirectory) -> tuple[list[dict[str, Any]], list[str]]:
    """The lines, and what is wrong with the file: a line that is none of a ledger, a finished run
    that goes on behind the last one, lines between others that are gone."""
    try:
        status = run.read_status()  # first: a run may finish meanwhile
        lines = read_ledger(run)
        damage = None if status is None else ledger_damage(run, status, lines)
    except RunError as error:
        return [], error.problems
    if status is not None and damage is not None:
        return lines, [f"{damage}; {ledger_advice(run, status, lines)}"]
    lost = ", ".join(map(str, lost_steps(run, lines)))
    found = f"{run.ledger}: the lines of step {lost} are lost; restore it from a copy"
    return lines, [found] if lost else []


def _add_chain_plan(lines: list[dict[str, Any]], before: Mapping[str, float]) -> None:
    """Puts `chain_planned_tokens` beside each line's `chain_tokens`."""
    for line in lines:
        for name, source in line["sources"].items():
            source["chain_planned_tokens"] = before.get(name, 0.0) + source["planned_tokens"]


def _sources_at(step: int, lines: list[dict[str, Any]]) -> Record:
    """Where the next run of the chain starts; of a run that is not done, where it stands."""
    reached = [line["sources"] for line in lines if line["step"] <= step]
    return reached[-1] if reached else {}


def _problems(
    run: RunDirectory, config: RunConfig, lines: list[dict[str, Any]], starts: Record
) -> Iterator[str]:
    plan = recorded_plan(run)
    cursors = {name: source["cursor"] for name, source in starts.items()}
    if plan.start_cursors != cursors:
        yield f"{run.path}: started at {plan.start_cursors}, its parent ended at {cursors}"
    mixture = Mixture(plan.mixture)
    passed = sorted(run.skipped_steps())
    batches, length = batch_sizes(config), config.data.sequence_length
    for line in lines:
        where = f"{run.ledger}, step {line['step']}"
        samples = line["samples"]
        taken = batches.samples(line["step"])
        if samples != taken or line["tokens"] != samples * length:
            yield (
                f"{where}: {samples} samples and {line['tokens']} tokens of {taken} samples x "
                f"{length}"
            )
            continue
        given = dict(zip(mixture.source_names, mixture.counts(samples).tolist(), strict=True))
        skipped = _skipped(mixture, [step for step in passed if step <= line["step"]], batches)
        wanted = dict(zip(mixture.source_names, mixture.planned(samples).tolist(), strict=True))
        for name in sorted({*given, *line["sources"], *cursors}):
            found = line["sources"].get(name)
            if found is None:
                # A change that was added later may bring in a source that this line could not know.
                if given.get(name, 0) or name in cursors:
                    yield f"{where}, {name}: missing"
                continue
            start = starts.get(name, {"cursor": 0, "chain_tokens": 0})
            drawn = given.get(name, 0), skipped.get(name, 0)
            expected = _expected(*drawn, wanted.get(name, 0.0), length, start)
            yield from (
                f"{where}, {name}: {key} is {found[key]}, the plan gives {value}"
                for key, value in expected.items()
                if not math.isclose(found[key], value, rel_tol=1e-12, abs_tol=_SAMPLE_TOLERANCE)
            )


def _skipped(mixture: Mixture, steps: list[int], batches: BatchSizes) -> dict[str, int]:
    """Samples of each source in the batches of these steps."""
    total = np.zeros(len(mixture.source_names), np.int64)
    for step in steps:
        after, before = (mixture.counts(batches.samples(step - n)) for n in (0, 1))
        total += after - before
    return dict(zip(mixture.source_names, total.tolist(), strict=True))


def _expected(
    given: int, skipped: int, wanted: float, length: int, start: Record
) -> dict[str, float]:
    """What the ledger should say of one source after its mixture drew `given` samples of it, of
    which `skipped` were passed over."""
    consumed = given - skipped
    return {
        "consumed_samples": consumed,
        "consumed_tokens": consumed * length,
        "skipped_samples": skipped,
        "planned_samples": wanted,
        "planned_tokens": wanted * length,
        "cursor": start["cursor"] + given,
        "chain_tokens": start["chain_tokens"] + consumed * length,
    }
