"""What the planner's table says of the same collectives."""

from collections.abc import Sequence

from megatron_codemix.bench.collectives.measure import Figure, ranks_per_node
from megatron_codemix.bench.collectives.operations import COLLECTIVES
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.planner.hardware import Cluster, make_cluster
from megatron_codemix.planner.time.collectives import Group, all_gather_seconds, send_seconds
from megatron_codemix.planner.time.constants import Constants
from megatron_codemix.units import format_bytes

LEAST_JUDGED_BYTES = 64 * 2**20
"""Smaller tensors measure latency more than links."""
FRACTION_WANTED = 0.8
"""Of the bandwidth that the planner counts on; a plan's times are that far off otherwise."""


def cluster_of(
    hosts: Sequence[str], gpu: str | None, gpus_per_node: int | None, network: str | None
) -> Cluster | None:
    """Of the host of each rank; None where the GPU is not known, or the nodes have no one number of
    ranks and nobody says how many GPUs NVLink joins. Raises ConfigError."""
    joined = gpus_per_node or ranks_per_node(hosts)
    return make_cluster(gpu, joined, network) if gpu and joined else None


def expected_seconds(figure: Figure, cluster: Cluster, constants: Constants) -> float:
    """Of one call, by the planner's time model."""
    if figure.collective == "send_receive":
        # The slowest link decides: that between two nodes, where there are several.
        is_within = figure.ranks * figure.stride <= cluster.gpus_per_node
        distance = figure.stride if is_within else cluster.gpus_per_node
        return send_seconds(distance, figure.num_bytes, cluster, constants)
    group = Group(size=figure.ranks, stride=figure.stride)
    once = all_gather_seconds(group, figure.num_bytes, cluster, constants)
    return 2 * once if figure.collective == "all_reduce" else once


def row_of(figure: Figure, cluster: Cluster | None, constants: Constants | None) -> Row:
    """Bus bandwidth beside the planner's, which is absent without a cluster that it knows."""
    peer = None
    if cluster is not None and constants is not None:
        factor = COLLECTIVES[figure.collective].bus_factor(figure.ranks)
        peer = factor * figure.num_bytes / expected_seconds(figure, cluster, constants) / 1e9
    slow = f"; slower than the others: {', '.join(figure.slow)}" if figure.slow else ""
    return Row(
        name=f"{figure.collective}, {figure.group}: {figure.ranks} ranks, "
        f"{format_bytes(figure.num_bytes)}",
        ours=figure.bus_bandwidth / 1e9,
        peer=peer,
        unit="GB/s",
        goal=Goal(ratio=FRACTION_WANTED) if peer is not None else None,
        is_judged=figure.num_bytes >= LEAST_JUDGED_BYTES,
        is_rate=True,
        note=f"{figure.seconds * 1e6:,.0f} us a call, {figure.calls} calls{slow}",
    )
