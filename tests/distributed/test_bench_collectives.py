"""`codemix bench collectives`: who is in a group, wrong results are told, the planner's times."""

import json

import pytest

from megatron_codemix.bench.rows import Row
from megatron_codemix.errors import UnavailableError
from megatron_codemix.launch.placement import RankContext
from tests.helpers.commands import codemix
from tests.helpers.ranks import run_distributed

GIB = 2**30


TWO_NODES = ["a", "a", "b", "b"]


@pytest.mark.parametrize(
    ("hosts", "each", "groups"),
    [
        (["a", "a", "a", "a"], 4, {}),
        (["a", "b", "c", "d"], 1, {}),
        (
            TWO_NODES,
            2,
            {"node": (1, [[0, 1], [2, 3]]), "across": (2, [[0, 2], [1, 3]])},
        ),
        (["a", "b", "a", "b"], None, {}),
        (["a", "a", "a", "b"], None, {}),
    ],
    ids=["one node", "one rank a node", "two nodes", "dealt out", "unequal"],
)
def test_groups_are_nodes_and_what_joins_them(
    hosts: list[str], each: int | None, groups: dict[str, tuple[int, list[list[int]]]]
) -> None:
    from megatron_codemix.bench.collectives.measure import groupings, ranks_per_node

    found = {
        one.name: (one.stride, [list(group) for group in one.groups]) for one in groupings(hosts)
    }
    assert found == {"all": (1, [[0, 1, 2, 3]])} | groups
    assert ranks_per_node(hosts) == each


def ranks_measured(context: RankContext, hosts: list[str]) -> dict[str, tuple[int, int, int]]:
    """Of each grouping: ranks, stride, and the size of the tensor."""
    from megatron_codemix.backend.devices import CpuBackend
    from megatron_codemix.bench.collectives.measure import measure

    found = measure(CpuBackend(), hosts, ["all_reduce"], [4096])
    return {figure.group: (figure.ranks, figure.stride, figure.num_bytes) for figure in found}


def test_each_grouping_is_measured() -> None:
    measured = run_distributed(ranks_measured, 4, TWO_NODES)
    assert measured == 4 * [{"all": (4, 1, 4096), "node": (2, 1, 4096), "across": (2, 2, 4096)}]


@pytest.mark.parametrize(
    ("seconds", "slow"),
    [
        ([1, 1, 3, 3], ["rank 2 on b", "rank 3 on b"]),
        ([1, 3, 1, 3], ["rank 1 on a", "rank 3 on b"]),
        ([1, 1, 1, 3], ["rank 3 on b"]),
        ([3, 3, 3, 3], []),
        ([1, 1.1, 1, 1.1], []),
    ],
    ids=["one node of two", "one rail of two", "a rank", "all", "nearly equal"],
)
def test_whole_groups_are_named_as_slow(seconds: list[float], slow: list[str]) -> None:
    from megatron_codemix.bench.collectives.measure import slow_ranks

    assert slow_ranks(seconds, TWO_NODES) == slow


def wrong_result(context: RankContext) -> str:
    """What is told where one rank's collective changes a number."""
    from megatron_codemix.backend.devices import CpuBackend
    from megatron_codemix.bench.collectives import measure, operations

    if context.rank == 1:
        right = operations.AllGather.call

        def call(self: operations.AllGather) -> None:
            right(self)
            self.whole[3] += 1

        operations.AllGather.call = call  # type: ignore[method-assign]  # the fault
    with pytest.raises(UnavailableError) as raised:
        list(measure.measure(CpuBackend(), ["a", "a"], ["all_reduce", "all_gather"], [4096]))
    return str(raised.value)


def test_a_wrong_result_is_told_with_the_rank() -> None:
    for said in run_distributed(wrong_result, 2):
        assert said.startswith("all_gather gives a wrong result on rank 1 on ")
        assert "rank 0" not in said


def test_the_command_measures_each_collective_at_each_size() -> None:
    done = codemix("bench", "collectives", "--largest", "1MiB", "--json", "--nproc", "2")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["bench"], report["ranks"], report["device"]) == ("collectives", 2, "CPU")
    assert [row["name"] for row in report["rows"]] == [
        f"{name}, all: 2 ranks, {size}"
        for name in ("all_reduce", "all_gather", "reduce_scatter", "send_receive")
        for size in ("64.0 KiB", "1.0 MiB")
    ]
    assert all(row["ours"] > 0 and row["peer"] is None for row in report["rows"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nproc", "1"], "--nproc: collectives need at least 2 processes"),
        (["--gpu", "h1000"], "no GPU 'h1000'"),
        (["--network", "nonsense"], "no network 'nonsense'"),
        (["--only", "all_redcue"], "--only: no collective 'all_redcue'"),
        (["--largest", "3xy"], "--largest: expected a size"),
        (["--largest", "1KiB"], "--largest: at least 64KiB"),
    ],
)
def test_wrong_options_are_refused_by_name(arguments: list[str], said: str) -> None:
    done = codemix("bench", "collectives", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--largest", "64KiB"], 0, "the planner does not know these links; name them by --gpu"),
        (["--largest", "64KiB", "--gpu", "h100"], 0, "tensors below 64MiB measure latency; take"),
        (["--largest", "64MiB", "--gpu", "h100"], 1, "rank 0 of 2 exited with code 1"),
    ],
    ids=["unknown links", "small tensors", "slow links"],
)
def test_a_check_says_where_it_has_compared_nothing(
    options: list[str], code: int, said: str
) -> None:
    """gloo on this machine is slower than NVLink."""
    done = codemix("bench", "collectives", "--check", "--only", "all_gather", *options)
    assert done.returncode == code
    assert said in done.stderr
    assert ("has compared nothing" in done.stderr) == (code == 0)


@pytest.mark.parametrize(
    ("hosts", "told", "joined"),
    [
        (["a", "b", "c", "d"], None, 1),
        (TWO_NODES, None, 2),
        (["a", "a", "a", "a"], None, 4),
        (["a", "a", "a", "b"], None, None),
        (["a", "a", "a", "b"], 8, 8),
    ],
)
def test_nvlink_joins_the_ranks_of_a_node(
    hosts: list[str], told: int | None, joined: int | None
) -> None:
    from megatron_codemix.bench.collectives.expected import cluster_of

    cluster = cluster_of(hosts, "h100", told, None)
    assert (cluster and cluster.gpus_per_node) == joined
    assert cluster_of(hosts, None, told, None) is None


# Per rank a ring carries 7/8 of the tensor for gathering, twice that for reducing, at 0.8 of the
# data sheet's 450 GB/s; 7 steps of 2 us. Between nodes: 50 GB/s for each adapter, and 1.792 times
# 5 us for each node but one.
ONE_NODE = (7 / 8 * GIB) / (450e9 * 0.8) + 7 * 2e-6
FOUR_NODES = (3 / 4 * GIB) / (50e9 * 0.8) + 3 * 1.792 * 5e-6


@pytest.mark.parametrize(
    ("collective", "group", "each", "ranks", "stride", "seconds"),
    [
        ("all_gather", "all", 8, 8, 1, ONE_NODE),
        ("reduce_scatter", "node", 8, 8, 1, ONE_NODE),
        ("all_reduce", "all", 8, 8, 1, 2 * ONE_NODE),
        ("all_gather", "all", 1, 4, 1, FOUR_NODES),
        ("all_gather", "across", 4, 4, 4, FOUR_NODES),
        ("send_receive", "all", 8, 8, 1, GIB / (450e9 * 0.8) + 2e-6),
        ("send_receive", "node", 4, 4, 1, GIB / (450e9 * 0.8) + 2e-6),
        ("send_receive", "all", 8, 16, 1, GIB / (50e9 * 0.8) + 5e-6),
        ("send_receive", "all", 1, 4, 1, GIB / (50e9 * 0.8) + 5e-6),
        ("send_receive", "across", 8, 2, 8, GIB / (50e9 * 0.8) + 5e-6),
        ("send_receive", "across", 4, 2, 4, GIB / (50e9 * 0.8) + 5e-6),
    ],
)
def test_the_planners_time_is_that_of_the_slowest_link(
    collective: str, group: str, each: int, ranks: int, stride: int, seconds: float
) -> None:
    """each: ranks of a node."""
    from megatron_codemix.bench.collectives.expected import expected_seconds, row_of
    from megatron_codemix.bench.collectives.measure import Figure
    from megatron_codemix.planner.hardware import make_cluster
    from megatron_codemix.planner.time.constants import load_constants

    figure = Figure(
        collective=collective,
        group=group,
        ranks=ranks,
        stride=stride,
        num_bytes=GIB,
        seconds=2 * seconds,
        calls=1,
        slow=[],
    )
    cluster, constants = make_cluster("h100", each), load_constants()
    assert expected_seconds(figure, cluster, constants) == pytest.approx(seconds, rel=1e-9)
    row: Row = row_of(figure, cluster, constants)
    assert row.ratio == pytest.approx(0.5)
    assert row.met is False
    assert row_of(figure, None, None).met is None


def test_bus_bandwidth_is_that_of_nccl_tests() -> None:
    """Its PERFORMANCE.md: all-reduce 2 (n - 1) / n, gather and scatter (n - 1) / n, send 1."""
    from megatron_codemix.bench.collectives.operations import COLLECTIVES

    assert {name: kind.bus_factor(8) for name, kind in COLLECTIVES.items()} == {
        "all_reduce": 1.75,
        "all_gather": 0.875,
        "reduce_scatter": 0.875,
        "send_receive": 1.0,
    }
