"""`codemix train` under a real srun: on two nodes, told in time, put back into the queue, cut off.

Runs are compared with the same run by one command on this machine: where one went on, nothing is
lost or repeated.
"""

import contextlib
import datetime
import signal
from pathlib import Path

import psutil
import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import count_lines
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import (
    Job,
    is_told,
    ranks_of,
    submit,
    train_script,
    wait_for_steps,
    wait_for_stop,
)
from tests.slurm.runs import DISTURBED_AT, NUM_STEPS, PATIENCE_SECONDS, train_here

pytestmark = pytest.mark.timeout(900)


def start(
    cluster: Cluster, config: Path, folder: Path, *options: str, tasks: int = 1
) -> tuple[Job, RunDirectory]:
    """A job of so many tasks on each of two nodes."""
    run = folder / "run"
    return submit(cluster, train_script(config, run, tasks), folder, *options), RunDirectory(run)


def test_two_nodes_of_two_tasks_end_as_four_ranks_of_one_command(
    cluster: Cluster, config: Path, tmp_path: Path
) -> None:
    job, run = start(cluster, config, tmp_path, "--gpus-per-node=2", tasks=2)

    assert job.wait_for_end(2 * PATIENCE_SECONDS) == "COMPLETED", job.said()
    assert differences(run, train_here(config, 4), NUM_STEPS) == []


def test_signal_before_the_time_limit_saves_and_the_job_goes_on(
    cluster: Cluster, config: Path, undisturbed: RunDirectory, tmp_path: Path
) -> None:
    """The limit is set once the run is under way: SLURM gives the signal at its next look at time
    limits, of which there is one every 30 s. The ranks are held until then."""
    job, run = start(cluster, config, tmp_path, "--signal=USR1@60", "--time=60")
    wait_for_steps(job, run, DISTURBED_AT, PATIENCE_SECONDS)
    ranks = ranks_of(run)
    assert len(ranks) == 2
    for rank in ranks:
        rank.suspend()
    end = datetime.datetime.now() + datetime.timedelta(seconds=90)

    cluster.run("scontrol", "update", f"JobId={job.number}", f"EndTime={end:%Y-%m-%dT%H:%M:%S}")
    job.wait_for("the signal", lambda: all(is_told(rank, signal.SIGUSR1) for rank in ranks), 60)
    for rank in ranks:
        with contextlib.suppress(psutil.NoSuchProcess):  # SLURM has woken it, and it has ended
            rank.resume()

    reached = wait_for_stop(job, run)
    assert job.wait_for_end(2 * PATIENCE_SECONDS) == "COMPLETED", job.said()
    assert "srun: exit code 75" in job.said()
    assert f"resume after step {reached}" in job.said()
    assert differences(run, undisturbed, NUM_STEPS) == []


def test_requeue_by_an_administrator_saves_and_goes_on(
    cluster: Cluster, config: Path, undisturbed: RunDirectory, tmp_path: Path
) -> None:
    job, run = start(cluster, config, tmp_path)
    wait_for_steps(job, run, DISTURBED_AT, PATIENCE_SECONDS)

    cluster.run("scontrol", "requeue", str(job.number))

    reached = wait_for_stop(job, run)
    assert job.wait_for_end(2 * PATIENCE_SECONDS) == "COMPLETED", job.said()
    assert f"resume after step {reached}" in job.said()
    assert differences(run, undisturbed, NUM_STEPS) == []


def test_jobs_of_nodes_without_power_go_on_elsewhere(
    cluster: Cluster, config: Path, undisturbed: RunDirectory, tmp_path: Path
) -> None:
    """One job loses the node of its batch script, the other one its second node. The nodes that are
    left hear nothing, so their ranks wait until SLURM gives the lost ones up: 10 s without an
    answer, and the time between its looks."""
    whole_nodes = "--gpus-per-node=2"
    jobs = [start(cluster, config, tmp_path / name, whole_nodes) for name in ("first", "second")]
    lost: dict[int, str] = {}

    def cut_power_of_those_under_way() -> bool:
        for number, (job, run) in enumerate(jobs):
            if number not in lost and count_lines(run.metrics) >= DISTURBED_AT:
                lost[number] = nodes_of(job)[number]
                cluster.cut_power(lost[number])
        return len(lost) == len(jobs)

    jobs[0][0].wait_for("both runs under way", cut_power_of_those_under_way, PATIENCE_SECONDS)

    for number, (job, run) in enumerate(jobs):
        assert job.wait_for_end(2 * PATIENCE_SECONDS) == "COMPLETED", job.said()
        assert job.field("Restarts") == "1"
        assert set(nodes_of(job)).isdisjoint(lost.values()), lost[number]
        assert differences(run, undisturbed, NUM_STEPS) == []


def nodes_of(job: Job) -> list[str]:
    """Where it runs or has run; the batch script on the first."""
    return job.cluster.run("scontrol", "show", "hostnames", job.field("NodeList")).split()
