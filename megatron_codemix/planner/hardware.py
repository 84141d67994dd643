"""GPUs and networks as their makers describe them (`tables/gpus.yaml`, `tables/networks.yaml`)."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import yaml

from megatron_codemix.errors import ConfigError

Row = TypeVar("Row")

GPU_OF_DEVICE = {
    "NVIDIA H100 80GB HBM3": "h100",
    "NVIDIA H100 PCIe": "h100-pcie",
    "NVIDIA H200": "h200",
    "NVIDIA A100-SXM4-80GB": "a100",
    "NVIDIA A100-SXM4-40GB": "a100-40gb",
    "NVIDIA B200": "b200",
}
"""What the driver calls a GPU -> its name in the planner's table."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """Peaks of one GPU. Operations are counted without sparsity."""

    name: str
    """As `--gpu` takes it."""
    title: str
    compute_capability: tuple[int, int]
    """Decides which of FP8's recipes it can run."""
    multiprocessors: int
    fp32_flops: float
    """Operations a second in fp32, without tensor cores."""
    bf16_flops: float
    """Operations a second in bf16."""
    fp8_flops: float | None
    """The same in FP8; None where the GPU has none."""
    memory_bytes: int
    """What PyTorch finds on it, a little less than its name says."""
    memory_bandwidth: float
    """Bytes a second between its memory and its processors."""
    nvlink_bandwidth: float
    """Bytes a second in one direction to the other GPUs of its node."""
    power_watts: float
    """Largest power that it is allowed."""
    network: str
    """The network of the maker's own machine with this GPU."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Network:
    """What joins the nodes."""

    name: str
    """As `--network` takes it."""
    title: str
    bandwidth: float
    """Bytes a second in one direction for each GPU, all of a node's GPUs at once."""
    latency_seconds: float
    """From one GPU to another on another node, smallest message."""
    source: str


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Nodes of equal GPUs behind one network."""

    gpu: Gpu
    gpus_per_node: int
    network: Network


def make_cluster(gpu: str, gpus_per_node: int = 8, network: str | None = None) -> Cluster:
    """The cluster of these names; without `network`, the one of the maker's own machine.

    Raises ConfigError if the tables lack one of them.
    """
    if gpus_per_node < 1:
        raise ConfigError([f"--gpus-per-node: at least 1, not {gpus_per_node}"])
    found = find_gpu(gpu)
    joined_by = find_network(network or found.network)
    return Cluster(gpu=found, gpus_per_node=gpus_per_node, network=joined_by)


def find_gpu(name: str) -> Gpu:
    """The GPU of this name. Raises ConfigError with those that there are."""
    return _find(name, gpus(), "GPU", "gpus.yaml")


def find_network(name: str) -> Network:
    """The network of this name. Raises ConfigError with those that there are."""
    return _find(name, networks(), "network", "networks.yaml")


@cache
def gpus() -> Mapping[str, Gpu]:
    """All GPUs of the table, by name."""
    return {name: _gpu(name, **row) for name, row in read_table("gpus.yaml").items()}


@cache
def networks() -> Mapping[str, Network]:
    """All networks of the table, by name."""
    return {name: Network(name=name, **row) for name, row in read_table("networks.yaml").items()}


def read_table(name: str) -> dict[str, Any]:  # Any: YAML values
    """One of the tables that come with the planner."""
    text = files("megatron_codemix.planner").joinpath("tables", name).read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def _gpu(name: str, *, compute_capability: tuple[int, int], **row: Any) -> Gpu:  # Any: YAML values
    major, minor = compute_capability
    return Gpu(name=name, compute_capability=(major, minor), **row)


def _find(name: str, table: Mapping[str, Row], kind: str, file: str) -> Row:
    wanted = name.lower().replace("_", "-").replace(" ", "-")
    if wanted in table:
        return table[wanted]
    alike = difflib.get_close_matches(wanted, table, n=1, cutoff=0.5)
    hint = f"did you mean '{alike[0]}'? " if alike else ""
    raise ConfigError(
        [f"no {kind} '{name}' in the planner's table; {hint}There are: {', '.join(table)} ({file})"]
    )
