"""Writes a checkpoint (megatron-core's torch_dist) while training goes on.

Planning is megatron-core's, spread over the data-parallel ranks. The writing is done here, by one
process forked from each rank: what it inherits is the state at the moment of the save, on a CPU
without a copy (the kernel copies the pages that training changes). megatron-core's own writer waits
for ever for a child that was killed, and starts a multiprocessing manager for each rank.

What was written is read back, item by item, and compared with the state in memory before it counts.
"""

import ctypes
import errno
import hashlib
import io
import mmap
import os
import pickle
import queue
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from megatron.core.dist_checkpointing.core import CheckpointingConfig, save_config
from megatron.core.dist_checkpointing.state_dict_utils import save_preprocess
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.dist_checkpointing.strategies.async_utils import AsyncRequest
from megatron.core.dist_checkpointing.strategies.fully_parallel import (
    FullyParallelSaveStrategyWrapper,
)
from megatron.core.dist_checkpointing.strategies.torch import TorchDistSaveShardedStrategy
from torch.distributed.checkpoint.filesystem import (
    FileSystemReader,
    SerializationFormat,
    _write_item,
)
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata

from megatron_codemix.checkpoints import FileRecord, write_marker
from megatron_codemix.errors import CodemixError, RetryableError
from megatron_codemix.files import full_disk
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.processes import ForkedWork

PAGE_BYTES = 4096
"""A disk with less than this free is full."""

COMMON_FILE = "common.pt"
"""What is the same on all ranks, under megatron-core's name for it."""

_NICENESS = 10
"""Of a writer: on a CPU the training comes first."""


@dataclass(frozen=True)
class _Written:
    """What one rank has written and read back."""

    items: list[Any]  # Any: torch's WriteResult
    files: dict[str, FileRecord]


class _Planned(TorchDistSaveShardedStrategy):
    """Plans a save as megatron-core does, and leaves the writing to the caller."""

    def __init__(self) -> None:
        super().__init__("torch_dist", 1, thread_count=1)
        self.writer: Any = None  # Any: megatron-core's FileSystemWriterAsync
        self.metadata: Metadata | None = None

    def _get_save_and_finalize_callbacks(self, writer: Any, save_state_dict_ret: Any) -> Any:
        self.writer, self.metadata = writer, save_state_dict_ret[1]
        return AsyncRequest(None, (), [])


class SaveInFlight:
    """A checkpoint that is being written by a process of each rank."""

    def __init__(
        self, folder: Path, record: Mapping[str, Any], parallel: ModelParallel, planned: _Planned
    ) -> None:
        self.folder, self.record, self.parallel = folder, dict(record), parallel
        self._planned = planned
        self._work: ForkedWork | None = None
        self._result = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the save
        self._progress = ctypes.c_uint64.from_buffer(mmap.mmap(-1, 8))

    def start(self, write: Callable[[Callable[[], None]], _Written]) -> None:
        """Forks the process that does it; `write` gets what to call after each item."""

        def work() -> None:
            torch.set_num_threads(1)  # OpenMP's threads are not in this process
            os.nice(_NICENESS)
            try:
                outcome: _Written | CodemixError = write(self._advance)
            except Exception as error:  # sent to the rank, which tells the others
                outcome = _readable(error, self.folder)
            pickle.dump(outcome, self._result)
            self._result.flush()

        self._work = ForkedWork(work)

    @property
    def progress(self) -> int:
        """Items that this rank's writer has written or read back; grows unless it hangs."""
        return self._progress.value

    def is_writing(self) -> bool:
        """Whether this rank's writer is still at work."""
        return self._work is not None and self._work.is_running()

    def finish(self) -> None:
        """Waits for the writers, checks the whole and writes the marker. Every rank calls it.

        Raises on every rank, after the folder is gone, UnavailableError if the disk is full,
        RetryableError if anything else went wrong.
        """
        outcomes: list[_Written | CodemixError | None] | None = None
        if self.parallel.rank == 0:
            outcomes = [None] * self.parallel.world_size
        torch.distributed.gather_object(self._outcome(), outcomes)
        run_on_rank_0(lambda: self._complete(outcomes or []), self.folder, self.parallel)

    def abandon(self) -> None:
        """Ends this rank's writer; what it has written stays without a marker."""
        if self._work is not None:
            self._work.kill()

    def _advance(self) -> None:
        self._progress.value += 1

    def _outcome(self) -> _Written | CodemixError:
        if self._work is None:  # nothing of the state is this rank's to write
            return _Written([], {})
        exit_code = self._work.wait()
        try:
            self._result.seek(0)
            outcome: _Written | CodemixError = pickle.load(self._result)
        except (EOFError, pickle.UnpicklingError):
            return RetryableError(
                f"{self.folder}: cannot be saved: the writer of rank {self.parallel.rank} ended "
                f"with exit code {exit_code} (out of memory?); run the same command again"
            )
        finally:
            self._result.close()
        return outcome

    def _complete(self, outcomes: list[_Written | CodemixError | None]) -> None:
        """On rank 0: torch_dist's own files, a look at the whole, the marker."""
        written = []
        for outcome in outcomes:
            if isinstance(outcome, CodemixError):
                raise outcome
            assert outcome is not None, "a rank has not told how its writer ended"
            written.append(outcome)
        self._planned.writer.finish(self._planned.metadata, [one.items for one in written])
        save_config(CheckpointingConfig("torch_dist", 1), str(self.folder))
        files = {name: file for one in written for name, file in one.files.items()}
        _require_all_items(self.folder, files)
        own = (".metadata", "metadata.json")
        files |= {name: FileRecord.of(self.folder / name) for name in own}
        write_marker(self.folder, self.record, files)


def start_save(
    folder: Path, state: dict[str, Any], record: Mapping[str, Any], parallel: ModelParallel
) -> SaveInFlight:
    """Begins to write `state` (megatron-core's sharded state) and, once it is whole, the marker
    with `record` in it. Every rank calls it, and later `finish`.

    The state may be changed as soon as this returns. Raises as `SaveInFlight.finish` does.
    """
    run_on_rank_0(lambda: _make_empty(folder), folder, parallel)
    sharded, common = save_preprocess(state)
    planned = _Planned()
    # Only asked for while planning; megatron-core would start a manager process for it.
    filesystem_async._results_queue = queue.SimpleQueue()
    FullyParallelSaveStrategyWrapper(planned, parallel.groups.dp_cp).async_save(sharded, folder)
    save = SaveInFlight(folder, record, parallel, planned)
    buckets = planned.writer.preload_tensors(planned.writer.write_buckets)
    planned.writer.write_buckets = None  # the forked process has them
    has_common = parallel.rank == 0
    if buckets or has_common:
        transforms = planned.writer.transforms
        common_bytes = _saved(common) if has_common else None
        save.start(lambda advance: _write(folder, buckets, common_bytes, transforms, advance))
    return save


def run_on_rank_0(action: Callable[[], object], folder: Path, parallel: ModelParallel) -> None:
    """What goes wrong in `action` is raised on every rank, with the folder gone. Every rank calls
    it."""
    error: list[CodemixError | None] = [None]
    if parallel.rank == 0:
        try:
            action()
        except Exception as caught:  # the other ranks wait for what is sent below
            error = [_readable(caught, folder)]
            shutil.rmtree(folder, ignore_errors=True)  # it is of no use, and its space is
    torch.distributed.broadcast_object_list(error)
    if error[0] is not None:
        raise error[0]


def _make_empty(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def _write(
    folder: Path, buckets: Any, common: bytes | None, transforms: Any, advance: Callable[[], None]
) -> _Written:
    """In the forked process."""
    items, files = [], {}
    if common is not None:
        (folder / COMMON_FILE).write_bytes(common)
        files[COMMON_FILE] = FileRecord.of(folder / COMMON_FILE)
    for path, name, (byte_items, tensors) in buckets:
        contents = [*byte_items, *tensors]
        expected = []
        with open(path, "wb") as stream:
            for item, content in contents:
                result = _write_item(
                    transforms, stream, content, item, name, SerializationFormat.TORCH_SAVE
                )
                expected.append((content, result))
                advance()
            stream.flush()
            os.fsync(stream.fileno())
        files[name] = _read_back(Path(path), expected, advance)
        items += [result for _, result in expected]
    return _Written(items, files)


def _read_back(
    path: Path, expected: list[tuple[Any, Any]], advance: Callable[[], None]
) -> FileRecord:
    """The record of the file, from the disk, after every item in it is what it should be. Raises
    RetryableError."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        if hasattr(os, "posix_fadvise"):  # from the disk, not from memory
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        for content, result in expected:
            stored = result.storage_data
            found = stream.read(stored.length)
            digest.update(found)
            if stream.tell() != stored.offset + stored.length or not _is_same(found, content):
                raise RetryableError(
                    f"{path}: {result.index.fqn} reads back different from what was written; the "
                    "disk or its memory may be failing"
                )
            advance()
        size = stream.tell()
    return FileRecord(size, digest.hexdigest())


def _is_same(found: bytes, content: io.BytesIO | torch.Tensor) -> bool:
    """Bit for bit: numbers that are no numbers equal themselves too."""
    if isinstance(content, io.BytesIO):
        return found == content.getvalue()
    loaded = torch.load(io.BytesIO(found), weights_only=True)
    return (
        loaded.dtype == content.dtype
        and loaded.shape == content.shape
        and torch.equal(_bits(loaded), _bits(content))
    )


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


def _require_all_items(folder: Path, files: Mapping[str, FileRecord]) -> None:
    """Raises RetryableError unless torch's list of contents, as read from the disk, has a place
    inside a file for every part of every tensor."""
    metadata = FileSystemReader(folder).read_metadata()
    assert metadata.storage_data is not None, folder
    for index, stored in metadata.storage_data.items():
        file = files.get(stored.relative_path)
        if file is None or stored.offset + stored.length > file.bytes:
            raise RetryableError(f"{folder}: {index.fqn} lies outside of the files written")
    placed = {(index.fqn, index.offset) for index in metadata.storage_data}
    for name, offset in _parts(metadata):
        if (name, offset) not in placed:
            raise RetryableError(f"{folder}: the part of {name} at {offset} was not written")


def _parts(metadata: Metadata) -> Iterator[tuple[str, torch.Size | None]]:
    for name, entry in metadata.state_dict_metadata.items():
        if isinstance(entry, TensorStorageMetadata):
            yield from ((name, chunk.offsets) for chunk in entry.chunks)
        else:
            yield name, None


def _readable(error: BaseException, folder: Path) -> CodemixError:
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
