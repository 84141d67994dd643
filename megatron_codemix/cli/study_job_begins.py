"""`codemix study job-begins`: what the batch script of a shared run asks before it starts
processes."""

import os
import time
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.errors import EXIT_RETRY, CodemixError, ConfigError
from megatron_codemix.launch.slurm.client import SlurmPrograms
from megatron_codemix.launch.slurm.script import NO_STORE
from megatron_codemix.launch.slurm.waits import note_wait
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.store import Work, is_at_work, is_gone

PATIENCE_SECONDS = 20.0
"""Ranks of a start that was killed hold their locks until they are gone, which takes moments."""
_VERBS: dict[Work, str] = {"train": "trains", "evaluate": "evaluates"}


def job_begins(
    kind: Annotated[str, typer.Argument(metavar="train|evaluate")],
    run: Annotated[Path, typer.Option("--run")],
    results: Annotated[str, typer.Option("--results")],
    waits: Annotated[Path, typer.Option("--waits")],
) -> None:
    """Say by exit code 75 that another process works on the run, so that no node need be kept
    waiting for it; by 3 that the store is not there, so that nothing is trained anew in its place.
    For the scripts of `study submit`."""
    job, work = job_and_work(kind)
    directory = RunDirectory(run, results)
    if is_gone(run.parent, [run.name]):
        print(
            f"{run.parent}: the store of this run is not there on {os.uname().nodename} (moved, or "
            "on a disk that is not mounted); this job ends, and 'study submit' submits it again"
        )
        raise typer.Exit(NO_STORE)
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while is_at_work(directory, work) and time.monotonic() < give_up_at:
        time.sleep(0.5)
    # As in `job-ended`: a job that is being cancelled must not be put back.
    if is_at_work(directory, work) and SlurmPrograms().state_of(job) == "RUNNING":
        print(wait_words(directory, work, waits, job))
        raise typer.Exit(EXIT_RETRY)


def job_and_work(kind: str) -> tuple[str, Work]:
    """Number of the job that this runs in, and what it does. Raises ConfigError elsewhere."""
    job = os.environ.get("SLURM_JOB_ID")
    work = next((one for one in _VERBS if one == kind), None)
    if job is None or work is None:
        raise ConfigError(
            ["job-begins and job-ended are for the scripts that 'codemix study submit' writes"]
        )
    return job, work


def wait_words(run: RunDirectory, work: Work, waits: Path, job: str) -> str:
    """Notes that the job waits for somebody else, and says so."""
    try:
        counted = note_wait(waits, job)
    except (CodemixError, OSError) as error:  # it waits all the same
        counted = str(error)
    place = run.path if work == "train" else run.evaluation
    return f"another process {_VERBS[work]} {place} now ({counted}); this job looks again later"
