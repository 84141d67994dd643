"""Locks on files, so that two processes do not do the same work in the same folder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from megatron_codemix.errors import RunError


def try_lock(path: Path) -> IO[str] | None:
    """The open file holding an exclusive lock on `path`, or None if another process holds it.

    The lock ends when the file and every copy that a child inherited are closed, at the latest when
    they have died. Whoever holds it may remove the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - the lock lives as long as the file is open
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.close()
            return None
        if _is_file_at(path, handle):
            return handle
        handle.close()  # removed by its last owner while it was opened here


def _is_file_at(path: Path, handle: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def exclusive(path: Path, what: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds a lock on `path` during the block. Raises RunError if another process holds it, and
    still does after `wait_seconds`."""
    give_up_at = time.monotonic() + wait_seconds
    while (handle := try_lock(path)) is None and time.monotonic() < give_up_at:
        time.sleep(0.1)
    if handle is None:
        raise RunError(f"{path.parent}: {what} is already running here (process {_owner(path)})")
    with handle:
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


def _owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown"
    except FileNotFoundError:  # it has ended just now
        return "unknown"
