"""Runs one training undisturbed, strikes others, compares."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

from megatron_codemix.bench.chaos.compare import (
    LOSS_TOLERANCE,
    differences,
    differences_of_layouts,
    largest_loss_difference,
)
from megatron_codemix.bench.chaos.faults import Fault, Plan, plan_faults, strike
from megatron_codemix.bench.chaos.job import LAYOUTS, ChaosJob, write_job
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.errors import EXIT_DONE, RunError
from megatron_codemix.runs import RunDirectory

SAVE_EVERY = 5
"""Steps between checkpoints."""
MOVES = ("SIGTERM", "kill a rank")
"""How the run is stopped that then goes on in another layout."""


@dataclass(frozen=True, kw_only=True)
class ChaosResult:
    """What was done to the runs, and in what they differ from the undisturbed one."""

    faults: list[Fault]
    differences: list[str]
    rows: list[Row]

    @property
    def identical(self) -> bool:
        return not self.differences

    def add(
        self, run: RunDirectory, faults: Sequence[Fault], differences: Sequence[str], row: Row
    ) -> None:
        """What became of one disturbed run."""
        unexpected = (
            f"exit code {fault.exit_code} after {fault.kind} at step {fault.step}"
            for fault in faults
            if not fault.expected
        )
        self.faults.extend(faults)
        self.differences.extend(f"{run.path.name}: {what}" for what in (*differences, *unexpected))
        self.rows.append(row)


@dataclass(frozen=True, kw_only=True)
class Chaos:
    """What is asked for: `rounds` runs of `num_faults` each at one layout, and one that is stopped
    `num_moves` times and goes on in another layout each time."""

    num_faults: int
    num_steps: int
    num_ranks: int
    seed: int
    rounds: int
    num_moves: int
    overrides: Sequence[str]

    @property
    def num_starts(self) -> int:
        """Of the command, the undisturbed run's included."""
        return 1 + self.rounds * (self.num_faults + 1) + self.num_moves + 1


def run_chaos(folder: Path, asked: Chaos, finished: Callable[[str], None]) -> ChaosResult:
    """Works in a folder of its own below `folder` and removes it; `finished` is told of each start
    of the command. Raises RunError where the undisturbed run, or a last restart, fails."""
    with tempfile.TemporaryDirectory(prefix="codemix-chaos-", dir=folder) as work:
        job = write_job(
            Path(work),
            num_steps=asked.num_steps,
            save_every=SAVE_EVERY,
            num_ranks=asked.num_ranks,
            overrides=asked.overrides,
        )
        alone = RunDirectory(Path(work) / "alone")
        started = time.monotonic()
        _run_to_end(job, alone)
        seconds = time.monotonic() - started
        finished("undisturbed")
        result = ChaosResult(faults=[], differences=[], rows=[])
        for number in range(1, asked.rounds + 1):
            run = RunDirectory(Path(work) / f"round {number}")
            plans = plan_faults(asked.num_faults, asked.num_steps, asked.seed + number - 1)
            started = time.monotonic()
            faults = _disturb(plans, [job], run, finished)
            row = Row(
                name=f"{asked.num_steps} steps with {len(faults)} faults, {run.path.name}: time",
                ours=time.monotonic() - started,
                peer=seconds,
                unit="s",
                note="the other figure is that of the undisturbed run",
            )
            result.add(run, faults, differences(alone, run, asked.num_steps), row)
        if asked.num_moves:
            run = RunDirectory(Path(work) / "moved")
            plans = plan_faults(asked.num_moves, asked.num_steps, asked.seed, kinds=MOVES)
            faults = _disturb(plans, [job.in_layout(one) for one in LAYOUTS], run, finished)
            row = Row(
                name=f"losses after {len(faults)} changes of the layout: apart",
                ours=largest_loss_difference(alone, run),
                peer=None,
                unit="nats",
                goal=Goal(at_most=LOSS_TOLERANCE),
            )
            result.add(run, faults, differences_of_layouts(alone, run), row)
        return result


def _disturb(
    plans: Sequence[Plan],
    jobs: Sequence[ChaosJob],
    run: RunDirectory,
    finished: Callable[[str], None],
) -> list[Fault]:
    """Starts one of the jobs after the other, by turns: strikes each as planned, and lets the last
    one come to its end."""
    faults = []
    for plan, job in zip(plans, cycle(jobs), strict=False):
        process = job.start(run, _output(run))
        try:
            fault = strike(plan, process, run)
        finally:
            process.kill()
            process.wait()
        if fault is not None:
            faults.append(fault)
        finished(plan.kind)
    _run_to_end(jobs[len(plans) % len(jobs)], run)
    finished("to the end")
    return faults


def _run_to_end(job: ChaosJob, run: RunDirectory) -> None:
    output = _output(run)
    if job.start(run, output).wait() != EXIT_DONE:
        tail = output.read_text(encoding="utf-8", errors="replace").splitlines()[-20:]
        raise RunError("the run did not get to its end:\n" + "\n".join(tail))


def _output(run: RunDirectory) -> Path:
    return run.path.with_suffix(".log")
