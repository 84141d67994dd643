"""The checkpoints of a run that others start from or evaluate, and the command that goes on with a
run that lacks them."""

import contextlib
import shlex
from pathlib import Path

from megatron_codemix.errors import CodemixError, RunError
from megatron_codemix.files import read_json_object
from megatron_codemix.run_status import Status
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory


def require_done(run: RunDirectory) -> Status:
    """Status of a run that others start from or evaluate. Raises RunError unless it is done."""
    status = run.require_status()
    if status.state != "done":
        raise RunError(
            f"{run.path}: this run is {status.state} at step {status.step} of "
            f"{status.num_steps}; finish it first"
        )
    return status


def train_command(run: RunDirectory, *, named: Path | None = None) -> str:
    """The command that goes on with a run, on as many ranks as its last attempt had.

    named: the run directory as the command is to have it; None: as it is.
    """
    place = RunDirectory(run.path if named is None else named)
    words = ["codemix", "train", str(place.config), "--run-dir", str(place.path)]
    # It is told without them.
    with contextlib.suppress(CodemixError, OSError, ValueError, KeyError):
        plan = read_json_object(run.attempt(run.require_status().attempts) / "plan.json")
        words += ["--nproc", str(plan["world_size"])]
    return f"`{shlex.join(words)}`"


def train_again(run: RunDirectory) -> str:
    """What goes on with a run that a study needs."""
    return f"{train_command(run)} (or `codemix study run`)"


def run_of_checkpoint(folder: Path) -> RunDirectory:
    """The run that a checkpoint's folder lies in."""
    return RunDirectory(folder.absolute().parent.parent)


def final_checkpoint(run: RunDirectory) -> Path:
    """The last checkpoint of a finished run. Raises RunError if the run is not done or the
    checkpoint is gone."""
    status = require_done(run)
    if status.num_steps not in run.complete_steps():
        folder = run.checkpoint(status.num_steps)
        lost = f"has no {COMPLETE_MARKER}" if folder.is_dir() else "is gone"
        raise RunError(
            f"{folder}: the run is done but its last checkpoint {lost}; {_without_end_advice(run)}"
        )
    return run.checkpoint(status.num_steps)


def _without_end_advice(run: RunDirectory) -> str:
    if run.complete_steps():
        return f"give {train_again(run)}, which goes on from the checkpoint before it"
    away = "or move the run directory away to train it again"
    if incomplete := run.incomplete_checkpoints():
        names = ", ".join(folder.name for folder in incomplete)
        return f"no checkpoint is complete: restore {COMPLETE_MARKER} in one of {names}, {away}"
    return f"no other is left: restore it from a copy, {away}"


def checkpoint_of(run: RunDirectory, step: int | None) -> Path:
    """The checkpoint after `step` steps, of a run that may still be trained; None: the last of a
    finished one. Raises RunError where there is none."""
    if step is None:
        return final_checkpoint(run)
    steps = run.complete_steps()
    if step not in steps:
        there = f"there are {', '.join(map(str, steps))}" if steps else "there is none"
        raise RunError(f"{run.path}: no complete checkpoint after step {step}; {there}")
    return run.checkpoint(step)
