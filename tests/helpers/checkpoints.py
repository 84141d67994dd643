"""Reads a sharded checkpoint without megatron-core, to compare it bit for bit with another."""

import warnings
from pathlib import Path

import torch
from torch.distributed import checkpoint as torch_checkpoint
from torch.distributed.checkpoint.metadata import TensorStorageMetadata


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint, whole, by its name in it."""
    reader = torch_checkpoint.FileSystemReader(folder)
    entries = reader.read_metadata().state_dict_metadata
    tensors = {
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in entries.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that there is no process group; so it is
        torch_checkpoint.load(tensors, storage_reader=reader, no_dist=True)
    return tensors


def differing_tensors(first: Path, second: Path) -> list[str]:
    """Names of the tensors that are not equal bit for bit, or that only one of the two has."""
    one, other = read_tensors(first), read_tensors(second)
    assert one, f"{first} holds no tensors"
    return [
        name
        for name in sorted({*one, *other})
        if name not in one or name not in other or not torch.equal(one[name], other[name])
    ]
