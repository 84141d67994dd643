"""`slurm.json` in a study's folder: the job of each training, evaluation and report; and what the
jobs have taken, in `study.json`."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, field_problem, key_problem, read_json_object, write_json
from megatron_codemix.launch.slurm.starts import Stretch
from megatron_codemix.study.locks import record_lock
from megatron_codemix.study.record import read_record, write_record


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job as it was submitted."""

    id: str
    """SLURM's number."""
    run: str | None
    """Run directory; None for the report."""
    log: str
    script: str
    needs: dict[str, str]
    """Name -> number of the jobs that must have succeeded; only those that had not been done."""
    submitted_unix: float


def records_path(out: Path) -> Path:
    """Place of `slurm.json`."""
    return out / "slurm.json"


def read_records(out: Path) -> dict[str, JobRecord]:
    """Name of the job -> its last submission; {} where nothing was submitted. Raises RunError on a
    damaged file."""
    path = records_path(out)
    if not path.exists():
        return {}
    try:
        raw = read_json_object(path)
        problem = _problem(raw)
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        raise RunError(
            f"{path}: not a readable list of jobs ({problem}); move it away (jobs that are queued "
            "or running are found by their names)"
        )
    return {name: JobRecord(**job) for name, job in raw["jobs"].items()}


_JOB_FIELDS = {
    **dict.fromkeys(("id", "log", "script"), str),
    "run": str | None,
    "needs": dict,
    "submitted_unix": int | float,
}


def _problem(raw: Json) -> str | None:
    """What keeps it from being read, in words; None where nothing does."""
    problem = field_problem(raw, {"jobs": dict})
    jobs = () if problem is not None else raw["jobs"].values()
    return problem or next((one for one in map(_job_problem, jobs) if one is not None), None)


def _job_problem(job: Json) -> str | None:
    return (
        field_problem(job, _JOB_FIELDS)
        or key_problem(job, JobRecord)
        or field_problem(job["needs"], dict.fromkeys(job["needs"], str))
    )


def write_records(out: Path, study: str, records: Mapping[str, JobRecord]) -> None:
    """Writes `slurm.json`, atomically."""
    jobs = {name: asdict(record) for name, record in records.items()}
    write_json(records_path(out), {"study": study, "jobs": jobs})


def add_job_times(
    out: Path, study: str, key: str, times: Sequence[Stretch], *, is_training: bool
) -> None:
    """Adds what starts of a job of phase `key` have taken to the study's record, which several jobs
    may do at once."""
    seconds = sum(one.seconds for one in times)
    wall = {"train" if is_training else "evaluate": seconds}
    with record_lock(out):
        record = read_record(out, study).with_wall(key, **wall)
        for one in times:
            record = record.with_jobs(one.began_unix, one.ended_unix)
        write_record(out, record.with_begun())
