"""`study.json`: what a study keeps of itself, beside its run directories."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, field_problem, key_problem, read_json_object, write_json
from megatron_codemix.runs import EVALUATION, RunDirectory
from megatron_codemix.study.tree import StudyTree

RECORD_NAME = "study.json"


@dataclass(frozen=True, kw_only=True)
class PhaseWall:
    """Wall seconds of child processes of one phase, over all attempts."""

    train: float = 0.0
    evaluate: float = 0.0


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """`study.json` in the study's folder."""

    name: str
    wall_seconds: float = 0.0
    """Time that `study run` has spent, over all its starts, and that has passed from the first
    start of the study's jobs in SLURM to the last end of one."""
    starts: int = 0
    store: str | None = None
    """Folder that its runs lie in, which other studies may have as well; None: its own."""
    runs: dict[str, str] = field(default_factory=dict)
    """`cell/phase` -> run directory below the study's folder, or anywhere, so that a report needs
    no data files."""
    results: dict[str, str] = field(default_factory=dict)
    """`cell/phase` -> folder of its evaluation in the run directory, where that is another than
    usual."""
    earlier: dict[str, str] = field(default_factory=dict)
    """`cell/phase` -> run directory that it had in the store before its mixture was changed."""
    started: dict[str, dict[str, str]] = field(default_factory=dict)
    """`cell/phase` -> each run directory that it has had -> the options (`StudySpec.options`) of
    the last start that had it there."""
    begun: list[str] = field(default_factory=list)
    """Names of the run directories that were in its store when it was looked at; without them the
    store is gone."""
    phases: dict[str, PhaseWall] = field(default_factory=dict)
    jobs_began_unix: float | None = None
    """First start of a job in SLURM; None where there was none."""
    jobs_ended_unix: float | None = None
    """Last end of one."""

    def with_jobs(self, began_unix: float, ended_unix: float) -> "StudyRecord":
        """The record after jobs that had their nodes at some time from the one to the other."""
        began = min(began_unix, self.jobs_began_unix or began_unix)
        ended = max(ended_unix, self.jobs_ended_unix or ended_unix)
        counted = (self.jobs_ended_unix or 0.0) - (self.jobs_began_unix or 0.0)
        wall = self.wall_seconds - counted + ended - began
        return replace(self, wall_seconds=wall, jobs_began_unix=began, jobs_ended_unix=ended)

    def with_wall(self, key: str, *, train: float = 0.0, evaluate: float = 0.0) -> "StudyRecord":
        """The record after some more seconds of phase `key`."""
        old = self.phases.get(key, PhaseWall())
        wall = PhaseWall(train=old.train + train, evaluate=old.evaluate + evaluate)
        return replace(self, phases={**self.phases, key: wall})

    def with_runs(self, tree: StudyTree, out: Path) -> "StudyRecord":
        """The record with where each phase of `tree` lies."""
        found = {key: tree.run_directory(out, node) for key, node in tree.nodes.items()}
        runs = {key: _place(run.path, out.absolute()) for key, run in found.items()}
        results = {key: run.results for key, run in found.items() if run.results != EVALUATION}
        earlier = dict(self.earlier)
        for key, run in found.items():
            old = self.runs.get(key)
            if tree.store is None or old is None or Path(old).name == run.path.name:
                continue
            if placed(old, out, tree.store).is_dir():
                earlier[key] = old
        started = {
            key: self.started.get(key, {}) | {place: tree.spec.options}
            for key, place in runs.items()
        }
        store = None if tree.store is None else str(tree.store)
        return replace(
            self,
            store=store,
            runs=runs,
            results=results,
            earlier=earlier,
            started=self.started | started,
        ).with_begun()

    def with_begun(self) -> "StudyRecord":
        """The record after another look at which of its runs are in its store."""
        if self.store is None:
            return self
        names = (Path(run).name for run in self.runs.values())
        there = {name for name in names if (Path(self.store) / name).is_dir()}
        return replace(self, begun=sorted({*self.begun, *there}))

    def run_directory(self, out: Path, key: str, store: Path | None) -> RunDirectory | None:
        """Where phase `key` lay when the study was started last; None where it was not a part of it
        then. store: where that is now."""
        if key not in self.runs:
            return None
        path = placed(self.runs[key], out, store)
        return RunDirectory(path, self.results.get(key, EVALUATION))


def placed(run: str, out: Path, store: Path | None) -> Path:
    """A run directory as a record has it; in a store by its name, as the store may have been moved
    since."""
    return out / run if store is None else store / Path(run).name


def _place(run: Path, out: Path) -> str:
    """As short as can be found again when the study's folder is moved."""
    return str(run.relative_to(out) if run.is_relative_to(out) else run)


def record_path(out: Path) -> Path:
    """Place of `study.json`."""
    return out / RECORD_NAME


def read_record(out: Path, name: str) -> StudyRecord:
    """The record in `out`, new where there is none. Raises RunError where it is another study's or
    damaged."""
    path = record_path(out)
    if not path.exists():
        return StudyRecord(name=name)
    try:
        raw = read_json_object(path)
        problem = _record_problem(raw)
    except ValueError as error:
        problem = str(error)
    if problem is not None:
        raise RunError(
            f"{path}: not a readable study record ({problem}); move it away, and where the study's "
            "runs lie in a store name that with --store again"
        )
    phases = {key: PhaseWall(**wall) for key, wall in raw.pop("phases", {}).items()}
    record = StudyRecord(**raw, phases=phases)
    if record.name != name:
        raise RunError(f"{out}: holds the study {record.name!r}, not {name!r}; use another --out")
    return record


_SECONDS = int | float
_RECORD_FIELDS = {
    "name": str,
    "wall_seconds": _SECONDS,
    "starts": int,
    "store": str | None,
    "begun": list,
    **dict.fromkeys(("runs", "results", "earlier", "started", "phases"), dict),
    **dict.fromkeys(("jobs_began_unix", "jobs_ended_unix"), _SECONDS | None),
}


def _record_problem(record: Json) -> str | None:
    """What keeps it from being a `StudyRecord`, in words; None where nothing does."""
    there = {name: kind for name, kind in _RECORD_FIELDS.items() if name in record}
    problem = key_problem(record, StudyRecord) or field_problem(record, there)
    started = {} if problem else record.get("started", {})
    problem = problem or field_problem(started, dict.fromkeys(started, dict))
    if problem is not None:
        return problem
    places = [record.get(name, {}) for name in ("runs", "results", "earlier")]
    places.append({str(number): name for number, name in enumerate(record.get("begun", []))})
    found = [
        *(field_problem(one, dict.fromkeys(one, str)) for one in (*places, *started.values())),
        *(_wall_problem(wall) for wall in record.get("phases", {}).values()),
    ]
    return next((problem for problem in found if problem is not None), None)


def _wall_problem(wall: Json) -> str | None:
    return (
        field_problem(wall, {})
        or key_problem(wall, PhaseWall)
        or field_problem(wall, dict.fromkeys(wall, _SECONDS))
    )


def write_record(out: Path, record: StudyRecord) -> None:
    """Writes `study.json`, atomically."""
    write_json(record_path(out), asdict(record))
