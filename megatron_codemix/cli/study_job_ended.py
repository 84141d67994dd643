"""`codemix study job-ended`: what a batch script asks once its processes have ended."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.study_job_begins import job_and_work, wait_words
from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY, CodemixError
from megatron_codemix.launch.slurm.client import SlurmPrograms
from megatron_codemix.launch.slurm.ending import (
    JobEnd,
    Verdict,
    evaluation_ended,
    training_ended,
)
from megatron_codemix.launch.slurm.starts import Stretch, has_trained, note_end
from megatron_codemix.launch.slurm.waits import count_waits
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.job_records import add_job_times
from megatron_codemix.study.record import read_record
from megatron_codemix.study.store import Member, is_at_work, note_trainer

ENDED_BY_SLURM = 143
"""128 + SIGTERM, as shells have it."""


def job_ended(
    kind: Annotated[str, typer.Argument(metavar="train|evaluate")],
    run: Annotated[Path, typer.Option("--run")],
    results: Annotated[str, typer.Option("--results")],
    out: Annotated[Path, typer.Option("--out")],
    study: Annotated[str, typer.Option("--study")],
    phase: Annotated[str, typer.Option("--phase")],
    code: Annotated[int, typer.Option("--code")],
    since: Annotated[float, typer.Option("--since")],
    max_failures: Annotated[int, typer.Option("--max-failures")],
    starts: Annotated[Path, typer.Option("--starts")],
    waits: Annotated[Path, typer.Option("--waits")],
    failures_before: Annotated[int, typer.Option("--failures-before")] = 0,
    identity: Annotated[str | None, typer.Option("--identity")] = None,
) -> None:
    """Say by the exit code what becomes of a job: 0 it is done, 75 it starts again. For the scripts
    of `study submit`."""
    job, work = job_and_work(kind)
    directory, member = RunDirectory(run, results), Member.of(study, out)
    times = [Stretch(began_unix=since, ended_unix=time.time())]
    with _only_told():
        times = note_end(starts, began_unix=since, ended_unix=time.time())  # lost starts count
        add_job_times(out, study, phase, times, is_training=work == "train")
    if work == "train":
        with _only_told():  # first of all: another study may have taken the run over by now
            _note_trainer(directory, member, phase, times, job)
    state = SlurmPrograms().state_of(job) if code != EXIT_DONE else None
    if code != EXIT_DONE and state != "RUNNING":
        # Cancelled, requeued or out of time: SLURM knows what comes next, and a requeue from here
        # would bring a cancelled job back.
        print(f"job {job} is {state} in SLURM, which ends it")
        raise typer.Exit(ENDED_BY_SLURM)
    if code != EXIT_DONE and is_at_work(directory, work):
        # What it has is not this job's to change.
        print(wait_words(directory, work, waits, job))
        raise typer.Exit(EXIT_RETRY)
    end = JobEnd(code=code, since_unix=since, max_failures=max_failures)
    if identity is None:
        verdict = _evaluation_ended(end, waits, job)
    else:
        verdict = training_ended(directory, identity, end, failures_before=failures_before)
    print(f"{kind} {phase}: {verdict.words}")
    raise typer.Exit(verdict.exit_code)


@contextlib.contextmanager
def _only_told() -> Iterator[None]:
    """That something cannot be noted, on a full disk for example, must not end a training and with
    it all that follow."""
    try:
        yield
    except (CodemixError, OSError) as error:
        print(f"note: {error}")


def _note_trainer(
    run: RunDirectory, member: Member, phase: str, times: list[Stretch], job: str
) -> None:
    """In a store, that this study has trained the run, where it has: not where it was done before,
    or another's all the time."""
    is_shared = read_record(member.out, member.study).store is not None
    if is_shared and has_trained(run, job, since_unix=times[0].began_unix):
        note_trainer(run, member, phase, sum(one.seconds for one in times))


def _evaluation_ended(end: JobEnd, waits: Path, job: str) -> Verdict:
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    with _only_told():
        restarts -= count_waits(waits, job)
    return evaluation_ended(end, restarts=max(0, restarts))
