"""Ranks as torchrun and srun place them. Environments are copies of what the two set."""

import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.launch.placement import (
    RankContext,
    first_host,
    hosts_of,
    planned_hosts,
    rank_context_from_environment,
)

TORCHRUN = {
    "RANK": "5",
    "WORLD_SIZE": "8",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "10.0.0.1",
    "MASTER_PORT": "29500",
}
SRUN = {
    "SLURM_JOB_ID": "1234567",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "3",
    "SLURM_NTASKS": "4",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_NODELIST": "gpu[07-08]",
    "SLURM_STEP_NODELIST": "gpu[07-08]",
}


def test_no_launcher() -> None:
    assert rank_context_from_environment({"PATH": "/bin"}) is None


def test_torchrun() -> None:
    assert rank_context_from_environment(TORCHRUN) == RankContext(
        rank=5, world_size=8, local_rank=1, init_method="env://"
    )


def test_srun_meets_on_the_first_node() -> None:
    assert rank_context_from_environment(SRUN) == RankContext(
        rank=3, world_size=4, local_rank=1, init_method="tcp://gpu07:24567", launch="1234567.0"
    )


def test_steps_of_a_job_meet_apart() -> None:
    """Also where the script gives both the same address."""
    first, second = (
        rank_context_from_environment(SRUN | {"SLURM_STEP_ID": step}) for step in ("0", "1")
    )
    assert first is not None
    assert second is not None
    assert first.init_method != second.init_method
    assert (first.launch, second.launch) == ("1234567.0", "1234567.1")


def test_srun_meets_where_the_script_says() -> None:
    environment = SRUN | {"MASTER_ADDR": "10.0.0.9", "MASTER_PORT": "4000"}

    context = rank_context_from_environment(environment)

    assert context is not None
    assert context.init_method == "tcp://10.0.0.9:4000"


@pytest.mark.parametrize("step", [None, "4294967291", "4294967290", "4294967292"])
def test_batch_script_interactive_and_extern_steps_are_no_ranks(step: str | None) -> None:
    environment = {name: value for name, value in SRUN.items() if name != "SLURM_STEP_ID"}
    if step is not None:
        environment["SLURM_STEP_ID"] = step

    assert rank_context_from_environment(environment) is None


def test_srun_of_one_task_may_start_ranks_itself() -> None:
    assert rank_context_from_environment(SRUN | {"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"WORLD_SIZE": "eight"}, ["WORLD_SIZE='eight'"]),
        ({"WORLD_SIZE": "", "LOCAL_RANK": "-1"}, ["WORLD_SIZE=''", "LOCAL_RANK='-1'"]),
        ({"RANK": "8"}, ["rank 8 of a world of 8"]),
    ],
)
def test_a_damaged_environment_is_named(change: dict[str, str], named: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        rank_context_from_environment(TORCHRUN | change)

    assert all(text in str(caught.value) for text in named)


def test_a_rank_without_a_master_is_named() -> None:
    environment = {name: value for name, value in TORCHRUN.items() if name != "MASTER_PORT"}

    with pytest.raises(ConfigError, match="MASTER_PORT"):
        rank_context_from_environment(environment)


@pytest.mark.parametrize(
    ("node_list", "first"),
    [
        ("login1", "login1"),
        ("n1,n2", "n1"),
        ("gpu[07-09,12],login1", "gpu07"),
        ("r[1-2]n[3,5]", "r1n3"),
        ("a[10,12-14]-ib", "a10-ib"),
        ("big.example.org,small", "big.example.org"),
    ],
)
def test_first_host(node_list: str, first: str) -> None:
    assert first_host(node_list) == first


@pytest.mark.parametrize(
    ("node_list", "hosts"),
    [
        ("node7", ["node7"]),
        ("gpu[07-09,12],login1", ["gpu07", "gpu08", "gpu09", "gpu12", "login1"]),
        ("a[9-11]-ib", ["a9-ib", "a10-ib", "a11-ib"]),
        ("r[1-2]n[3,5]", ["r1n3", "r1n5", "r2n3", "r2n5"]),
    ],
)
def test_all_hosts_in_the_order_of_scontrol_show_hostnames(
    node_list: str, hosts: list[str]
) -> None:
    assert hosts_of(node_list) == hosts


@pytest.mark.parametrize(
    ("tasks", "hosts"),
    [
        ("2(x2)", ["gpu1", "gpu1", "gpu2", "gpu2"]),
        ("3,1", ["gpu1", "gpu1", "gpu1", "gpu2"]),
        ("4", []),
        ("", []),
    ],
)
def test_ranks_are_dealt_out_in_blocks(tasks: str, hosts: list[str]) -> None:
    step = SRUN | {"SLURM_STEP_NODELIST": "gpu[1-2]", "SLURM_STEP_TASKS_PER_NODE": tasks}
    assert planned_hosts(step) == tuple(hosts)
    context = rank_context_from_environment(step)
    assert context is not None
    assert context.hosts == tuple(hosts)


@pytest.mark.parametrize(
    ("distribution", "is_known"),
    [
        ("block", True),
        ("block:cyclic", True),
        ("block,Pack", True),
        ("cyclic", False),
        ("cyclic:block", False),
        ("plane", False),
        ("arbitrary", False),
    ],
)
def test_ranks_that_are_dealt_out_otherwise_are_not_placed(
    distribution: str, is_known: bool
) -> None:
    step = {"SLURM_STEP_NODELIST": "gpu[1-2]", "SLURM_STEP_TASKS_PER_NODE": "2(x2)"}
    found = planned_hosts(SRUN | step | {"SLURM_DISTRIBUTION": distribution})
    assert found == (("gpu1", "gpu1", "gpu2", "gpu2") if is_known else ())
