"""Programs that a section runs: their output in files, their end in time."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from megatron_codemix.processes import die_with

ROOT = Path(__file__).parents[2]
_GUARD = (sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")))
_ANSWER_LINES = 12


class CommandError(Exception):
    """A command ended with another exit code than 0, or not in time; the message says what it said
    last."""

    def __init__(self, message: str, exit_code: int | None) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        """None where the time was over."""


class Command:
    """A started program; it works in the checkout, in a session of its own, which ends with this
    process, whatever ends that."""

    def __init__(
        self, program: Sequence[str | Path], folder: Path, log: str, environment: Mapping[str, str]
    ) -> None:
        """folder: is made; holds `log`.out and `log`.err."""
        folder.mkdir(parents=True, exist_ok=True)
        self._output, self._errors = (folder / f"{log}.{kind}" for kind in ("out", "err"))
        with open(self._output, "wb") as output, open(self._errors, "wb") as errors:
            self._process = subprocess.Popen(
                [*_GUARD, *(str(word) for word in program)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                cwd=ROOT,
                env=environment,
                start_new_session=True,
                preexec_fn=partial(die_with, os.getpid(), by=signal.SIGTERM),
            )

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def ask_to_end(self) -> None:
        """It has `guard.GRACE_SECONDS` for that; this does not wait."""
        self._process.terminate()

    def end(self) -> None:
        """Nothing of its session outlives this."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def said(self, *, is_late: bool) -> str | CommandError:
        """What one that has ended wrote to stdout. is_late: whether it was made to end."""
        said = self._output.read_text(errors="replace")
        code = None if is_late else self._process.returncode
        if code == 0:
            return said
        last = [*said.splitlines(), *self._errors.read_text(errors="replace").splitlines()]
        answer = "\n".join(last[-_ANSWER_LINES:])
        what = "not done in its time" if code is None else f"exit code {code}"
        return CommandError(f"{what}: {answer}" if answer else what, code)
