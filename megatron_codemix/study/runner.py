"""Runs what is missing of a study on this machine, one phase or several side by side; the same call
goes on after any interruption."""

import contextlib
import fcntl
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

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
from megatron_codemix.launch.local import POLL_SECONDS, Child, ChildExit, StopRequest
from megatron_codemix.launch.shares import gpu_shares, thread_shares
from megatron_codemix.locks import exclusive, try_lock
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.changed_phase import take_over
from megatron_codemix.study.commands import CodemixCommands, Commands
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
_SHOW_EVERY_SECONDS = 1.0
"""To look at all phases of a large study takes milliseconds, of cores that they need."""
_WAIT_FOR_OLD_CHILD_SECONDS = 180.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How `run_study` ended."""

    exit_code: int
    message: str
    """For the user: what happened and what to do; empty when all is done."""


_DONE = Outcome(exit_code=EXIT_DONE, message="")
_STOPPED = Outcome(
    exit_code=EXIT_RETRY,
    message="stopped; what was reached is saved, and the same command goes on from there",
)


def run_study(
    tree: StudyTree,
    out: Path,
    *,
    jobs: int = 1,
    commands: Commands | None = None,
    show: bool = True,
) -> Outcome:
    """Trains and evaluates every phase of `tree` that is not done, below `out`.

    tree: with identities (`identify`).
    jobs: phases that run side by side, each on the study's world size; a phase waits for its
        parent. When one fails, the others are asked to save and stop.
    To be called from the main thread, which handles SIGINT and SIGTERM meanwhile. Raises
    ConfigError where data or GPUs are missing, RunError where another `study run` works in `out`.
    """
    missing = tree.inventory.missing
    if missing or any(node.identity is None for node in tree.nodes.values()):
        raise ConfigError([f"missing: {name}; prepare it, or set --data" for name in missing])
    needs_gpus = any(node.config.backend.device != "cpu" for node in tree.nodes.values())
    gpus = gpu_shares(jobs, tree.spec.world_size) if needs_gpus else [{}] * jobs
    threads = thread_shares(jobs, tree.spec.world_size)
    shares = [{**one, **threads} for one in gpus]
    with exclusive(out / ".study.lock", "a study"):
        record = read_record(out, tree.spec.name)
        runs = {
            key: str(tree.run_directory(out, node).path.relative_to(out.absolute()))
            for key, node in tree.nodes.items()
        }
        record = replace(record, starts=record.starts + 1, runs=runs)
        with contextlib.ExitStack() as stack:
            display = stack.enter_context(StudyDisplay(show=show))
            stop = stack.enter_context(StopRequest().listen())
            if commands is None:
                commands = stack.enter_context(CodemixCommands.of(needs_gpus=needs_gpus))
            runner = _Runner(tree, out, commands, record, display, stop)
            with runner.keeping_time(), _child_lock(out, display, stop) as child_lock:
                return runner.run(child_lock, shares)


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


@dataclass
class _Work:
    """A phase that is being brought forward: its child, and what happens once that has ended."""

    node: PhaseNode
    steps: Generator[Child, ChildExit, Outcome]
    child: Child


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
        self.waiting, self.done = list(tree.nodes.values()), set[str]()
        self.work: dict[int, _Work] = {}
        """By place."""
        self.outcome = _DONE
        """The first one that is another."""
        self._accounted = self._recorded = time.monotonic()
        self._shown = 0.0

    @contextlib.contextmanager
    def keeping_time(self) -> Iterator[None]:
        """Writes `study.json` at both ends."""
        write_record(self.out, self.record)
        try:
            yield
        finally:
            self._account()
            write_record(self.out, self.record)

    def run(self, child_lock: IO[str], shares: list[dict[str, str]]) -> Outcome:
        """Brings all phases to `done`, as many side by side as there are `shares`: the environment
        of each place."""
        try:
            while True:
                for place, share in enumerate(shares):
                    self._fill(place, child_lock, share)
                if not self.work:
                    self._show(always=True)
                    return self.outcome
                for place, ended in self._ended():
                    work = self.work.pop(place)
                    self._advance(place, work.node, work.steps, ended)
        finally:
            for work in self.work.values():
                work.child.kill()

    def _fill(self, place: int, child_lock: IO[str], share: Mapping[str, str]) -> None:
        """Begins phases in a free place until one has a child, or none may begin."""
        while place not in self.work and self.outcome is _DONE:
            node = next((node for node in self.waiting if self._may_begin(node)), None)
            if node is None:
                return
            self.waiting.remove(node)
            self._advance(place, node, self._phase(node, child_lock, share), None)

    def _may_begin(self, node: PhaseNode) -> bool:
        return node.parent is None or f"{node.cell}/{node.parent}" in self.done

    def _advance(
        self,
        place: int,
        node: PhaseNode,
        steps: Generator[Child, ChildExit, Outcome],
        ended: ChildExit | None,
    ) -> None:
        """Goes on with a phase whose child has `ended`, or begins it: its next child runs in
        `place`, or it is through."""
        try:
            child = next(steps) if ended is None else steps.send(ended)
        except StopIteration as end:
            if end.value is _DONE:
                self.done.add(node.key)
            elif self.outcome is _DONE:
                self.outcome = end.value
                if not self.stop.count:
                    self.stop.ask()  # the others save and end
        else:
            self.work[place] = _Work(node, steps, child)

    def _ended(self) -> list[tuple[int, ChildExit]]:
        """Waits a moment for the children, and shows how far they are; those that have ended."""
        patience = POLL_SECONDS / len(self.work)
        exits = [(place, work.child.ended(patience)) for place, work in self.work.items()]
        self._poll()
        for work in self.work.values():
            work.child.pass_on(self.stop)
        return [(place, ended) for place, ended in exits if ended is not None]

    def _phase(
        self, node: PhaseNode, child_lock: IO[str], share: Mapping[str, str]
    ) -> Generator[Child, ChildExit, Outcome]:
        """Brings one phase from whatever state it is in to `done`: yields each child, and is sent
        how it ended."""
        failures = 0
        earlier = take_over(self.tree, self.out, node)
        if earlier is not None:
            self.display.say(
                f"{node.label}: its mixture has changed after step {earlier.step}, where it goes on"
            )
        while (before := phase_progress(self.tree, self.out, node)).state != "done":
            assert before.run is not None  # run_study has checked that every identity is known
            if self.stop.count:
                return _STOPPED
            name = "evaluation" if before.state == "trained" else "training"
            ended = yield self._start(before, before.run, child_lock, share)
            seconds = {"evaluate" if before.state == "trained" else "train": ended.seconds}
            self.record = self.record.with_wall(node.key, **seconds)
            if self.stop.count and ended.code in (EXIT_DONE, EXIT_RETRY):
                return _STOPPED
            if ended.code in (EXIT_BUG, EXIT_INPUT) or (self.stop.count and ended.code > 0):
                return self._failed(node, name, ended, ended.code)
            if self.stop.count:
                return _STOPPED
            after = phase_progress(self.tree, self.out, node)
            failures = 0 if _is_forward(before, after) else failures + 1
            if failures >= MAX_FAILURES:
                return self._failed(node, f"{name} ({failures} times in a row)", ended, EXIT_RETRY)
            if ended.code != EXIT_DONE:
                self.display.say(
                    f"{node.label}: {name} ended with {_describe_exit(ended.code)} at step "
                    f"{after.step}; it goes on"
                )
        return _DONE

    def _start(
        self,
        phase: PhaseProgress,
        run: RunDirectory,
        child_lock: IO[str],
        share: Mapping[str, str],
    ) -> Child:
        """Starts the training or, where that is done, the evaluation."""
        spec = self.tree.spec
        trained = phase.state == "trained"
        if trained:
            command = self.commands.evaluate(run, spec.evaluation)
        else:
            config = dump_yaml(self.tree.resolved_config(self.out, phase.node))
            write_text(run.config, config)
            command = self.commands.train(run, spec.world_size)
        return Child(
            command,
            run.path / ("evaluate.log" if trained else "train.log"),
            start=self.commands.start,
            pass_fds=[child_lock.fileno()],
            environment={"NO_COLOR": "1", **share},
        )

    def _poll(self) -> None:
        now = time.monotonic()
        if now - self._recorded > _RECORD_EVERY_SECONDS:
            self._recorded = now
            self._account()
            write_record(self.out, self.record)
        self._show()

    def _show(self, *, always: bool = False) -> None:
        now = time.monotonic()
        if always or now - self._shown > _SHOW_EVERY_SECONDS:
            self._shown = now
            nodes = [work.node for work in self.work.values()]
            self.display.update(self.tree, self.out, self.record, nodes)

    def _account(self) -> None:
        now = time.monotonic()
        wall = self.record.wall_seconds + now - self._accounted
        self.record, self._accounted = replace(self.record, wall_seconds=wall), now

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
