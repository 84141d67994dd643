"""Runs a program, and ends with it all that it has started and left in its session.

`python -I -S guard.py PROGRAM...`, as the leader of a session, by `commands.py`, which lets the
kernel send it SIGTERM when the check ends. SIGTERM is also how the check asks for the end: then the
program may save what it has; where the check is no more, nothing outlives it, as another may begin.
"""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

GRACE_SECONDS = 15.0


class _EndAsked(Exception):  # noqa: N818  # not an error
    """SIGTERM has come."""


def main(program: Sequence[str]) -> int:
    """Its exit code, 128 and the signal where one has ended it."""
    check = os.getppid()
    signal.signal(signal.SIGTERM, _ask)
    process = None
    try:
        process = subprocess.Popen(program)
        code = process.wait()
    except _EndAsked:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if process is not None and os.getppid() == check:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS)
        os.killpg(0, signal.SIGKILL)  # this process too
        raise
    return code if code >= 0 else 128 - code


def _ask(number: int, frame: FrameType | None) -> None:
    raise _EndAsked


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
