"""What a running study shows: phases done, the current phase's steps and speed, the time that is
left."""

import json
import os
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from megatron_codemix.files import Json
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import PhaseProgress, StudyRecord, study_progress
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_duration

_TAIL_BYTES = 16384
_PLAIN_EVERY_SECONDS = 30.0
_MIN_MEASURED_STEPS = 3
"""Fewer steps say nothing about the speed of the rest."""


def last_records(path: Path) -> list[dict[str, Json]]:
    """The whole records in the last 16 KiB of a JSONL file; [] where it is absent."""
    try:
        with open(path, "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - _TAIL_BYTES))
            lines = handle.read().split(b"\n")
    except FileNotFoundError:
        return []
    whole = lines[1:-1] if size > _TAIL_BYTES else lines[:-1]
    return [json.loads(line) for line in whole if line]


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
    current_step: int,
    current: str,
    speed: float | None,
    overhead: float | None,
) -> float | None:
    """Estimate for the whole study; None before any speed was measured."""
    if not speed:
        return None
    tokens = open_phases = 0
    for phase in phases:
        step = current_step if phase.node.key == current else phase.step
        if phase.state not in ("done", "trained"):
            tokens += max(0, phase.tokens - phase.tokens_after(step))
        open_phases += phase.state != "done"
    return tokens / speed + open_phases * (overhead or 0.0)


def left_words(seconds: float | None, overhead: float | None) -> str:
    """`about 3m left`; says so where start-up and evaluation are not known yet."""
    if seconds is None:
        return "estimating the time left"
    of_what = " of training" if overhead is None else ""
    return f"about {format_duration(seconds)}{of_what} left"


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
        self._phase: TaskID | None = None
        self._said_at = 0.0
        self._said = ""

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
        self, tree: StudyTree, out: Path, record: StudyRecord, node: PhaseNode | None
    ) -> None:
        """Shows the present state; `node` is the phase that runs, None at the end."""
        if self.console.quiet:
            return
        phases = study_progress(tree, out)
        current = next((p for p in phases if node is not None and p.node.key == node.key), None)
        records = last_records(current.run.metrics) if current and current.run else []
        step = int(records[-1]["step"]) if records else (current.step if current else 0)
        speed = _recent_speed(records) or measured_speed(phases)
        overhead = measured_overhead(phases, record)
        left = remaining_seconds(phases, step, node.key if node else "", speed, overhead)
        num_done = sum(phase.state == "done" for phase in phases)
        study_text = f"{num_done} of {len(phases)} phases"
        study_text += f", {left_words(left, overhead)}" if num_done < len(phases) else ""
        tokens = sum(p.tokens_done for p in phases if p is not current)
        tokens += current.tokens_after(step) if current else 0
        phase_text = _phase_text(current, step, speed)
        if self.console.is_terminal:
            total = sum(phase.tokens for phase in phases)
            self._draw(tree.spec.name, tokens, total, study_text, current, step, phase_text)
        else:
            self._print(study_text, current, phase_text)

    def _draw(
        self,
        name: str,
        tokens: int,
        total: int,
        study_text: str,
        current: PhaseProgress | None,
        step: int,
        phase_text: str,
    ) -> None:
        if self._study is None or self._phase is None:
            self._study = self._bars.add_task(name, total=total, text="")
            self._phase = self._bars.add_task("", total=1, text="")
        self._bars.update(self._study, completed=tokens, total=total, text=study_text)
        self._bars.update(
            self._phase,
            description=current.node.name if current else "",
            completed=step,
            total=current.num_steps if current else 1,
            text=phase_text,
            visible=current is not None,
        )

    def _print(self, study_text: str, current: PhaseProgress | None, phase_text: str) -> None:
        activity = f"{current.node.key} {current.state == 'trained'}" if current else "end"
        now = time.monotonic()
        if activity == self._said and now - self._said_at < _PLAIN_EVERY_SECONDS:
            return
        self._said, self._said_at = activity, now
        self.say(f"{study_text}; {current.node.label}: {phase_text}" if current else study_text)


def _recent_speed(records: list[dict[str, Json]]) -> float | None:
    """Mean tokens per second of the last logged steps, without the first one of a start, which is
    slow."""
    speeds = [float(r["throughput/tokens_per_second"]) for r in records[1:][-20:]]
    return sum(speeds) / len(speeds) if len(speeds) >= _MIN_MEASURED_STEPS else None


def _phase_text(current: PhaseProgress | None, step: int, speed: float | None) -> str:
    if current is None:
        return ""
    if current.state == "trained":
        return "evaluating on held-out documents"
    if step == 0:
        return f"starting, {current.num_steps} steps"
    text = f"step {step} of {current.num_steps}"
    return text + (f", {speed:,.0f} tokens/s" if speed else "")
