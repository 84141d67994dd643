"""A file of a shard, mapped into memory, and what tells whether it has been exchanged."""

import mmap
import os
from glob import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.errors import DataError


class FileState(NamedTuple):
    """Equal as long as nobody has written to the file or put another in its place."""

    inode: int
    num_bytes: int
    modified_nanoseconds: int


def unreadable(path: Path, error: OSError) -> DataError:
    """What to say of a file of a shard that the system does not give."""
    if isinstance(error, FileNotFoundError) and any(path.parent.glob(f"{escape(path.stem)}.*")):
        return DataError(f"{path}: is missing; copy it again, or prepare the shard again")
    return DataError(f"{path}: cannot be read ({error.strerror}); check the prefix")


def file_state(path: Path) -> FileState:
    """Raises DataError where the file cannot be looked at."""
    try:
        stat = os.stat(path)
    except OSError as error:
        raise unreadable(path, error) from error
    return FileState(stat.st_ino, stat.st_size, stat.st_mtime_ns)


def map_bytes(path: Path) -> npt.NDArray[np.uint8]:
    """The bytes of a file, read-only, [size]. Raises DataError where it cannot be mapped."""
    try:
        with open(path, "rb") as handle:
            size = os.fstat(handle.fileno()).st_size
            if size == 0:  # which cannot be mapped
                return np.empty(0, np.uint8)
            mapped = mmap.mmap(handle.fileno(), size, access=mmap.ACCESS_READ)
    except OSError as error:
        raise unreadable(path, error) from error
    return np.frombuffer(mapped, np.uint8)
