"""One preparation at a time in a folder of shards; of several parts (`--shard I/N`), one of each.

A lock is a file that goes with its owner. One that was killed leaves it, unlocked.
"""

import contextlib
from pathlib import Path

from megatron_codemix.data.preparation.blocks import WHOLE, Part
from megatron_codemix.locks import exclusive_once, exclusive_share, share_locks, try_lock

_NAME = "prepare"
_WHAT = "a preparation"
_WAIT_SECONDS = 1.0
"""Workers of a process that was killed hold its lock until they are gone; parts look whether the
whole is locked. Both take moments."""


def preparing(folder: Path, part: Part = WHOLE) -> contextlib.AbstractContextManager[None]:
    """Keeps other preparations out of `folder` during the block. Parts exclude the same part and
    the whole, not each other.

    Raises RunError that names the process that is at work.
    """
    return exclusive_share(
        folder, _NAME, _WHAT, part.number, part.count, wait_seconds=_WAIT_SECONDS
    )


def preparing_shard(prefix: Path) -> contextlib.AbstractContextManager[None]:
    """Keeps other preparations of the shards that begin with `prefix` out during the block."""
    return exclusive_once(shard_lock(prefix), _WHAT, _WAIT_SECONDS)


def shard_lock(prefix: Path) -> Path:
    return prefix.with_name(f".{prefix.name}.lock")


def has_locks(folder: Path) -> bool:
    """Of preparations that run or were killed."""
    return (folder / f".{_NAME}.lock").exists() or any(folder.glob(share_locks(_NAME)))


def is_alone(folder: Path) -> bool:
    """Whether no part but one is at work: that of the caller, who holds its lock."""
    return sum(map(_is_held, folder.glob(share_locks(_NAME)))) <= 1


def _is_held(path: Path) -> bool:
    handle = try_lock(path)
    if handle is None:
        return True
    with handle:
        path.unlink(missing_ok=True)
    return False
