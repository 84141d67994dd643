"""Runs the study undisturbed, then struck again and again, and compares."""

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from megatron_codemix.bench.chaos.study.asked import StudyChaos
from megatron_codemix.bench.chaos.study.compare import (
    Comparison,
    compare_studies,
    set_aside,
)
from megatron_codemix.bench.chaos.study.disk import keep_content, open_disk, stays_mounted
from megatron_codemix.bench.chaos.study.disturb import Tell, disturb
from megatron_codemix.bench.chaos.study.job import StudyJob, write_study_job
from megatron_codemix.bench.chaos.study.notes import Notes
from megatron_codemix.bench.chaos.study.place import DISK, keep_place, prepare_place, remove_place
from megatron_codemix.bench.chaos.study.plan import StudyFault
from megatron_codemix.bench.chaos.study.processes import left_behind
from megatron_codemix.bench.chaos.study.scene import Scene
from megatron_codemix.bench.rows import Row
from megatron_codemix.errors import EXIT_DONE, RunError
from megatron_codemix.files import append_jsonl, read_json, read_jsonl, write_json
from megatron_codemix.locks import exclusive_once

_PROBLEMS = "alone.problems.jsonl"
"""In the folder: how the undisturbed study has ended and should not have."""


@dataclass(frozen=True, kw_only=True)
class StudyChaosResult:
    """What was done to the study, and in what it differs from the undisturbed one."""

    asked: StudyChaos
    faults: list[StudyFault]
    comparison: Comparison
    problems: list[str]
    """What single faults, or no fault at all, led to and should not have; of all calls."""
    disk: str
    """What fills up."""
    num_starts: int
    """Of the command, from the first fault on."""
    rows: list[Row] = field(default_factory=list)

    @property
    def differences(self) -> list[str]:
        return [*self.comparison.differences, *self.problems]

    @property
    def identical(self) -> bool:
        return not self.differences

    @property
    def counts(self) -> dict[str, int]:
        """Kind -> faults that have struck."""
        counted = Counter(fault.kind for fault in self.faults)
        return {kind: counted[kind] for kind in self.asked.kinds}

    @property
    def is_complete(self) -> bool:
        """Whether as many have struck as were asked for."""
        return len(self.faults) >= self.asked.num_faults


def run_study_chaos(work: Path, asked: StudyChaos, tell: Tell) -> StudyChaosResult:
    """Works in the folder `work`, and goes on there where an earlier call was killed; removes it
    once both studies were alike. `tell` gets a line for whatever has happened.

    Raises RunError where `work` holds something else, or a study ends as none should.
    """
    work = work.resolve()  # as /proc has it, where processes are looked for by their files
    with exclusive_once(work.with_name(f".{work.name}.lock"), "a chaos benchmark", 0.0):
        prepare_place(work, asked, tell)
        job = write_study_job(work, work / DISK / "study", steps_of_a_phase=asked.steps_of_a_phase)
        seconds = _undisturbed(work, job, tell)
        try:
            result = _disturbed(work, job, asked, seconds, tell)
        except BaseException:  # whatever ends it, such as Ctrl-C: what stays is told
            if (words := stays_mounted(work / DISK)) is not None:
                tell(words)
            raise
        if result.identical and result.is_complete:
            remove_place(work)
        else:
            keep_content(work / DISK)
            keep_place(work)
            tell(f"both studies are kept: {work / 'alone'} and {job.out}")
    return result


def _undisturbed(work: Path, job: StudyJob, tell: Tell) -> float:
    """Runs it to its end, where that has not been done; how long it took."""
    alone, note = work / "alone", work / "alone.json"
    if not alone.exists():
        tell("the undisturbed study")
        scene = Scene(job, work / "alone.log")
        # What a killed call has left was disturbed itself, and its time is not known.
        scene.take_over(left_behind(job.out))
        shutil.rmtree(job.out, ignore_errors=True)
        scene.output.unlink(missing_ok=True)
        started = time.monotonic()
        try:
            scene.start()
            code = scene.wait_for_end()
            if code != EXIT_DONE:
                raise RunError(
                    f"the undisturbed study ended with exit code {code}:\n{scene.tail()}"
                )
        except RunError as error:
            append_jsonl(work / _PROBLEMS, {"problem": str(error)})
            raise
        finally:
            scene.kill()
        write_json(note, {"seconds": time.monotonic() - started})
        job.out.rename(alone)
    seconds: float = read_json(note)["seconds"]
    return seconds


def _disturbed(
    work: Path, job: StudyJob, asked: StudyChaos, seconds: float, tell: Tell
) -> StudyChaosResult:
    """Strikes the study until all faults that are asked for have struck, lets it come to its end,
    and compares."""
    disk = open_disk(work / DISK)
    disk.free()
    tell(f"the disturbed study; its disk: {disk.describes}")
    notes = Notes.read(work / DISK / "faults.jsonl")
    disturb(Scene(job, work / "disturbed.log", disk), asked, notes, tell)
    tell("comparing")
    row = Row(
        name=f"a study of {job.num_steps} steps with {len(notes.faults)} faults: time",
        ours=notes.seconds,
        peer=seconds,
        unit="s",
        note="the other figure is that of the undisturbed study",
    )
    return StudyChaosResult(
        asked=asked,
        faults=notes.faults,
        comparison=compare_studies(work / "alone", job.out),
        problems=[*(line["problem"] for line in read_jsonl(work / _PROBLEMS)), *notes.problems],
        disk=disk.describes,
        num_starts=notes.num_starts,
        rows=[row],
    )


def result_record(result: StudyChaosResult) -> dict[str, Any]:  # Any: JSON values
    """What `--json` prints beside the rows."""
    comparison = result.comparison
    return {
        "identical": result.identical,
        "faults": result.counts,
        "num_faults": len(result.faults),
        "wanted_faults": result.asked.num_faults,
        "lost_samples": comparison.lost_samples,
        "repeated_samples": comparison.repeated_samples,
        "compared": {"files": comparison.num_files, "tensors": comparison.num_tensors},
        "differences": result.differences,
        "set_aside": set_aside(comparison),
        "left": {
            "incomplete_checkpoints": comparison.num_incomplete,
            "temporary_files": comparison.num_temporary,
        },
        "starts": result.num_starts,
        "disk": result.disk,
        "seed": result.asked.seed,
        "struck": [fault.as_dict() for fault in result.faults],
    }
