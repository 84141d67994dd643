"""Runs what is missing of a study on this machine, one phase or several side by side; the same call
goes on after any interruption."""

import contextlib
import fcntl
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from megatron_codemix.backend.environment import runs_on_gpus
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.errors import CodemixError, ConfigError, RunError
from megatron_codemix.launch.local import POLL_SECONDS, Child, ChildExit, StopRequest
from megatron_codemix.launch.shares import fitting_jobs, gpu_shares, thread_shares
from megatron_codemix.locks import try_lock
from megatron_codemix.study.commands import CodemixCommands, Commands
from megatron_codemix.study.locks import children_lock, exclusive_study
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.other_runs import other_runs
from megatron_codemix.study.phase_runner import DONE, ELSEWHERE, Outcome, PhaseRunner, both
from megatron_codemix.study.progress import StudyDisplay
from megatron_codemix.study.record import StudyRecord, read_record, write_record
from megatron_codemix.study.run_checks import mend_configs, start_problems
from megatron_codemix.study.siblings import trained_beside
from megatron_codemix.study.store import Work, require_store
from megatron_codemix.study.tree import StudyTree

_RECORD_EVERY_SECONDS = 5.0
_SHOW_EVERY_SECONDS = 1.0
"""To look at all phases of a large study takes milliseconds, of cores that they need."""
_WAIT_FOR_OLD_CHILD_SECONDS = 180.0
_PROCESS_BYTES = 1 << 30
"""Of a training's process on CPUs beside its model: its imports (half of this) and its batches."""
_BYTES_PER_PARAMETER = 18
"""Weights, gradients, Adam's moments and, in bf16, the optimizer's own weights; on one process."""


def run_study(
    tree: StudyTree,
    out: Path,
    *,
    jobs: int | None = None,
    commands: Commands | None = None,
    show: bool = True,
    problems: Sequence[str] = (),
) -> Outcome:
    """Trains and evaluates every phase of `tree` that is not done, below `out` or in its store.

    tree: with identities (`identify`).
    jobs: phases that run side by side, each on the study's world size; None: as many as fit on this
        machine. A phase waits for its parent. When one fails, the others are asked to save and
        stop.
    problems: what the caller has found wrong, told with what is found here.
    To be called from the main thread, which handles SIGINT and SIGTERM meanwhile. Raises
    ConfigError where data is missing or damaged, GPUs are missing or directories hold other runs,
    RunError where another `study run` works in `out`.
    """
    if found := [*start_problems(tree, out), *problems]:
        raise ConfigError(found)
    assert all(node.identity for node in tree.nodes.values()), "all data is there"
    needs_gpus = any(runs_on_gpus(node.config.backend.device) for node in tree.nodes.values())
    shares = _places(tree, jobs, needs_gpus)
    if tree.store is not None:
        require_store(tree.store)
    with exclusive_study(out):
        record = read_record(out, tree.spec.name)
        record = replace(record.with_runs(tree, out), starts=record.starts + 1)
        with contextlib.ExitStack() as stack:
            display = stack.enter_context(StudyDisplay(show=show))
            stop = stack.enter_context(StopRequest().listen())
            for line in trained_beside(tree, out) + other_runs(tree, out):
                display.say(f"note: {line}")
            for line in mend_configs(tree, out):
                display.say(line)
            if commands is None:
                commands = stack.enter_context(CodemixCommands.of(needs_gpus=needs_gpus))
            runner = _Runner(tree, out, commands, record, display, stop)
            with runner.keeping_time(), _child_lock(out, display, stop) as child_lock:
                return runner.run(child_lock, shares)


def _places(tree: StudyTree, jobs: int | None, needs_gpus: bool) -> list[dict[str, str]]:
    """The environment of each place that phases are trained and evaluated in; jobs: how many, None:
    as many as fit on this machine, by the largest model of all."""
    world_size, evaluators = tree.spec.world_size, tree.spec.evaluation.num_processes
    largest = max(count_parameters(node.config.model) for node in tree.nodes.values())
    jobs = jobs or fitting_jobs(
        world_size,
        num_evaluators=evaluators,
        needs_gpus=needs_gpus,
        process_bytes=_PROCESS_BYTES + _BYTES_PER_PARAMETER * largest,
    )
    gpus = gpu_shares(jobs, max(world_size, evaluators)) if needs_gpus else [{}] * jobs
    return [{**one, **thread_shares(jobs, world_size)} for one in gpus]


@contextlib.contextmanager
def _child_lock(out: Path, display: StudyDisplay, stop: StopRequest) -> Iterator[IO[str]]:
    """A lock that children inherit: whoever holds it waits for the children of a parent that was
    killed."""
    path = children_lock(out)
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
        self.tree, self.out = tree, out
        self.record, self.display, self.stop = record, display, stop
        self.phases = PhaseRunner(tree, out, commands, display, stop, self._note_seconds)
        self.begun, self.done = set[str](), set[str]()
        self.elsewhere = set[str]()
        """Phases that another study was found to work on in this round."""
        self.work: dict[int, _Work] = {}
        """By place."""
        self.outcome = DONE
        """Of all phases that have ended otherwise."""
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
                self.elsewhere.clear()
                for place, share in enumerate(shares):
                    self._fill(place, child_lock, share)
                if not self.work and (self.outcome is not DONE or not self.elsewhere):
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
        while place not in self.work and self.outcome is DONE:
            node = next((node for node in self.tree.nodes.values() if self._may_begin(node)), None)
            if node is None:
                return
            self.begun.add(node.key)
            self._advance(place, node, self.phases.steps(node, child_lock, share), None)

    def _may_begin(self, node: PhaseNode) -> bool:
        """Behind its parent, and behind the phase that it is one training with."""
        if node.key in self.begun or node.key in self.elsewhere:
            return False
        owner = self.tree.owner(node).key
        is_first = owner == node.key or owner in self.done
        return is_first and (node.parent is None or f"{node.cell}/{node.parent}" in self.done)

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
            self._end(node, end.value)
        except CodemixError as error:  # of its files
            outcome = Outcome(exit_code=error.exit_code, message=f"{node.label}: {error}")
            self._end(node, outcome)
        else:
            self.work[place] = _Work(node, steps, child)

    def _end(self, node: PhaseNode, outcome: Outcome) -> None:
        if outcome is DONE:
            self.done.add(node.key)
        elif outcome is ELSEWHERE:
            self.begun.remove(node.key)
            self.elsewhere.add(node.key)
        else:
            self.outcome = both(self.outcome, outcome)
            if not self.stop.count:
                self.stop.ask()  # the others save and end

    def _ended(self) -> list[tuple[int, ChildExit]]:
        """Waits a moment for the children, or for other studies where there are none, and shows how
        far they are; those that have ended."""
        if not self.work:
            time.sleep(POLL_SECONDS)
        patience = POLL_SECONDS / max(1, len(self.work))
        exits = [(place, work.child.ended(patience)) for place, work in self.work.items()]
        self._poll()
        for work in self.work.values():
            work.child.pass_on(self.stop)
        return [(place, ended) for place, ended in exits if ended is not None]

    def _note_seconds(self, key: str, work: Work, seconds: float) -> None:
        self.record = self.record.with_wall(key, **{work: seconds})

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
            with contextlib.suppress(CodemixError):  # damage is told by the phases that it concerns
                self.display.update(self.tree, self.out, self.record, nodes)

    def _account(self) -> None:
        now = time.monotonic()
        wall = self.record.wall_seconds + now - self._accounted
        self.record = replace(self.record, wall_seconds=wall).with_begun()
        self._accounted = now
