"""Processor time of processes whose parents are ended without waiting for them.

Workers are, once their tasks are done, and their sandboxes with them. The kernel adds the time of a
process to that of who waits for it: let that be us (prctl(2), PR_SET_CHILD_SUBREAPER).
"""

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_SECONDS = 2.0  # the kernel ends them with their parents
_POLL_SECONDS = 0.01


@contextlib.contextmanager
def orphans_adopted() -> Iterator[None]:
    """What is started in the block, by whomever, and ends with its parent has been waited for at
    the end, and counts as a child of this process. Others may wait for no child meanwhile."""
    _set_subreaper(1)
    try:
        yield
        _wait_for_all()
    finally:
        _set_subreaper(0)


def _wait_for_all() -> None:
    """Until there are no children, or only such as stay (multiprocessing's resource tracker)."""
    last = time.monotonic()
    with contextlib.suppress(ChildProcessError):  # there are none any more
        while time.monotonic() - last < _PATIENCE_SECONDS:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid:
                last = time.monotonic()
            else:
                time.sleep(_POLL_SECONDS)


def _set_subreaper(value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")
