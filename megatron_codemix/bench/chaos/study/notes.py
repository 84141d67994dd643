"""What has happened to a study, in memory and on the disk: the same command, given again after a
kill or a crash, neither strikes again nor forgets."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from megatron_codemix.bench.chaos.study.plan import StudyFault
from megatron_codemix.files import append_jsonl, read_jsonl


@dataclass
class Notes:
    """Of all calls together. The file has a line for each fault that has struck, and for problems
    beside them; it lies where the study does, and goes with it."""

    path: Path
    faults: list[StudyFault] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """What a fault, or nothing at all, led to and should not have."""
    num_starts: int = 0
    """Of the command."""
    seconds: float = 0.0
    """That the calls have taken, up to the last line."""
    _noted_at: float = field(default_factory=time.monotonic)

    @classmethod
    def read(cls, path: Path) -> "Notes":
        """Those that are there; the seconds of this call count from here."""
        notes = cls(path)
        for line in read_jsonl(path):
            if line["fault"] is not None:
                notes.faults.append(StudyFault(**line["fault"]))
            notes.problems += line["problems"]
            notes.num_starts, notes.seconds = line["starts"], line["seconds"]
        return notes

    def add(self, fault: StudyFault | None, problems: Sequence[str], num_starts: int) -> None:
        """A line more. problems: those that no line has yet; num_starts: of all calls."""
        now = time.monotonic()
        self.seconds, self._noted_at = self.seconds + now - self._noted_at, now
        self.num_starts = num_starts
        self.problems += problems
        if fault is not None:
            self.faults.append(fault)
        line = {
            "fault": None if fault is None else fault.as_dict(),
            "problems": list(problems),
            "starts": num_starts,
            "seconds": self.seconds,
        }
        append_jsonl(self.path, line)
