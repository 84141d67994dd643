"""The run directory: where each file lies and what state the run is in.

This is the contract between training, evaluation, study and report, which never import one another:

    runs/<cell>/<phase>-<identity8>/
      config.yaml                     resolved, complete
      status.json                     state, step, attempts, failures, last error
      metrics.jsonl                   a line per logged step
      validation.jsonl                a line per validation: held-out losses of each source
      validation.documents.jsonl      a line per held-out document: its loss after the last step
      ledger.jsonl                    a line per checkpoint: planned and consumed tokens per source
      skipped.jsonl                   steps whose batch was passed over because of its loss
      checkpoints/iter_0004000/       complete only once `complete.json` in it exists
      attempts/3/                     plan.json, provenance.json, rank logs
      chat_template.jinja             of conversations, where the run has learned answers alone
      studies.jsonl                   which studies have trained it, where several share it
      evaluation/<task>.jsonl         a line per item, and <task>.summary.json; of the first 50
                                      items alone <task>.first50.jsonl
      evaluation/asked-<hash8>/       the same, of what one of several studies asks for
"""

import contextlib
import shlex
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from megatron_codemix.errors import CodemixError, RunError
from megatron_codemix.files import (
    Json,
    field_problem,
    key_problem,
    read_json_object,
    read_jsonl,
    write_json,
)

State = Literal["pending", "running", "done", "failed"]

_SKIPPED_ADVICE = "not a readable list of skipped steps: restore it"
_LOG_SUFFIXES = {".out", ".err", ".log", ".txt"}
COMPLETE_MARKER = "complete.json"
CHAT_TEMPLATE = "chat_template.jinja"
HELDOUT = "heldout"
"""The task of bits per byte on held-out documents."""
EVALUATION = "evaluation"
"""Folder of a run's results."""
EVALUATED_TASKS = "tasks.json"
"""In `evaluation/`: which tasks the last evaluation was asked for; written when all are done."""


def result_stem(task: str, limit: int | None) -> str:
    """What the files of a task's results are called before their suffix. Those of its first items
    alone do not take the place of all."""
    return task if limit is None or task == HELDOUT else f"{task}.first{limit}"


@dataclass(frozen=True, kw_only=True)
class Status:
    """`status.json`: who this run is and how far it has come."""

    identity: str
    state: State = "pending"
    step: int = 0
    num_steps: int = 0
    attempts: int = 0
    """Times the run was started."""
    failures: int = 0
    """Attempts that ended in an error worth a retry; a preemption is not one."""
    last_error: str | None = None
    train_seconds: float = 0.0
    """Wall time in the training loop, over all attempts, of steps that were kept."""
    updated_unix: float = 0.0


_STATUS_FIELDS = {
    "identity": str,
    "state": str,
    **dict.fromkeys(("step", "num_steps", "attempts", "failures"), int),
    "last_error": str | None,
    **dict.fromkeys(("train_seconds", "updated_unix"), int | float),
}


def _status_problem(status: Status) -> str | None:
    """What is wrong with its values, in words; None where nothing is."""
    problem = field_problem(vars(status), _STATUS_FIELDS)
    if problem is not None:
        return problem
    if status.state not in get_args(State):
        return f"'state' is {status.state!r}, and one of {', '.join(get_args(State))} is wanted"
    if status.state == "done" and status.step != status.num_steps:
        return f"'state' is 'done' at step {status.step} of {status.num_steps}"
    return None


@dataclass(frozen=True)
class RunDirectory:
    """Paths of one run; nothing is created until something is written."""

    path: Path
    results: str = EVALUATION
    """Folder in it with the results of the evaluation that is meant, where several are asked
    for."""

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def status(self) -> Path:
        return self.path / "status.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def validation(self) -> Path:
        return self.path / "validation.jsonl"

    @property
    def validation_documents(self) -> Path:
        return self.path / "validation.documents.jsonl"

    @property
    def ledger(self) -> Path:
        return self.path / "ledger.jsonl"

    @property
    def skipped(self) -> Path:
        return self.path / "skipped.jsonl"

    @property
    def studies(self) -> Path:
        return self.path / "studies.jsonl"

    @property
    def chat_template(self) -> Path:
        return self.path / CHAT_TEMPLATE

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` optimizer steps."""
        return self.checkpoints / f"iter_{step:07d}"

    def attempt(self, number: int) -> Path:
        """Folder of one start of the run, counted from 1."""
        return self.path / "attempts" / str(number)

    @property
    def evaluation(self) -> Path:
        return self.path / self.results

    def complete_steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        markers = self.checkpoints.glob(f"iter_*/{COMPLETE_MARKER}")
        return sorted(int(marker.parent.name.removeprefix("iter_")) for marker in markers)

    def incomplete_checkpoints(self) -> list[Path]:
        """Folders of saves that were cut short, or whose marker is gone."""
        folders = sorted(self.checkpoints.glob("iter_*"))
        return [folder for folder in folders if not (folder / COMPLETE_MARKER).exists()]

    def skipped_steps(self) -> set[int]:
        """Steps whose batch was passed over. Raises RunError on a damaged file."""
        lines = read_jsonl(self.skipped, step_problem, advice=_SKIPPED_ADVICE)
        return {line["step"] for line in lines}

    def read_status(self) -> Status | None:
        """The status; None where the run was never started. Raises RunError on a damaged file."""
        if not self.status.exists():
            return None
        try:
            record = read_json_object(self.status)
            problem = key_problem(record, Status)
        except ValueError as error:
            problem = str(error)
        if problem is None:
            status = Status(**record)
            problem = _status_problem(status)
        if problem is not None:
            raise RunError(
                f"{self.status}: not a readable status file ({problem}); restore it or move the "
                "run directory away"
            )
        return status

    def lost_status(self) -> str | None:
        """That there is no status, and what comes only after it: the run was started; what to do.
        None where nothing was lost."""
        if self.status.exists():
            return None
        if not (self.complete_steps() or self.ledger.exists() or self.metrics.exists()):
            return None
        return (
            f"{self.status}: is missing, and this run had it: restore it from a copy; "
            "'codemix study run' makes it again from the newest checkpoint"
        )

    def require_status(self) -> Status:
        """As `read_status`. Raises RunError also where the run was never started."""
        status = self.read_status()
        if status is None:
            raise RunError(
                f"{self.path}: no run here (status.json is missing); give the directory of a run"
            )
        return status

    def require_config(self) -> None:
        """Raises RunError where the run's configuration is not there."""
        if self.status.exists() and not self.config.is_file():
            raise RunError(
                f"{self.config}: is missing, and this run had it: restore it; 'codemix study run' "
                "writes that of a finished phase again"
            )
        if not self.config.is_file():
            raise RunError(
                f"{self.path}: no run here (config.yaml is missing); give a run directory"
            )

    def write_status(self, status: Status) -> Status:
        """Writes `status` with the present time, atomically; returns what was written."""
        stamped = replace(status, updated_unix=time.time())
        write_json(self.status, asdict(stamped))
        return stamped

    def claim(self, identity: str, *, earlier: str | None = None) -> Status:
        """The status of this run, new if the directory is empty.

        earlier: identity that the run had before its future was changed; its status goes on under
        the new one.
        Raises RunError if the directory belongs to a run of another identity: its checkpoints must
        not be mixed with this run's.
        """
        status = self.read_status()
        if status is None:
            self._require_own_folder()
            return Status(identity=identity)
        if status.identity == earlier:
            return replace(status, identity=identity)
        if status.identity != identity:
            raise RunError(
                f"{self.path}: holds a run of another identity ({status.identity[:8]}, this "
                "configuration is "
                f"{identity[:8]}): something that decides what is learned has changed; compare "
                "with "
                f"'codemix config diff {self.config} YOUR_CONFIG [KEY=VALUE ...]' and use another "
                "directory"
            )
        return status

    def _require_own_folder(self) -> None:
        """Raises RunError where the folder holds something, and nothing of it is a run's. Logs do
        not count: a job's often begin before its run does."""
        if not self.path.is_dir():
            return
        names = sorted(path.name for path in self.path.iterdir())
        own = (self.config, self.checkpoints, self.metrics, self.ledger, self.skipped)
        known = {*(path.name for path in own), "attempts"}
        foreign = [
            name for name in names if name[0] != "." and Path(name).suffix not in _LOG_SUFFIXES
        ]
        if foreign and known.isdisjoint(foreign):
            raise RunError(
                f"{self.path}: holds {foreign[0]!r}{' and more' if len(foreign) > 1 else ''}, and "
                "no run (status.json is missing); give a new or an empty directory"
            )


def step_problem(line: Json) -> str | None:
    """What is wrong with a line of a file that has a line for a step; None where nothing is."""
    return field_problem(line, {"step": int})


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


def newest_checkpoint(run: RunDirectory) -> Path | None:
    """The newest complete checkpoint of the run; None if there is none."""
    steps = run.complete_steps()
    return run.checkpoint(steps[-1]) if steps else None


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
