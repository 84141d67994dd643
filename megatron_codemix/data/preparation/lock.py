"""One preparation at a time in a folder of shards; of several parts (`--shard I/N`), one of each.

A lock is a file that goes with its owner. One that was killed leaves it, unlocked.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from megatron_codemix.data.preparation.blocks import WHOLE, Part
from megatron_codemix.locks import exclusive, try_lock

_WHOLE = ".prepare.lock"
_PARTS = ".prepare-*-of-*.lock"
_WAIT_SECONDS = 1.0
"""Workers of a process that was killed hold its lock until they are gone; parts look whether the
whole is locked. Both take moments."""


@contextlib.contextmanager
def preparing(folder: Path, part: Part = WHOLE) -> Iterator[None]:
    """Keeps other preparations out of `folder` during the block. Parts exclude the same part and
    the whole, not each other.

    Raises RunError that names the process that is at work.
    """
    # Each takes its own lock before it looks at the others', so two never both go on.
    if part == WHOLE:
        with _locked(folder / _WHOLE):
            for other in folder.glob(_PARTS):
                with _locked(other):
                    pass
            yield
        return
    with _locked(folder / _PARTS.replace("*", "{}").format(part.number + 1, part.count)):
        with _locked(folder / _WHOLE):
            pass
        yield


def preparing_shard(prefix: Path) -> contextlib.AbstractContextManager[None]:
    """Keeps other preparations of the shards that begin with `prefix` out during the block."""
    return _locked(shard_lock(prefix))


def shard_lock(prefix: Path) -> Path:
    return prefix.with_name(f".{prefix.name}.lock")


def has_locks(folder: Path) -> bool:
    """Of preparations that run or were killed."""
    return (folder / _WHOLE).exists() or any(folder.glob(_PARTS))


def is_alone(folder: Path) -> bool:
    """Whether no part but one is at work: that of the caller, who holds its lock."""
    return sum(map(_is_held, folder.glob(_PARTS))) <= 1


def _is_held(path: Path) -> bool:
    handle = try_lock(path)
    if handle is None:
        return True
    with handle:
        path.unlink(missing_ok=True)
    return False


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with exclusive(path, "a preparation", wait_seconds=_WAIT_SECONDS):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
