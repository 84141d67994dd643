"""Where the sections work: their folder, their time, the commands that they run."""

import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.bench.train.gpu.machine import Machine as Gpu
from tools.gpu_check.commands import Command, CommandError
from tools.gpu_check.guard import GRACE_SECONDS

NO_GPU = "no NVIDIA GPU that PyTorch finds on this machine"
_POLL_SECONDS = 0.05

Program = Sequence[str | Path]


@dataclass
class Place:
    """What a section is given."""

    folder: Path
    """For runs and logs; kept until all sections are there, so that a killed check goes on."""
    gpu: Gpu | None
    """None where there is none that PyTorch can use."""
    gpu_problem: str | None = None
    """Why PyTorch cannot use the GPU that seems to be there."""
    ends_at: float = math.inf
    """Of the section, on `time.monotonic`'s clock."""

    @property
    def has_gpu(self) -> bool:
        return self.gpu is not None

    @property
    def why_no_gpu(self) -> str:
        """Of a place without one."""
        return self.gpu_problem or NO_GPU

    @property
    def seconds_left(self) -> float:
        return max(0.0, self.ends_at - time.monotonic())

    def run(self, program: Program, *, hides_gpu: bool = False, log: str = "command") -> str:
        """What the program wrote to stdout. Raises CommandError."""
        [(_, said)] = self.run_side_by_side({log: program}, at_once=1, hides_gpu=hides_gpu)
        if isinstance(said, CommandError):
            raise said
        return said

    def codemix(self, *words: str | Path, hides_gpu: bool = False, log: str = "codemix") -> str:
        """`run` of a command of ours."""
        program = (sys.executable, "-m", "megatron_codemix")
        return self.run((*program, *words), hides_gpu=hides_gpu, log=log)

    def run_side_by_side(
        self, programs: Mapping[str, Program], *, at_once: int, hides_gpu: bool = False
    ) -> Iterator[tuple[str, str | CommandError]]:
        """As each ends, its name and what it wrote to stdout. They begin in their order; those that
        run when the time is over are made to end.

        programs: by the name that their logs have. at_once: how many run at a time, at most.
        """
        environment, waiting = _environment(hides_gpu), dict(programs)
        running: dict[str, Command] = {}
        with contextlib.ExitStack() as ends:
            while waiting or running:
                ended = [name for name, one in running.items() if one.has_ended]
                late = [] if self.seconds_left else [name for name in running if name not in ended]
                _make_end([running[name] for name in late])
                for name in (*ended, *late):
                    yield name, running.pop(name).said(is_late=name in late)
                while waiting and len(running) < at_once:
                    name, program = next(iter(waiting.items()))
                    del waiting[name]
                    if not self.seconds_left:
                        yield name, CommandError("not begun: the time was over before", None)
                        continue
                    running[name] = Command(program, self.folder, name, environment)
                    ends.callback(running[name].end)
                time.sleep(min(_POLL_SECONDS, self.seconds_left) if running else 0.0)


def _environment(hides_gpu: bool) -> Mapping[str, str]:
    """One thread: in models as small as these, more of them wait for one another."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if hides_gpu else {}
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1", **hidden}


def _make_end(commands: Sequence[Command]) -> None:
    """Together, so that their grace is counted once."""
    for command in commands:
        command.ask_to_end()
    over = time.monotonic() + GRACE_SECONDS
    while time.monotonic() < over and not all(command.has_ended for command in commands):
        time.sleep(_POLL_SECONDS)
    for command in commands:
        command.end()
