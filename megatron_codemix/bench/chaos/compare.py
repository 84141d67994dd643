"""Whether two runs ended alike, bit for bit."""

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load

from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory

TIMINGS = ("time/", "throughput/")
"""Beginnings of the names of metrics that no two runs share."""

LOSS_TOLERANCE = 1e-5
"""Nats by which other layouts may differ, in fp32."""


def differences(first: RunDirectory, second: RunDirectory, step: int) -> list[str]:
    """What is not equal: tensors and other values of the checkpoint after `step`, ledger, metrics
    without timings."""
    folders = first.checkpoint(step), second.checkpoint(step)
    found = [f"tensor {name}" for name in differing_tensors(*folders)]
    found += differing_values(*folders)
    if first.ledger.read_bytes() != second.ledger.read_bytes():
        found.append("ledger.jsonl")
    one, other = (_comparable(run.metrics) for run in (first, second))
    found += [
        f"metrics.jsonl, line {number}"
        for number, (left, right) in enumerate(zip(one, other, strict=False), start=1)
        if left != right
    ]
    if len(one) != len(other):
        found.append(f"metrics.jsonl has {len(one)} and {len(other)} lines")
    return found


def differences_of_layouts(first: RunDirectory, second: RunDirectory) -> list[str]:
    """What is not equal between runs of one training in different layouts, where rounding may
    differ: samples read and tokens that counted, of each source at every checkpoint; losses of any
    step beyond LOSS_TOLERANCE."""
    one, other = (
        [_without_losses(line) for line in read_jsonl(run.ledger)] for run in (first, second)
    )
    found = [
        f"ledger.jsonl, line {number}"
        for number, (left, right) in enumerate(zip(one, other, strict=False), start=1)
        if left != right
    ]
    if len(one) != len(other):
        found.append(f"ledger.jsonl has {len(one)} and {len(other)} lines")
    steps = [
        [(line["step"], line["tokens"]) for line in read_jsonl(run.metrics)]
        for run in (first, second)
    ]
    if steps[0] != steps[1]:
        return [*found, "metrics.jsonl has other steps"]
    if (apart := largest_loss_difference(first, second)) > LOSS_TOLERANCE:
        found.append(f"losses are {apart:.1e} nats apart")
    return found


def largest_loss_difference(first: RunDirectory, second: RunDirectory) -> float:
    """Of the same step, in nats."""
    losses = (
        [line["loss/train_nats"] for line in read_jsonl(run.metrics)] for run in (first, second)
    )
    return max((abs(one - other) for one, other in zip(*losses, strict=False)), default=0.0)


def _without_losses(line: dict[str, Any]) -> dict[str, Any]:
    sources = {
        name: {key: value for key, value in source.items() if key not in ("nats", "loss_nats")}
        for name, source in line["sources"].items()
    }
    return line | {"sources": sources}


def differing_tensors(first: Path, second: Path) -> list[str]:
    """Names of the tensors of two checkpoints that are not equal, or that only one has."""
    one, other = read_tensors(first), read_tensors(second)
    assert one, f"{first} holds no tensors"
    return [
        name
        for name in sorted({*one, *other})
        if name not in one or name not in other or not torch.equal(one[name], other[name])
    ]


def differing_values(first: Path, second: Path) -> list[str]:
    """Places in what two checkpoints hold beside sharded tensors that are not equal, or that only
    one has: the optimizer's groups and its count of steps."""
    one, other = (dict(_leaves(_read_common(folder), "common")) for folder in (first, second))
    return [
        place
        for place in sorted({*one, *other})
        if place not in one or place not in other or not _are_equal(one[place], other[place])
    ]


def _read_common(folder: Path) -> Any:
    """What megatron-core keeps in a file of its own; None where a checkpoint has none."""
    path = folder / "common.pt"
    # Its own checkpoints, which this process would load as well.
    return torch.load(path, map_location="cpu", weights_only=False) if path.exists() else None


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Keys and places in lists are in brackets."""
    if isinstance(value, Mapping | list | tuple) and value:
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, below in parts:
            yield from _leaves(below, f"{place}[{key!r}]")
    else:
        yield place, value


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    # As text, in which a float has all its bits and no number equals another by NaN's rules.
    return type(one) is type(other) and repr(one) == repr(other)


def _comparable(path: Path) -> list[dict[str, object]]:
    return [
        {name: value for name, value in line.items() if not name.startswith(TIMINGS)}
        for line in read_jsonl(path)
    ]


def read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, whole, by its name in it: weights and optimizer state."""
    reader = FileSystemReader(folder)
    tensors: dict[str, Any] = {  # Any: what torch's loader wants
        name: torch.empty(entry.size, dtype=entry.properties.dtype)
        for name, entry in reader.read_metadata().state_dict_metadata.items()
        if isinstance(entry, TensorStorageMetadata)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that there is no process group; so it is
        load(tensors, storage_reader=reader, no_dist=True)
    return tensors
