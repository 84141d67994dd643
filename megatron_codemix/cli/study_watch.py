"""How far a study is, kept up to date: live on a terminal, else a line for each change."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.live import Live

from megatron_codemix.cli.study_jobs import StudyJobs
from megatron_codemix.cli.study_options import with_store
from megatron_codemix.cli.study_status import fitting_table, newest_step, notes
from megatron_codemix.study.damaged_ends import phases_to_show
from megatron_codemix.study.locks import is_study_running
from megatron_codemix.study.state import PhaseProgress
from megatron_codemix.study.store import Work, is_at_work
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_duration

_LOOK_EVERY_SECONDS = 1.0
_PLAIN_EVERY_SECONDS = 30.0
IDLE_SECONDS = 60.0
"""Without anything under way or changed, after which a watch ends: long enough to start a run
beside it."""


def watch_progress(tree: StudyTree, out: Path, console: Console | None = None) -> bool:
    """The state of every phase, kept up to date until all are done, nothing has been under way for
    a while, or Ctrl-C; on what is no terminal a line whenever something has changed. Whether all
    are done."""
    console = console or Console()
    jobs = StudyJobs(tree, out)
    if not console.is_terminal:
        look = _watch_plainly(tree, out, jobs, console)
    else:
        with Live(console=console, auto_refresh=False) as live:
            for look in _looks(tree, out, jobs):
                table = fitting_table(look.tree, out, look.phases, jobs, console)
                live.update(table, refresh=True)
    is_done = _all_done(look.phases)
    lines = notes(look.tree, out, look.phases, jobs) if console.is_terminal or not is_done else []
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


def _looks(tree: StudyTree, out: Path, jobs: StudyJobs) -> Iterator[_Look]:
    """The phases, again and again: to the end, or until no more is to be expected."""
    alive_at, before = time.monotonic(), ""
    while True:
        jobs.ask()
        placed = with_store(tree, out, tree.store)
        phases = phases_to_show(placed, out)
        yield _Look(placed, phases)
        if _all_done(phases):
            return
        now = repr([(phase.state, newest_step(phase)) for phase in phases])
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


def _watch_plainly(tree: StudyTree, out: Path, jobs: StudyJobs, console: Console) -> _Look:
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
