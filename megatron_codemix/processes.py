"""Child processes that end with this one, whatever ends it."""

import ctypes
import gc
import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable

_LIBC = ctypes.CDLL(None)  # here: to load it takes a lock, which another thread may hold at a fork
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_POLL_SECONDS = 0.002


def die_with(parent_pid: int, *, by: signal.Signals = signal.SIGKILL) -> None:
    """From here on the kernel sends this process `by` when its parent ends, even by kill -9; also
    for a `preexec_fn`."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the line above
        os.kill(os.getpid(), signal.SIGKILL)


class ForkedWork:
    """`work()` in a forked process, which has this one's memory as it is now.

    It is killed when the thread that made it ends; signals that are meant for this process do not
    end it. Its exit code is 0 once `work` has returned, 1 if it raised, negative if it was killed.
    """

    def __init__(self, work: Callable[[], object]) -> None:
        parent_pid = os.getpid()
        self._exit_code: int | None = None
        with warnings.catch_warnings():
            # Python >= 3.12 warns of threads at a fork; `work` uses none of theirs.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            _run(work, parent_pid)

    def is_running(self) -> bool:
        """Whether it has not ended yet; does not wait."""
        if self._exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._exit_code = os.waitstatus_to_exitcode(status)
        return self._exit_code is None

    def wait(self) -> int:
        """Waits for its end; the exit code."""
        while self.is_running():
            time.sleep(_POLL_SECONDS)
        assert self._exit_code is not None
        return self._exit_code

    def kill(self) -> None:
        """Ends it at once, if it still runs."""
        if self.is_running():
            os.kill(self.pid, signal.SIGKILL)
            self.wait()


def _run(work: Callable[[], object], parent_pid: int) -> None:
    """The child: nothing that was set up for the parent's end runs here."""
    exit_code = 1
    try:
        die_with(parent_pid)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        gc.disable()  # what it would free belongs to the parent (CUDA) or would be copied first
        work()
        exit_code = 0
    except BaseException:  # reported here: beyond is the parent's stack
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(exit_code)
