"""`codemix study job-ended`: what a batch script asks once its processes have ended."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.errors import EXIT_DONE, CodemixError, ConfigError
from megatron_codemix.launch.slurm.client import SlurmPrograms
from megatron_codemix.launch.slurm.ending import (
    JobEnd,
    evaluation_ended,
    training_ended,
)
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.state import add_wall

ENDED_BY_SLURM = 143
"""128 + SIGTERM, as shells have it."""


def job_ended(
    kind: Annotated[str, typer.Argument(metavar="train|evaluate")],
    run: Annotated[Path, typer.Option("--run")],
    out: Annotated[Path, typer.Option("--out")],
    study: Annotated[str, typer.Option("--study")],
    phase: Annotated[str, typer.Option("--phase")],
    code: Annotated[int, typer.Option("--code")],
    since: Annotated[float, typer.Option("--since")],
    max_failures: Annotated[int, typer.Option("--max-failures")],
    failures_before: Annotated[int, typer.Option("--failures-before")] = 0,
    identity: Annotated[str | None, typer.Option("--identity")] = None,
) -> None:
    """Say by the exit code what becomes of a job: 0 it is done, 75 it starts again. For the scripts
    of `study submit`."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or kind != ("evaluate" if identity is None else "train"):
        raise ConfigError(["job-ended is for the scripts that 'codemix study submit' writes"])
    try:
        add_wall(out, study, phase, **{kind: max(0.0, time.time() - since)})
    except CodemixError as error:  # that a time is not noted must not end a training
        print(f"note: {error}")
    state = SlurmPrograms().state_of(job) if code != EXIT_DONE else None
    if code != EXIT_DONE and state != "RUNNING":
        # Cancelled, requeued or out of time: SLURM knows what comes next, and a requeue from here
        # would bring a cancelled job back.
        print(f"job {job} is {state} in SLURM, which ends it")
        raise typer.Exit(ENDED_BY_SLURM)
    end = JobEnd(code=code, since_unix=since, max_failures=max_failures)
    if identity is None:
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        verdict = evaluation_ended(end, restarts=restarts)
    else:
        directory = RunDirectory(run)
        verdict = training_ended(directory, identity, end, failures_before=failures_before)
    print(f"{kind} {phase}: {verdict.words}")
    raise typer.Exit(verdict.exit_code)
