"""One phase of a study on this machine: what is started for it, and what becomes of that."""

import contextlib
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from megatron_codemix.config.loader import dump_yaml
from megatron_codemix.errors import EXIT_BUG, EXIT_DONE, EXIT_INPUT, EXIT_RETRY
from megatron_codemix.files import write_text
from megatron_codemix.launch.local import Child, ChildExit, StopRequest
from megatron_codemix.runs import EVALUATION, RunDirectory
from megatron_codemix.study.changed_phase import take_over
from megatron_codemix.study.commands import Commands, asked_config, files_folder
from megatron_codemix.study.damaged_ends import damaged_end, mend_ledger_of
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.progress import StudyDisplay
from megatron_codemix.study.state import PhaseProgress, phase_progress
from megatron_codemix.study.store import (
    Member,
    Work,
    is_at_work,
    note_trainer,
    owner_words,
    working_on,
)
from megatron_codemix.study.tree import StudyTree

MAX_FAILURES = 3
"""Starts of one child in a row that may fail, or end without a step forward, before the study
stops."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How `run_study` ended."""

    exit_code: int
    message: str
    """For the user: what happened and what to do; empty when all is done."""


DONE = Outcome(exit_code=EXIT_DONE, message="")
STOPPED = Outcome(
    exit_code=EXIT_RETRY,
    message="stopped; what was reached is saved, and the same command goes on from there",
)
ELSEWHERE = Outcome(exit_code=EXIT_RETRY, message="another study works on it")
"""Not an end: the phase is looked at again."""


def both(one: Outcome, other: Outcome) -> Outcome:
    """How a study ends of which two phases ended so, side by side: failures are all named, and a
    request to stop is no news beside one. What the same command may mend decides the exit code
    last."""
    told = [end for end in (one, other) if end is not DONE and end is not STOPPED]
    if len(told) < 2:
        return next(iter(told), other if one is DONE else one)
    code = other.exit_code if one.exit_code == EXIT_RETRY else one.exit_code
    return Outcome(exit_code=code, message="\n\n".join(end.message for end in told))


class PhaseRunner:
    """Of one call of `run_study`."""

    def __init__(
        self,
        tree: StudyTree,
        out: Path,
        commands: Commands,
        display: StudyDisplay,
        stop: StopRequest,
        note_seconds: Callable[[str, Work, float], None],
    ) -> None:
        """note_seconds: told of the time of each child, with its phase."""
        self.tree, self.out, self.commands = tree, out, commands
        self.display, self.stop, self.note_seconds = display, stop, note_seconds
        self.member = Member.of(tree.spec.name, out)
        self.told = set[str]()
        """Phases of which it was said that another study works on them."""
        self.told_of_damage = set[str]()
        """What was said of it: phases are looked at again and again."""

    def steps(
        self, node: PhaseNode, child_lock: IO[str], share: Mapping[str, str]
    ) -> Generator[Child, ChildExit, Outcome]:
        """Brings one phase from whatever state it is in to `done`: yields each child, and is sent
        how it ended.

        child_lock: a lock that children inherit. share: environment of the place that it runs in.
        """
        failures = 0
        if told := mend_ledger_of(self.tree, self._progress(node)):
            self._tell_of_damage(told)
        while (seen := self._progress(node)).state != "done":
            if self.stop.count:
                return STOPPED
            with self._holding(seen) as held:
                if held is None:
                    return ELSEWHERE
                self._take_over(node)
                before = self._progress(node)
                assert before.run is not None  # run_study has checked that every identity is known
                if before.state == "done" or _work_of(before) != _work_of(seen):
                    continue  # another study has gone on with it meanwhile
                ended = yield self._start(before, before.run, [child_lock.fileno(), *held], share)
                self.note_seconds(node.key, _work_of(before), ended.seconds)
                if self._is_taken(before.run, _work_of(before), ended):
                    return ELSEWHERE
                if self.tree.store is not None and _work_of(before) == "train":
                    note_trainer(before.run, self.member, node.key, ended.seconds)
                after = self._progress(node)
            outcome = self._judged(before, after, ended)
            if outcome is not None:
                return outcome
            failures = 0 if _is_forward(before, after) else failures + 1
            if failures >= MAX_FAILURES:
                name = f"{_NAMES[_work_of(before)]} ({failures} times in a row)"
                return self._failed(node, name, ended, EXIT_RETRY)
            if ended.code != EXIT_DONE:
                self.display.say(
                    f"{node.label}: {_NAMES[_work_of(before)]} ended with "
                    f"{_describe_exit(ended.code)} at step {after.step}; it goes on"
                )
        return DONE

    def _progress(self, node: PhaseNode) -> PhaseProgress:
        """As one that has failed where its last checkpoint is to be made again."""
        phase = phase_progress(self.tree, self.out, node)
        damage = damaged_end(self.tree, self.out, phase)
        if damage is None:
            return phase
        self._tell_of_damage(
            f"{node.label}: is trained, but its last checkpoint, which is needed, is not whole; it "
            f"is made again from the one before:\n{damage}"
        )
        return replace(phase, state="failed")

    def _tell_of_damage(self, text: str) -> None:
        if text not in self.told_of_damage:
            self.told_of_damage.add(text)
            self.display.say(text)

    @contextlib.contextmanager
    def _holding(self, phase: PhaseProgress) -> Iterator[list[int] | None]:
        """Holds what is to be done of a phase against other studies that use the store: file
        descriptors for the child. None where one of them works on it."""
        if self.tree.store is None:
            yield []
            return
        assert phase.run is not None, phase.node.key
        work = _work_of(phase)
        with working_on(self.tree.store, phase.run, work, self.member) as held:
            if held is None and phase.node.key not in self.told:
                self.told.add(phase.node.key)
                who = owner_words(self.tree.store, phase.run, work)
                self.display.say(f"{phase.node.label}: {_NAMES[work]} is under way by {who}")
            yield None if held is None else [held]

    def _take_over(self, node: PhaseNode) -> None:
        earlier = take_over(self.tree, self.out, node)
        if earlier is not None:
            self.display.say(
                f"{node.label}: its mixture has changed after step {earlier.step}, where it goes on"
            )

    def _is_taken(self, run: RunDirectory, work: Work, ended: ChildExit) -> bool:
        """Whether a child has ended because somebody who is no `study run`, such as a SLURM job,
        was there first."""
        is_refusal = ended.code in (EXIT_INPUT, EXIT_RETRY) and not self.stop.count
        return self.tree.store is not None and is_refusal and is_at_work(run, work)

    def _judged(
        self, before: PhaseProgress, after: PhaseProgress, ended: ChildExit
    ) -> Outcome | None:
        """The end of a phase, where what has become of its child is one that is none of success."""
        if self.stop.count and ended.code in (EXIT_DONE, EXIT_RETRY):
            return STOPPED
        if ended.code in (EXIT_BUG, EXIT_INPUT) or (self.stop.count and ended.code > 0):
            return self._failed(before.node, _NAMES[_work_of(before)], ended, ended.code)
        return STOPPED if self.stop.count else None

    def _start(
        self, phase: PhaseProgress, run: RunDirectory, held: list[int], share: Mapping[str, str]
    ) -> Child:
        """Starts the training or, where that is done, the evaluation. held: descriptors of locks
        that are the child's too."""
        spec, work = self.tree.spec, _work_of(phase)
        config = self.tree.resolved_config(self.out, phase.node)
        if work == "evaluate":
            if run.results != EVALUATION:
                write_text(asked_config(run), dump_yaml(config))
            command = self.commands.evaluate(run, spec.evaluation.by_processes(config))
        else:
            write_text(run.config, dump_yaml(config))
            if self.tree.store is not None:
                note_trainer(run, self.member, phase.node.key, 0.0)
            command = self.commands.train(run, spec.world_size)
        return Child(
            command,
            files_folder(run, work) / f"{work}.log",
            start=self.commands.start,
            pass_fds=held,
            environment={"NO_COLOR": "1", **share},
        )

    def _failed(self, node: PhaseNode, name: str, ended: ChildExit, exit_code: int) -> Outcome:
        return Outcome(
            exit_code=exit_code,
            message=f"{node.label}: {name} ended with {_describe_exit(ended.code)}; {ended.log} "
            "says:\n"
            f"{ended.last_block() or '(nothing)'}",
        )


_NAMES: Mapping[Work, str] = {"train": "training", "evaluate": "evaluation"}


def _work_of(phase: PhaseProgress) -> Work:
    """What is to be done next."""
    return "evaluate" if phase.state == "trained" else "train"


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
