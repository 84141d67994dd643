"""Runs both, strikes one, compares."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.bench.chaos.faults import Fault, plan_faults, strike
from megatron_codemix.bench.chaos.job import ChaosJob, write_job
from megatron_codemix.bench.rows import Row
from megatron_codemix.errors import EXIT_DONE, RunError
from megatron_codemix.runs import RunDirectory

SAVE_EVERY = 5
"""Steps between checkpoints."""


@dataclass(frozen=True, kw_only=True)
class ChaosResult:
    """What was done to the run, and in what it differs from the undisturbed one."""

    faults: list[Fault]
    differences: list[str]
    rows: list[Row]

    @property
    def identical(self) -> bool:
        return not self.differences


def run_chaos(
    folder: Path,
    *,
    num_faults: int,
    num_steps: int,
    num_ranks: int,
    seed: int,
    overrides: Sequence[str],
    finished: Callable[[str], None],
) -> ChaosResult:
    """Works in a folder of its own below `folder` and removes it; `finished` is told of each run of
    the command. Raises RunError where the undisturbed run, or the last restart, fails."""
    with tempfile.TemporaryDirectory(prefix="codemix-chaos-", dir=folder) as work:
        job = write_job(
            Path(work),
            num_steps=num_steps,
            save_every=SAVE_EVERY,
            num_ranks=num_ranks,
            overrides=overrides,
        )
        alone, struck = RunDirectory(Path(work) / "alone"), RunDirectory(Path(work) / "struck")
        started = time.monotonic()
        _run_to_end(job, alone)
        seconds = time.monotonic() - started
        finished("undisturbed")
        started = time.monotonic()
        faults = _disturbed(job, struck, num_faults, seed, finished)
        disturbed_seconds = time.monotonic() - started
        found = differences(alone, struck, num_steps)
        found += [
            f"exit code {fault.exit_code} after {fault.kind} at step {fault.step}"
            for fault in faults
            if not fault.expected
        ]
        row = Row(
            name=f"{num_steps} steps with {len(faults)} faults: time",
            ours=disturbed_seconds,
            peer=seconds,
            unit="s",
            note="the other figure is that of the undisturbed run",
        )
        return ChaosResult(faults=faults, differences=found, rows=[row])


def _disturbed(
    job: ChaosJob, run: RunDirectory, num_faults: int, seed: int, finished: Callable[[str], None]
) -> list[Fault]:
    faults = []
    for plan in plan_faults(num_faults, job.num_steps, seed):
        process = job.start(run, _output(run))
        try:
            fault = strike(plan, process, run)
        finally:
            process.kill()
            process.wait()
        if fault is not None:
            faults.append(fault)
        finished(plan.kind)
    _run_to_end(job, run)
    finished("to the end")
    return faults


def _run_to_end(job: ChaosJob, run: RunDirectory) -> None:
    output = _output(run)
    if job.start(run, output).wait() != EXIT_DONE:
        tail = output.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise RunError("the run did not get to its end:\n" + "\n".join(tail))


def _output(run: RunDirectory) -> Path:
    return run.path.with_suffix(".log")
