"""`codemix bench collectives`: who is in a group, wrong results are told, the planner's times."""

import json

import pytest

from megatron_codemix.bench.rows import Row
from megatron_codemix.errors import UnavailableError
from megatron_codemix.launch.placement import RankContext
from tests.helpers.commands import codemix
from tests.helpers.ranks import run_distributed

GIB = 2**30


def members(context: RankContext, hosts: list[str]) -> dict[str, tuple[int, list[int]]]:
    """Of each grouping: from one rank to the next, and the sorted ranks of this one's group."""
    import torch.distributed as dist

    from megatron_codemix.bench.collectives.measure import groupings

    return {
        found.name: (found.stride, sorted(dist.get_process_group_ranks(found.ranks.group)))
        for found in groupings(hosts)
    }


@pytest.mark.parametrize(
    ("hosts", "of_rank_2"),
    [
        (["a", "a", "a", "a"], {"all": (1, [0, 1, 2, 3])}),
        (["a", "b", "c", "d"], {"all": (1, [0, 1, 2, 3])}),
        (
            ["a", "a", "b", "b"],
            {"all": (1, [0, 1, 2, 3]), "node": (1, [2, 3]), "across": (2, [0, 2])},
        ),
        (["a", "b", "a", "b"], {"all": (1, [0, 1, 2, 3])}),
        (["a", "a", "a", "b"], {"all": (1, [0, 1, 2, 3])}),
    ],
    ids=["one node", "one rank a node", "two nodes", "dealt out", "unequal"],
)
def test_groups_are_nodes_and_what_joins_them(
    hosts: list[str], of_rank_2: dict[str, tuple[int, list[int]]]
) -> None:
    assert run_distributed(members, 4, hosts)[2] == of_rank_2


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
        list(measure.measure(CpuBackend(), ["all_reduce", "all_gather"], [4096]))
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


# Per rank a ring carries 7/8 of the tensor for gathering, twice that for reducing, at 0.8 of the
# data sheet's 450 GB/s; 7 steps of 2 us. Between nodes: 50 GB/s for each adapter.
ONE_NODE = (7 / 8 * GIB) / (450e9 * 0.8) + 7 * 2e-6


@pytest.mark.parametrize(
    ("collective", "group", "ranks", "stride", "seconds"),
    [
        ("all_gather", "all", 8, 1, ONE_NODE),
        ("reduce_scatter", "node", 8, 1, ONE_NODE),
        ("all_reduce", "all", 8, 1, 2 * ONE_NODE),
        ("send_receive", "all", 8, 1, GIB / (450e9 * 0.8) + 2e-6),
        ("send_receive", "all", 16, 1, GIB / (50e9 * 0.8) + 5e-6),
        ("send_receive", "across", 2, 8, GIB / (50e9 * 0.8) + 5e-6),
    ],
)
def test_the_planners_time_is_that_of_the_slowest_link(
    collective: str, group: str, ranks: int, stride: int, seconds: float
) -> None:
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
    cluster, constants = make_cluster("h100"), load_constants()
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
