"""How far a study is, once or live: each phase, and its job where it was submitted to SLURM."""

import json as json_module
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.measure import Measurement

from megatron_codemix.cli.study_options import with_store
from megatron_codemix.errors import CodemixError
from megatron_codemix.launch.slurm.client import QueuedJob, SlurmPrograms, missing_programs
from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import earlier_run
from megatron_codemix.study.damaged_ends import damaged_end, phases_to_show
from megatron_codemix.study.data_checks import missing_line
from megatron_codemix.study.job_graph import job_name
from megatron_codemix.study.job_records import read_records
from megatron_codemix.study.locks import is_study_running
from megatron_codemix.study.other_runs import other_runs
from megatron_codemix.study.progress import last_records
from megatron_codemix.study.record import read_record
from megatron_codemix.study.run_checks import checkpoint_problems, status_problems
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.store import Member, Work, is_at_work, others_of, read_trainers
from megatron_codemix.study.submit import queued_jobs
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_duration

_LOOK_EVERY_SECONDS = 1.0
_ASK_SLURM_EVERY_SECONDS = 15.0
"""Its controller serves all users."""
_PLAIN_EVERY_SECONDS = 30.0
IDLE_SECONDS = 60.0
"""Without anything under way or changed, after which a watch ends: long enough to start a run
beside it."""


class _Jobs:
    """What SLURM says of the study's jobs, asked now and then."""

    def __init__(self, tree: StudyTree, out: Path) -> None:
        self.tree, self.study, self.out = tree, tree.spec.name, out
        self.problem: str | None = None
        """Why it could not be asked."""
        self.live: dict[str, QueuedJob] = {}
        """By name."""
        self._asked = -_ASK_SLURM_EVERY_SECONDS

    @property
    def were_submitted(self) -> bool:
        return bool(read_records(self.out))

    def ask(self) -> None:
        """Again, if it is time."""
        if not self.were_submitted or time.monotonic() - self._asked < _ASK_SLURM_EVERY_SECONDS:
            return
        self._asked = time.monotonic()
        self.problem = next(iter(missing_programs()), None)
        if self.problem is None:
            try:
                queued = queued_jobs(self.study, self.out, SlurmPrograms())
                self.live = {job.name: job for job in queued}
            except CodemixError as error:
                self.problem = str(error)

    @property
    def may_come(self) -> bool:
        """Whether SLURM has jobs of the study, or could not be asked."""
        return bool(self.live) or self.problem is not None

    def of(self, phase: PhaseProgress) -> QueuedJob | None:
        """The job that works on a phase now, or will next."""
        training = job_name(self.study, self.tree.owner(phase.node), "train")
        names = [training, job_name(self.study, phase.node, "evaluate")]
        return next((self.live[name] for name in names if name in self.live), None)


def print_progress(tree: StudyTree, out: Path, *, as_json: bool) -> None:
    """The state of every phase, as a table with what is wrong below it."""
    phases, jobs = phases_to_show(tree, out), _Jobs(tree, out)
    jobs.ask()
    record = read_record(out, tree.spec.name)
    if as_json:
        shown = {
            "study": tree.spec.name,
            "out": str(out),
            "store": None if tree.store is None else str(tree.store),
            "wall_seconds": record.wall_seconds,
            "missing": tree.inventory.missing,
            "other_runs": other_runs(tree, out),
            "problems": _run_notes(tree, out, phases),
            "phases": [_progress_record(tree, phase, jobs) for phase in phases],
        }
        print(json_module.dumps(shown, indent=1, ensure_ascii=False))
        return
    console = Console()
    console.print(_fitting_table(tree, out, phases, jobs, console))
    for line in _notes(tree, out, phases, jobs):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def watch_progress(tree: StudyTree, out: Path, console: Console | None = None) -> bool:
    """The same, kept up to date until all phases are done, nothing has been under way for a while,
    or Ctrl-C; on what is no terminal a line whenever something has changed. Whether all are
    done."""
    console = console or Console()
    jobs = _Jobs(tree, out)
    if not console.is_terminal:
        look = _watch_plainly(tree, out, jobs, console)
    else:
        with Live(console=console, auto_refresh=False) as live:
            for look in _looks(tree, out, jobs):
                table = _fitting_table(look.tree, out, look.phases, jobs, console)
                live.update(table, refresh=True)
    is_done = _all_done(look.phases)
    lines = _notes(look.tree, out, look.phases, jobs) if console.is_terminal or not is_done else []
    if not is_done:
        idle = format_duration(IDLE_SECONDS)
        lines.append(f"nothing has run or was queued for {idle}: not waiting any longer")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return is_done


class _Look(NamedTuple):
    tree: StudyTree
    """With the store that a `study run` may have begun to use meanwhile."""
    phases: list[PhaseProgress]


def _looks(tree: StudyTree, out: Path, jobs: _Jobs) -> Iterator[_Look]:
    """The phases, again and again: to the end, or until no more is to be expected."""
    alive_at, before = time.monotonic(), ""
    while True:
        jobs.ask()
        placed = with_store(tree, out, tree.store)
        phases = phases_to_show(placed, out)
        yield _Look(placed, phases)
        if _all_done(phases):
            return
        now = repr([(phase.state, _newest_step(phase)) for phase in phases])
        if now != before or jobs.may_come:
            alive_at, before = time.monotonic(), now
        elif time.monotonic() - alive_at >= IDLE_SECONDS:
            if not _is_under_way(phases, out):
                return
            alive_at = time.monotonic()
        time.sleep(_LOOK_EVERY_SECONDS)


def _all_done(phases: list[PhaseProgress]) -> bool:
    return all(phase.state == "done" for phase in phases)


def _is_under_way(phases: list[PhaseProgress], out: Path) -> bool:
    """Whether a `study run` works in the folder, or anybody on one of the runs."""
    works: tuple[Work, ...] = ("train", "evaluate")
    return is_study_running(out) or any(
        is_at_work(phase.run, work)
        for phase in phases
        if phase.run is not None and phase.state != "done"
        for work in works
    )


def _watch_plainly(tree: StudyTree, out: Path, jobs: _Jobs, console: Console) -> _Look:
    """The phases as they were last."""
    said, said_at = "", 0.0
    for look in _looks(tree, out, jobs):
        phases = look.phases
        num_done = sum(phase.state == "done" for phase in phases)
        words = [f"{num_done} of {len(phases)} phases done"]
        words += [
            f"{phase.node.label}: {phase.state}"
            for phase in phases
            if phase.state not in ("done", "pending")
        ]
        line = "; ".join(words)
        if line != said or time.monotonic() - said_at > _PLAIN_EVERY_SECONDS:
            said, said_at = line, time.monotonic()
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    return look


def _fitting_table(
    tree: StudyTree, out: Path, phases: list[PhaseProgress], jobs: _Jobs, console: Console
) -> WholeTable:
    """With whole names of run directories where there is room for them, else with their digits
    alone: what is before them is the phase's name."""
    table = _table(tree, out, phases, jobs, has_room=True)
    unbound = console.options.update(max_width=10**6)
    if Measurement.get(console, unbound, table).minimum <= console.width:
        return table
    return _table(tree, out, phases, jobs, has_room=False)


def _table(
    tree: StudyTree, out: Path, phases: list[PhaseProgress], jobs: _Jobs, *, has_room: bool
) -> WholeTable:
    record = read_record(out, tree.spec.name)
    so_far = f", {format_duration(record.wall_seconds)} so far" if record.wall_seconds else ""
    table = WholeTable(title=escape(f"{tree.spec.name} in {out}{so_far}"))
    has_jobs = jobs.were_submitted
    names = ["phase", "state", "step", "tokens/s", "attempts", *(["job"] if has_jobs else [])]
    for name in [*names, "run directory" if has_room else "run"]:
        table.add_column(name)
    for phase in phases:
        step, speed = _newest_step(phase)
        job = jobs.of(phase)
        cells = [
            phase.node.label,
            phase.state,
            f"{step} / {phase.num_steps}",
            speed,
            str(phase.status.attempts if phase.status else 0),
            *([job.words if job else "-"] if has_jobs else []),
            "-" if phase.run is None else _directory_words(phase.run, has_room=has_room),
        ]
        table.add_row(*map(escape, cells))
    return table


def _directory_words(run: RunDirectory, *, has_room: bool) -> str:
    return run.path.name if has_room else run.path.name.rpartition("-")[2]


def _newest_step(phase: PhaseProgress) -> tuple[int, str]:
    """Steps done, and the speed of the last one; those of the last logged line while it trains,
    which the status follows only now and then."""
    if phase.run is None or phase.state != "running":
        return phase.step, "-"
    last = last_records(phase.run.metrics)[-1:]
    if not last:
        return phase.step, "-"
    return int(last[0]["step"]), f"{last[0]['throughput/tokens_per_second']:,.0f}"


def _notes(tree: StudyTree, out: Path, phases: list[PhaseProgress], jobs: _Jobs) -> list[str]:
    lines = [missing_line(name) for name in tree.inventory.missing]
    lines += [f"jobs: {jobs.problem}"] if jobs.problem else []
    report = jobs.live.get(job_name(tree.spec.name, None, "report"))
    lines += [f"report: {report.words}"] if report else []
    lines += [f"runs: in {tree.store}"] if tree.store is not None else []
    lines += [f"note: {line}" for line in other_runs(tree, out)]
    lines += [f"note: {line}" for line in _run_notes(tree, out, phases)]
    lines += _sharing_notes(tree, out, phases)
    lines += [
        f"{phase.node.label}: goes on in place from step {earlier.step}, its mixture has changed"
        for phase in phases
        if (earlier := earlier_run(tree, out, phase.node)) is not None
    ]
    lines += [
        f"{phase.node.label}: {phase.status.last_error}"
        for phase in phases
        if phase.status and phase.status.state == "failed" and phase.status.last_error
    ]
    return lines


def _run_notes(tree: StudyTree, out: Path, phases: list[PhaseProgress]) -> list[str]:
    """What is to be mended in runs before or by the next `study run`."""
    unread = [f"{phase.node.label}: {phase.problem}" for phase in phases if phase.problem]
    damaged = [
        f"{phase.node.label}: is trained, but its last checkpoint, which is needed, is not whole; "
        f"'study run' makes it again from the one before: {'; '.join(damage.splitlines())}"
        for phase in phases
        if phase.state == "failed"
        and tree.trained_with(phase.node) is None
        and (damage := damaged_end(tree, out, phase)) is not None
    ]
    return [*status_problems(tree, out), *checkpoint_problems(tree, out), *unread, *damaged]


def _sharing_notes(tree: StudyTree, out: Path, phases: list[PhaseProgress]) -> list[str]:
    """What is trained for several cells, or by another study."""
    lines = [
        f"{phase.node.label}: is the training of {owner}"
        for phase in phases
        if (owner := tree.trained_with(phase.node)) is not None
    ]
    member = Member.of(tree.spec.name, out)
    for phase in phases:
        if phase.run is None or tree.trained_with(phase.node) is not None:
            continue
        others = others_of(read_trainers(phase.run), member)
        if others:
            words = ", ".join(f"{one.study} ({one.out})" for one in others)
            lines.append(f"{phase.node.label}: was trained by study {words}")
    return lines


def _progress_record(
    tree: StudyTree, phase: PhaseProgress, jobs: _Jobs
) -> dict[str, Any]:  # Any: JSON values
    job = jobs.of(phase)
    return {
        "cell": phase.node.cell,
        "phase": phase.node.name,
        "parent": phase.node.parent,
        "trained_with": tree.trained_with(phase.node),
        "state": phase.state,
        "step": phase.step,
        "num_steps": phase.num_steps,
        "run": None if phase.run is None else str(phase.run.path),
        "last_error": phase.status.last_error if phase.status else None,
        "job": None if job is None else {"id": job.id, "state": job.state, "reason": job.reason},
    }
