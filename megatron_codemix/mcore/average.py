"""Weighted means of checkpoints' weights (model soups, and merging as a substitute for decay)."""

import contextlib
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from megatron.core import dist_checkpointing
from megatron.core.dist_checkpointing.mapping import ShardedObject, ShardedTensor
from megatron.core.dist_checkpointing.serialization import load_sharded_metadata

from megatron_codemix.checkpoints import refusing_damage
from megatron_codemix.errors import RunError
from megatron_codemix.mcore.background_save import start_save
from megatron_codemix.mcore.checkpoint import require_whole
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.groups import ModelParallel

_OPTIMIZER = "optimizer."


def average_weights(
    folders: Sequence[Path],
    weights: Sequence[float],
    out: Path,
    record: dict[str, Any],
    parallel: ModelParallel,
    advance: Callable[[int], None],
) -> None:
    """Writes a checkpoint with sum(weight * tensor) / sum(weights) of every tensor of the models,
    added up in fp64, in the order given, in the number format of the last; without an optimizer's
    state. One process; twice the model in fp64 must fit into its memory.

    advance: told of each checkpoint that is read.

    Raises RunError where one is damaged, or the models are not alike.
    """
    places = [_model_places(folder) for folder in folders]
    _require_alike(folders, [_shapes(found) for found in places])
    sums: dict[str, torch.Tensor] = {}
    loaded: dict[str, Any] = {}
    for folder, weight, found in zip(folders, weights, places, strict=True):
        with refusing_damage(folder):
            require_whole(folder)
        with warnings.catch_warnings():
            # torch deprecates the function by which megatron-core reads.
            warnings.simplefilter("ignore", FutureWarning)
            loaded = dist_checkpointing.load(found, str(folder), validate_access_integrity=False)
        for name in _shapes(found):
            term = loaded[name].double().mul_(weight)
            sums[name] = sums[name].add_(term) if name in sums else term
        advance(1)
    # Places are used up by loading: their tensors are what was loaded.
    state = {
        name: _filled(place, sums, sum(weights), loaded)
        for name, place in _model_places(folders[-1]).items()
    }
    full_record = {**record, "distributed_optimizer": None}
    with contextlib.closing(CheckpointProcess()) as process:
        save = start_save(
            out, {"model": state}, full_record, parallel, process, is_replicated=False
        )
        save.finish()


def _model_places(folder: Path) -> dict[str, ShardedTensor | ShardedObject]:
    metadata: dict[str, Any] = load_sharded_metadata(str(folder))
    return {name: place for name, place in metadata.items() if not name.startswith(_OPTIMIZER)}


def _shapes(places: dict[str, ShardedTensor | ShardedObject]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(place.global_shape)
        for name, place in places.items()
        if isinstance(place, ShardedTensor)
    }


def _require_alike(folders: Sequence[Path], shapes: Sequence[dict[str, tuple[int, ...]]]) -> None:
    first = shapes[0]
    for folder, found in zip(folders[1:], shapes[1:], strict=True):
        for name in sorted(first.keys() | found.keys()):
            if first.get(name) != found.get(name):
                raise RunError(
                    f"{folder}: {name} is {_text(found.get(name))}, in {folders[0]} it is "
                    f"{_text(first.get(name))}; only checkpoints of the same model can be averaged"
                )


def _text(shape: tuple[int, ...] | None) -> str:
    return "absent" if shape is None else " x ".join(map(str, shape))


def _filled(
    place: ShardedTensor | ShardedObject,
    sums: dict[str, torch.Tensor],
    total: float,
    loaded: dict[str, Any],
) -> ShardedTensor | ShardedObject:
    if isinstance(place, ShardedObject):
        return replace(place, data=loaded[place.unique_key])
    return replace(place, data=sums[place.key].div_(total).to(place.dtype))
