"""Sharded checkpoints (megatron-core's torch_dist): written by all ranks, read back in any layout.

A checkpoint is complete only once `complete.json` stands in it, written last by rank 0; whatever
else lies in the folder before that is a remnant of a save that was cut short, and the next save of
the same step replaces it.
"""

import errno
import os
import pickle
import queue
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.strategies import filesystem_async
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer
from torch.distributed.checkpoint.api import CheckpointException

from megatron_codemix.errors import RunError
from megatron_codemix.files import full_disk, read_json, write_json
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import Model, finish_update, gpt_of
from megatron_codemix.runs import COMPLETE_MARKER

# torch's CheckpointException is a BaseException and holds the errors of all ranks.
_LOAD_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    dist_checkpointing.core.CheckpointingException,
    CheckpointException,
)

PAGE_BYTES = 4096
"""A disk with less than this free is full."""

# The optimizer's state as whole tensors, readable in any tensor, pipeline and data-parallel size;
# megatron-core's default can only change the data-parallel size.
_CONTENT = {"distrib_optim_sharding_type": "fully_reshardable"}


def save_checkpoint(
    folder: Path,
    model: Sequence[DistributedDataParallel],
    optimizer: MegatronOptimizer,
    record: dict[str, Any],
    parallel: ModelParallel,
) -> None:
    """Writes weights and optimizer state, then the marker with `record` in it. Every rank calls it.

    Raises UnavailableError on every rank if the disk is full on one; nothing incomplete is then
    taken for whole.
    """
    if parallel.rank == 0:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    torch.distributed.barrier()
    # A save in the foreground passes its results within one process; megatron-core would start a
    # multiprocessing.Manager for them, which costs seconds for each rank.
    filesystem_async._results_queue = queue.SimpleQueue()
    state = _sharded_state(model, optimizer, is_loading=False)
    try:
        dist_checkpointing.save(state, str(folder), content_metadata=_CONTENT)
    except (OSError, RuntimeError, CheckpointException) as error:
        readable = _as_full_disk(error, folder)
        shutil.rmtree(folder, ignore_errors=True)  # it is of no use, and its space is
        raise readable from error
    if parallel.rank == 0:
        write_json(folder / COMPLETE_MARKER, {**record, "file_bytes": _file_sizes(folder)})
    torch.distributed.barrier()


def load_checkpoint(
    folder: Path,
    model: Sequence[DistributedDataParallel],
    optimizer: MegatronOptimizer,
    *,
    with_state: bool,
) -> None:
    """Reads weights and, `with_state`, the optimizer's moments and step count into this layout.
    Every rank calls it."""
    state = (
        _sharded_state(model, optimizer, is_loading=True) if with_state else sharded_weights(model)
    )
    loaded = _load(state, folder)
    _set_weights(model, loaded)
    if with_state:
        with torch.no_grad():
            optimizer.load_state_dict(loaded["optimizer"])
    else:
        optimizer.reload_model_params()


def load_weights(folder: Path, model: Sequence[Model]) -> None:
    """Reads the weights alone into a model without an optimizer. Every rank calls it."""
    _set_weights(model, _load(sharded_weights(model), folder))


def sharded_weights(model: Sequence[Model | DistributedDataParallel]) -> dict[str, Any]:
    """State of each model chunk. The names in the file are those of the whole model's layers, so a
    checkpoint does not know how it was cut."""
    return {
        f"model{number}": gpt_of(chunk).sharded_state_dict() for number, chunk in enumerate(model)
    }


def _set_weights(model: Sequence[Model | DistributedDataParallel], loaded: dict[str, Any]) -> None:
    for number, chunk in enumerate(model):
        gpt_of(chunk).load_state_dict(loaded[f"model{number}"], strict=True)


def read_marker(folder: Path) -> dict[str, Any]:
    """The record of a complete checkpoint. Raises RunError if it is incomplete or damaged."""
    try:
        record: dict[str, Any] = read_json(folder / COMPLETE_MARKER)
    except FileNotFoundError:
        raise RunError(
            f"{folder}: not a complete checkpoint (no {COMPLETE_MARKER} in it)"
        ) from None
    except ValueError as error:
        raise RunError(
            f"{folder / COMPLETE_MARKER}: not readable ({error}); delete the folder and the run "
            "goes on from the checkpoint before"
        ) from error
    if _file_sizes(folder) != record["file_bytes"]:
        raise RunError(
            f"{folder}: files are missing or have another size than when they were written; "
            "restore them, or delete the folder and the run goes on from the checkpoint before"
        )
    return record


def _file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of every file but the marker."""
    return {
        path.name: path.stat().st_size
        for path in sorted(folder.iterdir())
        if path.name != COMPLETE_MARKER
    }


def _as_full_disk(error: BaseException, folder: Path) -> Exception:
    """The readable error where the disk is full: other ranks' errors come as text, and torch's own
    writer says nothing but "iostream error"."""
    no_space = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    is_full = str(no_space.strerror) in str(error) or shutil.disk_usage(folder).free < PAGE_BYTES
    if is_full:
        return full_disk(no_space, folder)
    # torch's CheckpointException is no Exception and would pass every handler on the way out.
    return error if isinstance(error, Exception) else RuntimeError(f"{folder}: {error}")


def _sharded_state(
    model: Sequence[DistributedDataParallel], optimizer: MegatronOptimizer, *, is_loading: bool
) -> dict[str, Any]:
    if not is_loading:
        finish_update(model)
    state = sharded_weights(model)
    state["optimizer"] = optimizer.sharded_state_dict(
        state, is_loading=is_loading, metadata=_CONTENT
    )
    return state


def _load(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    read_marker(folder)
    try:
        loaded: dict[str, Any] = dist_checkpointing.load(state, str(folder))
    except _LOAD_ERRORS as error:
        raise RunError(
            f"{folder}: cannot be loaded ({type(error).__name__}: {error}); if files in it are "
            "damaged, delete the folder and the run goes on from the checkpoint before"
        ) from error
    return loaded
