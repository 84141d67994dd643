"""How long collectives take between the ranks of a group, and what their links carry."""

from dataclasses import dataclass

from megatron_codemix.planner.hardware import Cluster
from megatron_codemix.planner.time.constants import Constants

NVLINK_HOP_SECONDS = 2e-6
"""What each rank of a ring within a node adds to a collective: NCCL's tests show some 15 us for the
smallest all-gathers of 8 GPUs."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Ranks that communicate: `size` of them, `stride` apart, counted from 0 over the nodes."""

    size: int
    stride: int

    def ranks_on_node(self, cluster: Cluster) -> int:
        """How many of them share a node."""
        return max(1, min(self.size, cluster.gpus_per_node // self.stride))

    def bandwidth(self, cluster: Cluster) -> float:
        """Bytes a second in one direction for each rank in a ring, of the links' nominal.

        Across nodes a ring leaves each node once, and as many rings as the group has ranks there
        use an adapter each; they are not faster than NVLink, which they also pass.
        """
        within = self.ranks_on_node(cluster)
        if within == self.size:
            return cluster.gpu.nvlink_bandwidth
        return min(cluster.gpu.nvlink_bandwidth, within * cluster.network.bandwidth)


def gathered_bytes(group: Group, total_bytes: float) -> float:
    """What each rank sends in a ring that gathers (or reduces and scatters) `total_bytes`: all but
    its own part."""
    return total_bytes * (group.size - 1) / group.size


def all_gather_seconds(
    group: Group, total_bytes: float, cluster: Cluster, constants: Constants, *, calls: float = 1
) -> float:
    """An all-gather of `total_bytes` in `calls` collectives of equal size; a reduce-scatter of as
    much takes as long, and an all-reduce twice."""
    if group.size == 1:
        return 0.0
    bandwidth = group.bandwidth(cluster) * constants.link_efficiency
    return gathered_bytes(group, total_bytes) / bandwidth + calls * _hops_seconds(
        group, cluster, constants
    )


def _hops_seconds(group: Group, cluster: Cluster, constants: Constants) -> float:
    """Of a message too small to fill the links, around the ring."""
    between = group.size // group.ranks_on_node(cluster) - 1
    within = group.size - 1 - between
    per_node = constants.hop_factor * cluster.network.latency_seconds
    return between * per_node + within * NVLINK_HOP_SECONDS


def send_seconds(distance: int, sent_bytes: float, cluster: Cluster, constants: Constants) -> float:
    """From one rank to another, `distance` ranks further."""
    near = distance < cluster.gpus_per_node
    bandwidth = cluster.gpu.nvlink_bandwidth if near else cluster.network.bandwidth
    latency = NVLINK_HOP_SECONDS if near else cluster.network.latency_seconds
    return sent_bytes / (bandwidth * constants.link_efficiency) + latency


def exposed_seconds(collective: float, hidden_behind: float, exposed_fraction: float) -> float:
    """What a collective that runs beside `hidden_behind` seconds of work adds to the step."""
    return max(collective - hidden_behind, exposed_fraction * collective)
