"""Saves a checkpoint (megatron-core's torch_dist) while training goes on.

Planning and format are megatron-core's; a process of each rank (checkpoint_writer.py) writes and
reads back. megatron-core's own writer waits for ever for a child that was killed, and starts a
multiprocessing manager for each rank.
"""

import io
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from megatron.core.dist_checkpointing.core import CheckpointingConfig, save_config
from megatron.core.dist_checkpointing.state_dict_utils import save_preprocess
from megatron.core.dist_checkpointing.strategies.filesystem_async import FileSystemWriterAsync
from megatron.core.dist_checkpointing.strategies.fully_parallel import (
    FullyParallelSaveStrategyWrapper,
)
from megatron.core.dist_checkpointing.strategies.state_dict_saver import save_state_dict_async_plan
from megatron.core.dist_checkpointing.strategies.torch import (
    MCoreSavePlanner,
    TorchDistSaveShardedStrategy,
    _replace_state_dict_keys_with_sharded_keys,
    mcore_to_pyt_state_dict,
)
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import WriteItemType

from megatron_codemix.checkpoints import FileRecord, write_marker
from megatron_codemix.errors import CodemixError, RetryableError
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess, Written, readable_error
from megatron_codemix.mcore.groups import ModelParallel

COMMON_FILE = "common.pt"
"""What is the same on all ranks, under megatron-core's name for it."""

_FORMAT = ("torch_dist", 1)


class _Planned(FileSystemWriterAsync):
    """Keeps what this rank is to write, where megatron-core's would copy it."""

    contents: list[tuple[Any, io.BytesIO | torch.Tensor]]
    metadata: Metadata | None = None

    def prepare_write_data(self, plan: Any, planner: Any) -> None:
        self.file_name = f"{plan.storage_data.prefix}0.distcp"
        self.contents = [(item, planner.resolve_data(item)) for item in plan.items]


class SaveInFlight:
    """A checkpoint that is being written by the processes of all ranks."""

    def __init__(
        self,
        folder: Path,
        record: Mapping[str, Any],
        parallel: ModelParallel,
        planned: _Planned,
        process: CheckpointProcess,
    ) -> None:
        self.folder, self.record, self.parallel = folder, dict(record), parallel
        self._planned, self._process = planned, process

    @property
    def progress(self) -> int:
        """Items that this rank's process has written or read back; grows unless it hangs."""
        return self._process.progress

    def is_writing(self) -> bool:
        """Whether this rank's process is still at work."""
        return self._process.is_writing()

    def finish(self) -> None:
        """Waits for the processes, checks the whole and writes the marker. Every rank calls it.

        Raises on every rank, after the folder is gone, UnavailableError if the disk is full,
        RetryableError if anything else went wrong.
        """
        outcomes: list[Written | CodemixError | None] | None = None
        if self.parallel.rank == 0:
            outcomes = [None] * self.parallel.world_size
        torch.distributed.gather_object(self._process.result(), outcomes)
        run_on_rank_0(lambda: self._complete(outcomes or []), self.folder, self.parallel)

    def _complete(self, outcomes: list[Written | CodemixError | None]) -> None:
        """On rank 0: torch_dist's own files, a look at the whole, the marker."""
        written = []
        for rank, outcome in enumerate(outcomes):
            if isinstance(outcome, CodemixError):
                raise type(outcome)(f"rank {rank}: {outcome}")
            assert outcome is not None, "a rank has not told how its process ended"
            written.append(outcome)
        self._planned.finish(self._planned.metadata, [one.items for one in written])
        save_config(CheckpointingConfig(*_FORMAT), str(self.folder))
        files = {name: file for one in written for name, file in one.files.items()}
        _require_all_items(self.folder, files)
        own = (".metadata", "metadata.json")
        files |= {name: FileRecord.of(self.folder / name) for name in own}
        write_marker(self.folder, self.record, files)


def start_save(
    folder: Path,
    state: dict[str, Any],
    record: Mapping[str, Any],
    parallel: ModelParallel,
    process: CheckpointProcess,
    *,
    is_replicated: bool,
) -> SaveInFlight:
    """Begins to write `state` (megatron-core's sharded state) and, once it is whole, the marker
    with `record` in it. Every rank calls it, and later `finish`.

    The state may be changed as soon as this returns.
    is_replicated: whether the state still names the first data-parallel rank as the writer of all;
        then the work is spread over them.
    Raises as `SaveInFlight.finish` does.
    """
    run_on_rank_0(lambda: _make_empty(folder), folder, parallel)
    sharded, common = save_preprocess(state)
    if is_replicated:
        strategy = TorchDistSaveShardedStrategy(*_FORMAT)
        wrapper = FullyParallelSaveStrategyWrapper(strategy, parallel.groups.dp_cp)
        wrapper.apply_saving_parallelization(sharded)
    planned = _plan(sharded, folder)
    others = {COMMON_FILE: _saved(common)} if parallel.rank == 0 else {}
    process.submit(folder, planned.file_name, _bytes_first(planned.contents), others)
    planned.contents = []  # the process has them
    return SaveInFlight(folder, record, parallel, planned, process)


def run_on_rank_0(action: Callable[[], object], folder: Path, parallel: ModelParallel) -> None:
    """What goes wrong in `action` is raised on every rank, with the folder gone. Every rank calls
    it."""
    error: list[CodemixError | None] = [None]
    if parallel.rank == 0:
        try:
            action()
        except Exception as caught:  # the other ranks wait for what is sent below
            error = [readable_error(caught, folder)]
            shutil.rmtree(folder, ignore_errors=True)  # it is of no use, and its space is
    torch.distributed.broadcast_object_list(error)
    if error[0] is not None:
        raise error[0]


def _plan(sharded: dict[str, Any], folder: Path) -> _Planned:
    """As TorchDistSaveShardedStrategy.async_save, up to the writing. Every rank calls it."""
    flat, _, _ = _replace_state_dict_keys_with_sharded_keys(sharded, keep_only_main_replica=True)
    planned = _Planned(folder, thread_count=1)
    (_, planned.metadata, _), *_ = save_state_dict_async_plan(
        mcore_to_pyt_state_dict(flat, False),
        planned,
        planner=MCoreSavePlanner(dedup_replicated_tensors=False, flatten_state_dict=False),
    )
    return planned


def _bytes_first(
    contents: list[tuple[Any, io.BytesIO | torch.Tensor]],
) -> list[tuple[Any, io.BytesIO | torch.Tensor]]:
    return sorted(contents, key=lambda content: content[0].type != WriteItemType.BYTE_IO)


def _make_empty(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


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
