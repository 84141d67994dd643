"""Runs what is missing of a study on this machine, phase by phase; the same call goes on after any
interruption."""

import contextlib
import fcntl
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Protocol

from megatron_codemix.config.loader import dump_yaml
from megatron_codemix.errors import (
    EXIT_BUG,
    EXIT_DONE,
    EXIT_INPUT,
    EXIT_RETRY,
    ConfigError,
    RunError,
)
from megatron_codemix.files import write_text
from megatron_codemix.launch.local import ChildExit, StopRequest, run_child
from megatron_codemix.locks import exclusive, try_lock
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import take_over
from megatron_codemix.study.evaluation import EvaluationSpec
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.progress import StudyDisplay
from megatron_codemix.study.state import (
    PhaseProgress,
    StudyRecord,
    phase_progress,
    read_record,
    write_record,
)
from megatron_codemix.study.tree import StudyTree

MAX_FAILURES = 3
"""Starts of one child in a row that may fail, or end without a step forward, before the study
stops."""

_RECORD_EVERY_SECONDS = 5.0
_WAIT_FOR_OLD_CHILD_SECONDS = 180.0


class Commands(Protocol):
    """What is started for a phase."""

    def train(self, run: RunDirectory, world_size: int) -> list[str]:
        """Trains the phase whose configuration is in `run`."""
        ...

    def evaluate(self, run: RunDirectory, asked: EvaluationSpec) -> list[str]:
        """Evaluates its final checkpoint."""
        ...


class CodemixCommands:
    """This project's own commands, with this interpreter."""

    def train(self, run: RunDirectory, world_size: int) -> list[str]:
        return [
            *_codemix("train"),
            str(run.config),
            "--run-dir",
            str(run.path),
            "--nproc",
            str(world_size),
        ]

    def evaluate(self, run: RunDirectory, asked: EvaluationSpec) -> list[str]:
        return [*_codemix("evaluate"), str(run.path), *asked.arguments()]


def _codemix(command: str) -> list[str]:
    return [sys.executable, "-m", "megatron_codemix", command]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How `run_study` ended."""

    exit_code: int
    message: str
    """For the user: what happened and what to do; empty when all is done."""


def run_study(
    tree: StudyTree, out: Path, *, commands: Commands | None = None, show: bool = True
) -> Outcome:
    """Trains and evaluates every phase of `tree` that is not done, below `out`.

    tree: with identities (`identify`). To be called from the main thread, which handles SIGINT and
        SIGTERM meanwhile. Raises ConfigError where data is missing, RunError where another `study
        run` works in `out`.
    """
    missing = tree.inventory.missing
    if missing or any(node.identity is None for node in tree.nodes.values()):
        raise ConfigError([f"missing: {name}; prepare it, or set --data" for name in missing])
    with exclusive(out / ".study.lock", "a study"):
        record = read_record(out, tree.spec.name)
        runs = {
            key: str(tree.run_directory(out, node).path.relative_to(out.absolute()))
            for key, node in tree.nodes.items()
        }
        record = replace(record, starts=record.starts + 1, runs=runs)
        with StudyDisplay(show=show) as display, StopRequest().listen() as stop:
            runner = _Runner(tree, out, commands or CodemixCommands(), record, display, stop)
            with runner.keeping_time(), _child_lock(out, display, stop) as child_lock:
                return runner.run(child_lock)


@contextlib.contextmanager
def _child_lock(out: Path, display: StudyDisplay, stop: StopRequest) -> Iterator[IO[str]]:
    """A lock that children inherit: whoever holds it waits for the children of a parent that was
    killed."""
    path = out / ".children.lock"
    give_up_at = time.monotonic() + _WAIT_FOR_OLD_CHILD_SECONDS
    handle = try_lock(path)
    if handle is None:
        display.say("waiting for the processes of an interrupted start to save and end")
    while handle is None:
        if time.monotonic() > give_up_at or stop.count:
            raise RunError(
                f"{out}: processes of an earlier start still run; find them with 'fuser {path}' "
                "and end them"
            )
        time.sleep(0.2)
        handle = try_lock(path)
    with handle:
        yield handle
        # A child in its own group has ended by now; nobody else holds the inherited copy.
        fcntl.flock(handle, fcntl.LOCK_UN)


class _Runner:
    """One call of `run_study`: its records and the display."""

    def __init__(
        self,
        tree: StudyTree,
        out: Path,
        commands: Commands,
        record: StudyRecord,
        display: StudyDisplay,
        stop: StopRequest,
    ) -> None:
        self.tree, self.out, self.commands = tree, out, commands
        self.record, self.display, self.stop = record, display, stop
        self._accounted = self._recorded = time.monotonic()

    @contextlib.contextmanager
    def keeping_time(self) -> Iterator[None]:
        """Writes `study.json` at both ends."""
        write_record(self.out, self.record)
        try:
            yield
        finally:
            self._account()
            write_record(self.out, self.record)

    def run(self, child_lock: IO[str]) -> Outcome:
        for node in self.tree.nodes.values():
            outcome = self._phase(node, child_lock)
            if outcome.exit_code != EXIT_DONE:
                return outcome
        self._poll(None)
        return Outcome(exit_code=EXIT_DONE, message="")

    def _phase(self, node: PhaseNode, child_lock: IO[str]) -> Outcome:
        """Brings one phase from whatever state it is in to `done`."""
        failures = 0
        earlier = take_over(self.tree, self.out, node)
        if earlier is not None:
            self.display.say(
                f"{node.label}: its mixture has changed after step {earlier.step}, where it goes on"
            )
        while (before := phase_progress(self.tree, self.out, node)).state != "done":
            assert before.run is not None  # run_study has checked that every identity is known
            if self.stop.count:
                return self._stopped()
            trained = before.state == "trained"
            ended = self._start(before, before.run, child_lock)
            name = "evaluation" if trained else "training"
            if self.stop.count and ended.code in (EXIT_DONE, EXIT_RETRY):
                return self._stopped()
            if ended.code in (EXIT_BUG, EXIT_INPUT) or (self.stop.count and ended.code > 0):
                return self._failed(node, name, ended, ended.code)
            if self.stop.count:
                return self._stopped()
            after = phase_progress(self.tree, self.out, node)
            failures = 0 if _is_forward(before, after) else failures + 1
            if failures >= MAX_FAILURES:
                return self._failed(node, f"{name} ({failures} times in a row)", ended, EXIT_RETRY)
            if ended.code != EXIT_DONE:
                self.display.say(
                    f"{node.label}: {name} ended with {_describe_exit(ended.code)} at step "
                    f"{after.step}; it goes on"
                )
        return Outcome(exit_code=EXIT_DONE, message="")

    def _start(self, phase: PhaseProgress, run: RunDirectory, child_lock: IO[str]) -> ChildExit:
        """Starts the training or, where that is done, the evaluation, and waits for its end."""
        spec = self.tree.spec
        trained = phase.state == "trained"
        if trained:
            command = self.commands.evaluate(run, spec.evaluation)
        else:
            config = dump_yaml(self.tree.resolved_config(self.out, phase.node))
            write_text(run.config, config)
            command = self.commands.train(run, spec.world_size)
        ended = run_child(
            command,
            run.path / ("evaluate.log" if trained else "train.log"),
            stop=self.stop,
            on_poll=lambda: self._poll(phase.node),
            pass_fds=[child_lock.fileno()],
            environment={"NO_COLOR": "1"},
        )
        seconds = {"evaluate" if trained else "train": ended.seconds}
        self.record = self.record.with_wall(phase.node.key, **seconds)
        self._poll(phase.node)
        return ended

    def _poll(self, node: PhaseNode | None) -> None:
        now = time.monotonic()
        if now - self._recorded > _RECORD_EVERY_SECONDS:
            self._recorded = now
            self._account()
            write_record(self.out, self.record)
        self.display.update(self.tree, self.out, self.record, node)

    def _account(self) -> None:
        now = time.monotonic()
        wall = self.record.wall_seconds + now - self._accounted
        self.record, self._accounted = replace(self.record, wall_seconds=wall), now

    def _stopped(self) -> Outcome:
        return Outcome(
            exit_code=EXIT_RETRY,
            message="stopped; what was reached is saved, and the same command goes on from there",
        )

    def _failed(self, node: PhaseNode, name: str, ended: ChildExit, exit_code: int) -> Outcome:
        return Outcome(
            exit_code=exit_code,
            message=f"{node.label}: {name} ended with {_describe_exit(ended.code)}; {ended.log} "
            "says:\n"
            f"{ended.last_block() or '(nothing)'}",
        )


def _is_forward(before: PhaseProgress, after: PhaseProgress) -> bool:
    """Whether a start brought the phase on without counting as a failure itself."""
    failed = after.status is not None and after.status.failures > (
        before.status.failures if before.status else 0
    )
    return (after.state != before.state and after.state in ("trained", "done")) or (
        after.step > before.step and not failed
    )


def _describe_exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
