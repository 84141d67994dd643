"""Where the sections work: their folder, their time, the commands that they run."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from megatron_codemix.bench.train.gpu.machine import Machine as Gpu
from megatron_codemix.processes import die_with

ROOT = Path(__file__).parents[2]
NO_GPU = "no NVIDIA GPU that PyTorch finds on this machine"
_ANSWER_LINES = 12
_GRACE_SECONDS = 15.0


class CommandError(Exception):
    """A command ended with another exit code than 0, or not in time; the message says what it said
    last."""

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """None where the time was over."""


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

    def run(
        self, arguments: Sequence[str | Path], *, hides_gpu: bool = False, log: str = "command"
    ) -> str:
        """What the program wrote to stdout; it runs in the checkout, in a session of its own.
        Raises CommandError."""
        if not self.seconds_left:
            raise CommandError("not begun: the time was over before", None)
        self.folder.mkdir(parents=True, exist_ok=True)
        output, errors = (self.folder / f"{log}.{kind}" for kind in ("out", "err"))
        with open(output, "wb") as out, open(errors, "wb") as err:
            process = subprocess.Popen(
                [str(one) for one in arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                cwd=ROOT,
                env=_environment(hides_gpu),
                start_new_session=True,
                preexec_fn=partial(die_with, os.getpid(), by=signal.SIGTERM),
            )
            with _ended_with(process):
                code = _wait(process, self.seconds_left)
        said = output.read_text(errors="replace")
        if code != 0:
            last = [*said.splitlines(), *errors.read_text(errors="replace").splitlines()]
            answer = "\n".join(last[-_ANSWER_LINES:])
            what = "not done in its time" if code is None else f"exit code {code}"
            raise CommandError(f"{what}: {answer}" if answer else what, code)
        return said

    def codemix(self, *words: str | Path, hides_gpu: bool = False, log: str = "codemix") -> str:
        """`run` of a command of ours."""
        program = (sys.executable, "-m", "megatron_codemix")
        return self.run((*program, *words), hides_gpu=hides_gpu, log=log)


def _environment(hides_gpu: bool) -> Mapping[str, str]:
    """One thread: in models as small as these, more of them wait for one another."""
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if hides_gpu else {}
    return {"OMP_NUM_THREADS": "1", **os.environ, "PYTHONUNBUFFERED": "1", **hidden}


def _wait(process: "subprocess.Popen[bytes]", seconds: float) -> int | None:
    """Its exit code; None, once it has ended, where it was not done in time."""
    try:
        return process.wait(None if math.isinf(seconds) else seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)
        return None


@contextlib.contextmanager
def _ended_with(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Nothing of the session outlives the block, also where Ctrl-C has ended it: it did not reach
    the session."""
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
