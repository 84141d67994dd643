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

from megatron_codemix.checkpoints import FileRecord
from megatron_codemix.errors import CodemixError, RetryableError
from megatron_codemix.files import full_disk
from megatron_codemix.processes import ForkedWork

PAGE_BYTES = 4096
"""A disk with less than this free is full."""

_NICENESS = 10
"""On a CPU the training comes first."""

_ALIGNMENT = 64


@dataclass(frozen=True)
class Content:
    """What is to be written as one item: bytes, or a tensor in the shared memory."""

    item: Any  # Any: torch's WriteItem
    data: bytes | None = None
    offset: int = 0
    shape: tuple[int, ...] = ()
    dtype: torch.dtype | None = None


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

    def __init__(self) -> None:
        self._memory = os.memfd_create("codemix-checkpoint")
        self._shared: mmap.mmap | None = None
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
        size = sum(_room(data) for _, data in contents)
        if size > len(self._shared or b""):  # a rank may have nothing but small objects to write
            os.ftruncate(self._memory, size)
            self._shared = _mapped(self._memory, size)
        listed, offset = [], 0
        for item, data in contents:
            if isinstance(data, io.BytesIO):
                listed.append(Content(item, data=data.getvalue()))
                continue
            content = Content(item, offset=offset, shape=tuple(data.shape), dtype=data.dtype)
            _tensor(self._shared, content).copy_(data)
            listed.append(content)
            offset += _room(data)
        job = Job(folder, name if listed else None, listed, others, len(self._shared or b""))
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
        os.close(self._memory)

    def _start(self) -> None:
        self._connection, other = Pipe()
        self._process = ForkedWork(lambda: _serve(other, self._memory, self._progress))
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
    shared = _mapped(memory, job.shared_bytes) if job.shared_bytes else None
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
        and torch.equal(_bits(loaded), _bits(data))
    )


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def _mapped(memory: int, size: int) -> mmap.mmap:
    return mmap.mmap(memory, size, flags=mmap.MAP_SHARED)


def _room(data: io.BytesIO | torch.Tensor) -> int:
    """Bytes of the shared memory that it takes."""
    if isinstance(data, io.BytesIO):
        return 0
    size = max(1, data.numel() * data.element_size())
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _data(shared: mmap.mmap | None, content: Content) -> io.BytesIO | torch.Tensor:
    if content.data is not None:
        return io.BytesIO(content.data)
    return _tensor(shared, content)


def _tensor(shared: mmap.mmap | None, content: Content) -> torch.Tensor:
    assert shared is not None, content.item
    assert content.dtype is not None, content.item
    count = torch.Size(content.shape).numel()
    if count == 0:
        return torch.empty(content.shape, dtype=content.dtype)
    flat = torch.frombuffer(shared, dtype=content.dtype, count=count, offset=content.offset)
    return flat.view(content.shape)


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
