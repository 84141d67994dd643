"""What a running study shows: phases done, steps and speed of those that run, the time that is
left."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from megatron_codemix.files import Json, field_problem
from megatron_codemix.obs.metrics import last_lines
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.record import StudyRecord
from megatron_codemix.study.state import PhaseProgress, study_progress
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_duration

_PLAIN_EVERY_SECONDS = 30.0
_MIN_MEASURED_STEPS = 3
"""Fewer steps say nothing about the speed of the rest."""


def last_records(path: Path) -> list[dict[str, Json]]:
    """The last lines of metrics that tell of the speed."""
    speed = {"throughput/tokens_per_second": int | float}
    return [line for line in last_lines(path) if field_problem(line, speed) is None]


def measured_speed(phases: list[PhaseProgress]) -> float | None:
    """Tokens per second of the training loop, over the phases that have trained; None before the
    first few steps."""
    tokens = seconds = 0.0
    steps = 0
    for phase in phases:
        if phase.status is not None and phase.status.train_seconds > 0:
            tokens += phase.tokens_done
            seconds += phase.status.train_seconds
            steps += phase.step
    return tokens / seconds if steps >= _MIN_MEASURED_STEPS else None


def measured_overhead(phases: list[PhaseProgress], record: StudyRecord) -> float | None:
    """Seconds that a whole phase takes besides its training loop: start-up, saving, evaluation;
    mean over done ones, None before the first."""
    overheads = []
    for phase in phases:
        wall = record.phases.get(phase.node.key)
        if phase.state == "done" and wall is not None and phase.status is not None:
            overheads.append(max(0.0, wall.train - phase.status.train_seconds) + wall.evaluate)
    return sum(overheads) / len(overheads) if overheads else None


def remaining_seconds(
    phases: list[PhaseProgress],
    steps: Mapping[str, int],
    speed: float | None,
    overhead: float | None,
    jobs: int = 1,
) -> float | None:
    """Estimate for the whole study; None before any speed was measured.

    steps: steps done of the phases that run, by key.
    speed: tokens per second of all phases that run together.
    overhead: seconds of each phase besides its training.
    jobs: phases that run side by side.
    """
    if not speed:
        return None
    tokens = open_phases = 0
    for phase in phases:
        step = steps.get(phase.node.key, phase.step)
        if phase.state not in ("done", "trained"):
            tokens += max(0, phase.tokens - phase.tokens_after(step))
        open_phases += phase.state != "done"
    return tokens / speed + open_phases * (overhead or 0.0) / jobs


def left_words(seconds: float | None, overhead: float | None) -> str:
    """`about 3m left`; says so where start-up and evaluation are not known yet."""
    if seconds is None:
        return "estimating the time left"
    of_what = " of training" if overhead is None else ""
    return f"about {format_duration(seconds)}{of_what} left"


@dataclass(frozen=True)
class _Running:
    """A phase that runs, with the steps and the speed of its last logged line."""

    phase: PhaseProgress
    step: int
    speed: float | None

    @property
    def text(self) -> str:
        if self.phase.state == "trained":
            return "evaluating on held-out documents"
        if self.step == 0:
            return f"starting, {self.phase.num_steps} steps"
        text = f"step {self.step} of {self.phase.num_steps}"
        return text + (f", {self.speed:,.0f} tokens/s" if self.speed else "")


class StudyDisplay:
    """Bars on a terminal, a line now and then elsewhere (a log file, a pipe)."""

    def __init__(self, *, show: bool = True, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, quiet=not show)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[text]}", markup=False),
            console=self.console,
        )
        self._study: TaskID | None = None
        self._phases: list[TaskID] = []
        """One bar for each phase that runs."""
        self._said_at = 0.0
        self._said: str | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.console.is_terminal:
            self._bars.stop()

    def say(self, text: str) -> None:
        """One line, above the bars."""
        self.console.print(text, highlight=False, markup=False)

    def update(
        self, tree: StudyTree, out: Path, record: StudyRecord, nodes: Sequence[PhaseNode]
    ) -> None:
        """Shows the present state; `nodes` are the phases that run, none at the end."""
        if self.console.quiet:
            return
        phases = [
            phase for phase in study_progress(tree, out) if tree.trained_with(phase.node) is None
        ]
        usual = measured_speed(phases)
        keys = {node.key for node in nodes}
        running = [_look_at(phase, usual) for phase in phases if phase.node.key in keys]
        steps = {one.phase.node.key: one.step for one in running}
        overhead = measured_overhead(phases, record)
        speed = sum(one.speed or 0.0 for one in running) or usual
        left = remaining_seconds(phases, steps, speed, overhead, max(1, len(running)))
        num_done = sum(phase.state == "done" for phase in phases)
        text = f"{num_done} of {len(phases)} phases"
        text += f", {left_words(left, overhead)}" if num_done < len(phases) else ""
        if self.console.is_terminal:
            tokens = sum(p.tokens_after(steps.get(p.node.key, p.step)) for p in phases)
            self._draw(tree.spec.name, tokens, sum(p.tokens for p in phases), text, running)
        else:
            self._print(text, running)

    def _draw(
        self, name: str, tokens: int, total: int, text: str, running: Sequence[_Running]
    ) -> None:
        if self._study is None:
            self._study = self._bars.add_task(name, total=total, text="")
        while len(self._phases) < len(running):
            self._phases.append(self._bars.add_task("", total=1, text=""))
        self._bars.update(self._study, completed=tokens, total=total, text=text)
        for number, bar in enumerate(self._phases):
            if number >= len(running):
                self._bars.update(bar, visible=False)
                continue
            one = running[number]
            self._bars.update(
                bar,
                description=one.phase.node.name,
                completed=one.step,
                total=one.phase.num_steps,
                text=one.text,
                visible=True,
            )

    def _print(self, text: str, running: Sequence[_Running]) -> None:
        activity = ", ".join(
            f"{one.phase.node.key} {one.phase.state == 'trained'}" for one in running
        )
        now = time.monotonic()
        if activity == self._said and now - self._said_at < _PLAIN_EVERY_SECONDS:
            return
        self._said, self._said_at = activity, now
        self.say("; ".join([text, *(f"{one.phase.node.label}: {one.text}" for one in running)]))


def _look_at(phase: PhaseProgress, usual_speed: float | None) -> _Running:
    records = last_records(phase.run.metrics) if phase.run else []
    step = int(records[-1]["step"]) if records else phase.step
    return _Running(phase, step, _recent_speed(records) or usual_speed)


def _recent_speed(records: list[dict[str, Json]]) -> float | None:
    """Mean tokens per second of the last logged steps, without the first one of a start, which is
    slow."""
    speeds = [float(r["throughput/tokens_per_second"]) for r in records[1:][-20:]]
    return sum(speeds) / len(speeds) if len(speeds) >= _MIN_MEASURED_STEPS else None
