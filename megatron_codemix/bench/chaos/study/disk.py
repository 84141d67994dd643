"""A disk that fills up: a small file system where one can be mounted, else a limit on the size of
files."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from megatron_codemix.errors import UnavailableError

DISK_BYTES = 96 * 1024 * 1024
"""The study needs some 20 MiB."""
_LIMIT_BYTES = 4096
_PAGE_BYTES = 4096


class Disk(Protocol):
    """Where the study is written."""

    @property
    def describes(self) -> str:
        """For the reader of the result."""
        ...

    @property
    def said(self) -> str:
        """What a program says that could not write."""
        ...

    def fill(self, processes: Sequence[psutil.Process]) -> bool:
        """Leaves no room for `processes`, as far as they have not freed some since the last call;
        whether none is left."""
        ...

    def free(self) -> None:
        """There is room again."""
        ...


@dataclass(frozen=True)
class SmallDisk:
    """A tmpfs of DISK_BYTES at `folder`."""

    folder: Path
    describes: str = f"a tmpfs of {DISK_BYTES >> 20} MiB"
    said: str = "the disk is full"

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self, processes: Sequence[psutil.Process]) -> bool:
        """Takes all that is free."""
        with open(self._filler, "ab") as handle:
            size = handle.tell()
            for piece in (1 << 20, _PAGE_BYTES):
                while _allocated(handle.fileno(), size, piece):
                    size += piece
        return shutil.disk_usage(self.folder).free < _PAGE_BYTES

    def free(self) -> None:
        """Gives it back."""
        self._filler.unlink(missing_ok=True)

    @classmethod
    def mount(cls, folder: Path) -> "SmallDisk":
        """Mounts it, or takes the one that is mounted there. Raises UnavailableError where the
        system does not let us."""
        folder.mkdir(exist_ok=True)
        if not folder.is_mount():
            words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=0700", "tmpfs"]
            try:
                done = subprocess.run([*words, str(folder)], capture_output=True, text=True)
            except OSError as error:
                raise UnavailableError(f"mount cannot be started ({error.strerror})") from error
            if done.returncode != 0:
                reason = done.stderr.partition("\n")[0]
                raise UnavailableError(f"mounting needs root ({reason})")
        return cls(folder)


@dataclass(frozen=True)
class FileSizeLimit:
    """No file may grow beyond some KiB, for the processes that run when it comes."""

    reason: str
    """Why it is no small file system."""
    said: str = "grows larger than files may be here"

    @property
    def describes(self) -> str:
        return f"a limit of {_LIMIT_BYTES} bytes on the size of files: {self.reason}"

    def fill(self, processes: Sequence[psutil.Process]) -> bool:
        """Limits them; Python then meets an error where it would meet a full disk's."""
        limited = 0
        for process in processes:
            with contextlib.suppress(psutil.Error):
                _, most = process.rlimit(resource.RLIMIT_FSIZE)
                process.rlimit(resource.RLIMIT_FSIZE, (_LIMIT_BYTES, most))
                limited += 1
        return limited > 0

    def free(self) -> None:
        """Those that it was set for have ended."""


def open_disk(folder: Path) -> Disk:
    """The small file system at `folder` where it can be mounted."""
    try:
        return SmallDisk.mount(folder)
    except UnavailableError as error:
        return FileSizeLimit(str(error))


def keep_content(folder: Path) -> None:
    """Takes away the file system at `folder`, whose files stay there. Nothing where none is."""
    if not folder.is_mount():
        return
    copy = folder.with_name(f"{folder.name}.kept")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, symlinks=True)
    unmount(folder)
    folder.rmdir()
    copy.rename(folder)


def stays_mounted(folder: Path) -> str | None:
    """What to do about it; None where nothing is mounted at `folder`."""
    if not folder.is_mount():
        return None
    return (
        f"{folder} is still mounted, with the study: the same command goes on there; to leave it, "
        f"give `umount {folder}` and delete {folder.parent}"
    )


def unmount(folder: Path) -> None:
    """Takes away the file system at `folder`, if there is one, with what is on it."""
    if folder.is_mount():
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _allocated(descriptor: int, offset: int, size: int) -> bool:
    """Whether there was still room."""
    try:
        os.posix_fallocate(descriptor, offset, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return False
    return True
