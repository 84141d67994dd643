"""`status.json`: who a run is and how far it has come."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from megatron_codemix.errors import RunError
from megatron_codemix.files import field_problem, key_problem, read_json_object

State = Literal["pending", "running", "done", "failed"]


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


def read_status(path: Path) -> Status | None:
    """The status in a file; None where there is none. Raises RunError on a damaged one."""
    if not path.exists():
        return None
    try:
        record = read_json_object(path)
        problem = key_problem(record, Status)
    except ValueError as error:
        problem = str(error)
    if problem is None:
        status = Status(**record)
        problem = _status_problem(status)
    if problem is not None:
        raise RunError(
            f"{path}: not a readable status file ({problem}); restore it or move the run "
            "directory away"
        )
    return status
