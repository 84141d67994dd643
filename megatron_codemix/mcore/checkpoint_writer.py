"""The process beside each rank that writes checkpoints while the rank trains.

It is forked once, while the rank is small, and gets what it writes through shared memory: a save
costs the rank one copy of its part. Forking for each save would cost less at first, and then a page
fault for every page that the training changes while the process lives (measured at 1.1 GB: 3 s of
system time in the next step, 0.3 s for the copy).

What was written is read back, item by item, and compared with the shared memory before it counts.
"""

import ctypes
import errno
import hashlib
import io
import mmap
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import (
    SerializationFormat,
    _StorageWriterTransforms,
    _write_item,
)

from megatron_codemix.backend.devices import Backend
from megatron_codemix.checkpoints import FileRecord
from megatron_codemix.errors import CodemixError, RetryableError
from megatron_codemix.files import full_disk
from megatron_codemix.mcore.checkpoint_memory import (
    Place,
    SharedMemory,
    bits_of,
    mapped,
    tensor_at,
)
from megatron_codemix.processes import ForkedWork

PAGE_BYTES = 4096
"""A disk with less than this free is full."""

_NICENESS = 10
"""On a CPU the training comes first."""


@dataclass(frozen=True)
class Content:
    """What is to be written as one item: bytes, or a tensor in the shared memory."""

    item: Any  # Any: torch's WriteItem
    data: bytes | Place


@dataclass(frozen=True)
class Job:
    """One rank's part of a save."""

    folder: Path
    name: str | None
    """Of the file for `contents`; absent where there are none."""
    contents: list[Content]
    others: dict[str, bytes]
    """Further files, whole."""
    shared_bytes: int


@dataclass(frozen=True)
class Written:
    """What one rank has written and read back."""

    items: list[Any]  # Any: torch's WriteResult
    files: dict[str, FileRecord]


class CheckpointProcess:
    """Writes one job after the other in a process of its own, which dies with this one."""

    def __init__(self, backend: Backend | None = None) -> None:
        """backend: whose device may copy by itself to the memory that is shared, which is set up at
        the first save and again where a later one needs more; None: for a single save."""
        self._memory = SharedMemory(backend)
        self._progress = ctypes.c_uint64.from_buffer(mmap.mmap(-1, 8))
        self._is_busy = False
        self._start()

    @property
    def progress(self) -> int:
        """Items that were written or read back so far; grows during a job unless it hangs."""
        return self._progress.value

    def submit(
        self,
        folder: Path,
        name: str,
        contents: Sequence[tuple[Any, io.BytesIO | torch.Tensor]],
        others: dict[str, bytes],
    ) -> None:
        """Begins to write `contents` (torch's WriteItem and what it stands for) into the file
        `name`. They may be changed as soon as this returns."""
        if not self._process.is_running():
            self._start()
        places = iter(
            self._memory.put([data for _, data in contents if isinstance(data, torch.Tensor)])
        )
        listed = [
            Content(item, data.getvalue() if isinstance(data, io.BytesIO) else next(places))
            for item, data in contents
        ]
        job = Job(folder, name if listed else None, listed, others, self._memory.num_bytes)
        self._is_busy = True
        try:
            self._connection.send(job)
        except OSError:  # it was killed just now, which `result` will tell
            return

    def is_writing(self) -> bool:
        """Whether a job is not done yet; does not wait."""
        return self._is_busy and not self._connection.poll()

    def result(self) -> Written | CodemixError:
        """Waits for the end of the job; what was written, or what went wrong."""
        try:
            outcome: Written | CodemixError = self._connection.recv()
        except (EOFError, OSError):
            outcome = RetryableError(
                f"the process that writes checkpoints ended with exit code {self._process.wait()} "
                "(out of memory?)"
            )
        self._is_busy = False
        return outcome

    def close(self) -> None:
        """Ends it; what it has not finished stays unfinished."""
        self._process.kill()
        self._connection.close()
        self._memory.close()

    def _start(self) -> None:
        self._connection, other = Pipe()
        self._process = ForkedWork(lambda: _serve(other, self._memory.file, self._progress))
        other.close()


def _serve(connection: Connection, memory: int, progress: "ctypes.c_uint64") -> None:
    """The process: a job, its outcome, the next job."""
    torch.set_num_threads(1)  # OpenMP's threads are not in this process
    os.nice(_NICENESS)

    def advance() -> None:
        progress.value += 1

    while True:
        job: Job = connection.recv()
        try:
            connection.send(_write(job, memory, advance))
        except Exception as error:  # sent to the rank, which tells the others
            connection.send(readable_error(error, job.folder))


def _write(job: Job, memory: int, advance: Callable[[], None]) -> Written:
    files = {}
    for name, whole in job.others.items():
        (job.folder / name).write_bytes(whole)
        files[name] = FileRecord.of(job.folder / name)
    if job.name is None:
        return Written([], files)
    shared = mapped(memory, job.shared_bytes) if job.shared_bytes else None
    path, transforms = job.folder / job.name, _StorageWriterTransforms()
    expected = []
    with open(path, "wb") as stream:
        for content in job.contents:
            data = _data(shared, content)
            result = _write_item(
                transforms, stream, data, content.item, job.name, SerializationFormat.TORCH_SAVE
            )
            expected.append((data, result))  # of tensors a view, not a copy
            advance()
        stream.flush()
        os.fsync(stream.fileno())
    files[job.name] = _read_back(path, expected, advance)
    return Written([result for _, result in expected], files)


def _read_back(
    path: Path, expected: list[tuple[Any, Any]], advance: Callable[[], None]
) -> FileRecord:
    """The record of the file, from the disk, after every item in it is what it should be. Raises
    RetryableError."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        if hasattr(os, "posix_fadvise"):  # from the disk, not from memory
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for data, result in expected:
            stored = result.storage_data
            found = stream.read(stored.length)
            digest.update(found)
            if stream.tell() != stored.offset + stored.length or not _is_same(found, data):
                raise RetryableError(
                    f"{path}: {result.index.fqn} reads back different from what was written; the "
                    "disk or its memory may be failing"
                )
            advance()
        size = stream.tell()
    return FileRecord(size, digest.hexdigest())


def _is_same(found: bytes, data: io.BytesIO | torch.Tensor) -> bool:
    """Bit for bit: numbers that are no numbers equal themselves too."""
    if isinstance(data, io.BytesIO):
        return found == data.getvalue()
    loaded = torch.load(io.BytesIO(found), weights_only=True)
    return (
        loaded.dtype == data.dtype
        and loaded.shape == data.shape
        and torch.equal(bits_of(loaded), bits_of(data))
    )


def _data(shared: mmap.mmap | None, content: Content) -> io.BytesIO | torch.Tensor:
    if isinstance(content.data, bytes):
        return io.BytesIO(content.data)
    return tensor_at(shared, content.data)


def readable_error(error: BaseException, folder: Path) -> CodemixError:
    """The error that a user may see. torch's own writer says nothing of a full disk but "iostream
    error"."""
    if isinstance(error, CodemixError):
        return error
    no_space = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    place = folder if folder.exists() else folder.parent
    is_full = (
        isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    ) or shutil.disk_usage(place).free < PAGE_BYTES
    if is_full:
        readable = full_disk(no_space, folder)
        assert isinstance(readable, CodemixError), readable
        return readable
    return RetryableError(
        f"{folder}: cannot be saved ({type(error).__name__}: {error}); run the same command again"
    )
