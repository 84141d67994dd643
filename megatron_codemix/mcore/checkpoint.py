"""Sharded checkpoints (megatron-core's torch_dist): written by all ranks, read back in any layout.

A checkpoint is complete only once `complete.json` stands in it, written last by rank 0; whatever
else lies in the folder before that is a remnant of a save that was cut short, and the next save of
the same step replaces it. Before anything is loaded, all files are compared with their hashes.
"""

import contextlib
import inspect
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from megatron.core import dist_checkpointing
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import ChainedOptimizer, MegatronOptimizer
from torch.distributed.checkpoint.api import CheckpointException

from megatron_codemix.checkpoints import (
    DamagedCheckpointError,
    Marker,
    changed_files,
    files_of,
    read_marker,
)
from megatron_codemix.errors import RunError
from megatron_codemix.mcore.background_save import SaveInFlight, start_save
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.engine.extra_states import of_linear_layers, understood
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import Model, finish_update, gpt_of
from megatron_codemix.mcore.optimizer_state import owned_state, places_of_state

# torch's CheckpointException is a BaseException and holds the errors of all ranks.
_LOAD_ERRORS = (
    OSError,
    EOFError,
    RuntimeError,
    pickle.UnpicklingError,
    dist_checkpointing.core.CheckpointingException,
    CheckpointException,
)

# The optimizer's state as whole tensors, readable in any tensor, pipeline and data-parallel size;
# megatron-core's default can only change the data-parallel size.
_CONTENT = {"distrib_optim_sharding_type": "fully_reshardable"}


def begin_save(
    folder: Path,
    model: Sequence[DistributedDataParallel],
    optimizer: MegatronOptimizer,
    record: Mapping[str, Any],
    parallel: ModelParallel,
    process: CheckpointProcess,
) -> SaveInFlight:
    """Begins to write weights and optimizer state, then the marker with `record` in it; training
    may go on at once. Every rank calls it, and later `finish` of what it returns."""
    is_distributed = optimizer.config.use_distributed_optimizer
    finish_update(model)
    state = sharded_weights(model)
    if is_distributed:
        state["optimizer"] = owned_state(optimizer, state, _CONTENT)
    else:
        # `is_loading` makes moments where there are none before the first step: zeros, as a step.
        state["optimizer"] = optimizer.sharded_state_dict(state, is_loading=True, metadata=_CONTENT)
    return start_save(
        folder,
        state | {"content_metadata": _CONTENT},
        {**record, "distributed_optimizer": is_distributed},
        parallel,
        process,
        is_replicated=not is_distributed,
    )


def save_checkpoint(
    folder: Path,
    model: Sequence[DistributedDataParallel],
    optimizer: MegatronOptimizer,
    record: Mapping[str, Any],
    parallel: ModelParallel,
) -> None:
    """Writes weights and optimizer state, then the marker with `record` in it. Every rank calls it.

    Raises on every rank UnavailableError if the disk is full, RetryableError if anything else goes
    wrong; nothing incomplete is then taken for whole.
    """
    with contextlib.closing(CheckpointProcess()) as process:
        begin_save(folder, model, optimizer, record, parallel, process).finish()


def load_checkpoint(
    folder: Path,
    model: Sequence[DistributedDataParallel],
    optimizer: MegatronOptimizer,
    *,
    with_state: bool,
) -> Marker:
    """Reads weights and, `with_state`, the optimizer's moments and step count into this layout; the
    record that was saved with them. Every rank calls it.

    Raises as `require_whole` does, and RunError where the state is of another kind of optimizer.
    """
    record = require_whole(folder)
    state = sharded_weights(model)
    if with_state:
        _require_same_optimizer(folder, record, optimizer)
        is_distributed = optimizer.config.use_distributed_optimizer
        state["optimizer"] = (
            places_of_state(optimizer, state, _CONTENT)
            if is_distributed
            else optimizer.sharded_state_dict(state, is_loading=True, metadata=_CONTENT)
        )
    loaded = _load(state, folder)
    _set_weights(model, loaded)
    if with_state:
        with torch.no_grad():
            optimizer.load_state_dict(loaded["optimizer"])
        _complete_groups(optimizer)
    else:
        optimizer.reload_model_params()
    return record


def _complete_groups(optimizer: ChainedOptimizer) -> None:
    """Gives groups what this optimizer reads from them and the checkpoint had not: megatron-core
    puts those that were saved in their place, and Transformer Engine's Adam looks in each for
    `bias_correction`, which ours does not write. What is there stays."""
    for part in optimizer.chained_optimizers:
        if part.is_stub_optimizer:
            continue
        # Of its defaults those that it is made with: torch adds `differentiable` whenever it loads,
        # and a run that was resumed would save more than one that was not.
        arguments = inspect.signature(type(part.optimizer).__init__).parameters
        defaults = part.optimizer.defaults
        own = {name: defaults[name] for name in defaults if name in arguments}
        for group in part.optimizer.param_groups:
            for name, value in own.items():
                group.setdefault(name, value)


def load_weights(folder: Path, model: Sequence[Model]) -> None:
    """Reads the weights alone into a model without an optimizer. Every rank calls it. Raises as
    `require_whole` does."""
    require_whole(folder)
    _set_weights(model, _load(sharded_weights(model), folder))


def sharded_weights(model: Sequence[Model | DistributedDataParallel]) -> dict[str, Any]:
    """State of each model chunk. The names in the file are those of the whole model's layers, so a
    checkpoint does not know how it was cut, nor whose layers they were."""
    return {
        f"model{number}": of_linear_layers(gpt_of(chunk).sharded_state_dict())
        for number, chunk in enumerate(model)
    }


def _set_weights(model: Sequence[Model | DistributedDataParallel], loaded: dict[str, Any]) -> None:
    for number, chunk in enumerate(model):
        gpt = gpt_of(chunk)
        gpt.load_state_dict(understood(loaded[f"model{number}"], gpt), strict=True)


def require_whole(folder: Path) -> Marker:
    """The record of a checkpoint, all of whose files are what was written; each rank reads its part
    of them. Every rank calls it.

    Raises on every rank RunError if it is incomplete, DamagedCheckpointError with all that is wrong
    if it is damaged.
    """
    rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    found: RunError | None = None
    record: Marker = {}
    try:
        record = read_marker(folder)
        names = sorted(files_of(record))[rank::world_size]
        problems = changed_files(folder, {name: files_of(record)[name] for name in names})
        found = DamagedCheckpointError("\n".join(problems)) if problems else None
    except RunError as error:
        found = error
    everywhere: list[RunError | None] = [None] * world_size
    torch.distributed.all_gather_object(everywhere, found)
    errors = [error for error in everywhere if error is not None]
    if errors:
        raise type(errors[0])("\n".join(dict.fromkeys(str(error) for error in errors)))
    return record


def _load(state: dict[str, Any], folder: Path) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = dist_checkpointing.load(state, str(folder))
    except _LOAD_ERRORS as error:
        raise RunError(
            f"{folder}: cannot be loaded ({type(error).__name__}: {error}); its files are what was "
            "written, so this model or layout may not be the one that it was made for"
        ) from error
    return loaded


def _require_same_optimizer(folder: Path, record: Marker, optimizer: MegatronOptimizer) -> None:
    written = record["distributed_optimizer"]
    if written is None:
        raise RunError(f"{folder}: has weights alone, no optimizer's state; use load: weights")
    if written != optimizer.config.use_distributed_optimizer:
        raise RunError(
            f"{folder}: its optimizer state was written with "
            f"layout.distributed_optimizer={str(written).lower()}, which "
            "megatron-core stores differently; use the same setting"
        )
