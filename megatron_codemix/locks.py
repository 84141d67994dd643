"""Locks on files, so that two processes do not do the same work in the same folder."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from megatron_codemix.errors import RunError

_TRIES_BESIDE_LOOKERS = 50
_LOOK_SECONDS = 0.001


def try_lock(path: Path) -> IO[str] | None:
    """The open file holding an exclusive lock on `path`, or None if another process holds it.

    The lock ends when the file and every copy that a child inherited are closed, at the latest when
    they have died. Whoever holds it may remove the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = open(path, "a+", encoding="utf-8")  # noqa: SIM115 - the lock lives as long as the file is open
        if not _lock_alone(handle):
            handle.close()
            return None
        if _is_file_at(path, handle):
            return handle
        handle.close()  # removed by its last owner while it was opened here


def is_locked(path: Path) -> bool:
    """Whether a process holds an exclusive lock on `path`; looks without writing anything."""
    try:
        handle = open(path, encoding="utf-8")  # noqa: SIM115 - closed below
    except FileNotFoundError:
        return False
    with handle:
        return not _lock(handle, fcntl.LOCK_SH)


def _lock_alone(handle: IO[str]) -> bool:
    """Whether nobody else held it. Those who only look hold it for a moment, together, and are
    waited for."""
    for _ in range(_TRIES_BESIDE_LOOKERS):
        if _lock(handle, fcntl.LOCK_EX):
            return True
        if not _lock(handle, fcntl.LOCK_SH):
            return False
        fcntl.flock(handle, fcntl.LOCK_UN)
        time.sleep(_LOOK_SECONDS)
    return False


def _lock(handle: IO[str], operation: int) -> bool:
    try:
        fcntl.flock(handle, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file_at(path: Path, handle: IO[str]) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(handle.fileno()))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def exclusive(
    path: Path, what: str, *, wait_seconds: float = 0.0, advice: str = ""
) -> Iterator[None]:
    """Holds a lock on `path` during the block. Raises RunError, with `advice`, if another process
    holds it, and still does after `wait_seconds`."""
    give_up_at = time.monotonic() + wait_seconds
    while (handle := try_lock(path)) is None and time.monotonic() < give_up_at:
        time.sleep(0.1)
    if handle is None:
        raise RunError(
            f"{path.parent}: {what} is already running here (process {_owner(path)}){advice}"
        )
    with handle:
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


@contextlib.contextmanager
def exclusive_share(
    folder: Path,
    name: str,
    what: str,
    number: int,
    count: int,
    *,
    wait_seconds: float = 0.0,
    counts_exclude: bool = False,
) -> Iterator[None]:
    """Holds the lock of share `number` (from 0) of `count` of the work in `folder` during the
    block: shares exclude the same share and the whole (a count of 1), not each other.

    name: of the lock files, which go with their owners. counts_exclude: whether shares of one count
    exclude those of all others, for where they would do the same work. Raises RunError as
    `exclusive` does.
    """
    whole = folder / f".{name}.lock"
    # Each takes its own lock before it looks at the others', so two never both go on.
    if count == 1:
        with exclusive_once(whole, what, wait_seconds):
            for other in folder.glob(share_locks(name)):
                with exclusive_once(other, what, wait_seconds):
                    pass
            yield
        return
    own = folder / f".{name}-{number + 1}-of-{count}.lock"
    with exclusive_once(own, what, wait_seconds):
        others = folder.glob(share_locks(name)) if counts_exclude else ()
        foreign = [one for one in others if not one.name.endswith(f"-of-{count}.lock")]
        for other in (whole, *foreign):
            with exclusive_once(other, what, wait_seconds):
                pass
        yield


def share_locks(name: str) -> str:
    """Pattern of the locks of shares that are named so."""
    return f".{name}-*-of-*.lock"


@contextlib.contextmanager
def exclusive_once(path: Path, what: str, wait_seconds: float) -> Iterator[None]:
    """As `exclusive`; the file goes with its owner."""
    with exclusive(path, what, wait_seconds=wait_seconds):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _owner(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or "unknown"
    except FileNotFoundError:  # it has ended just now
        return "unknown"
