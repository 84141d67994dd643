"""Phases of a study meet a time limit, a requeue and the death of nodes: SLURM starts them again,
and they end as undisturbed ones, bit for bit."""

import datetime
import re
import time
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.files import read_jsonl
from megatron_codemix.launch.slurm.starts import starts_beside
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import Job, hold_each_at, is_told, let_go_on, wait_for_stops
from tests.slurm.runs import DISTURBED_AT, PATIENCE_SECONDS
from tests.slurm.studies import StudyOnCluster, small_study, write_site

NUM_STEPS = 100
PHASES = {
    "first": {},
    "second": {"set": {"data.mixture.weights": {"code": 0.3, "text": 0.7}}},
}
NODE_IS_LOST_SECONDS = 60
"""Until SLURM gives a node up, and with it a start, which has not lived so long."""
NOTING_SECONDS = 60

pytestmark = pytest.mark.timeout(1200)


def test_phases_go_on_after_a_time_limit_a_requeue_and_lost_nodes(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Both on two nodes of their own. First, one is told by the signal before its time limit and
    the other is requeued by an administrator; then one loses the node of its batch script, the
    other its second node. The nodes that are left hear nothing, so their ranks wait until SLURM
    gives the lost ones up: 10 s without an answer, and the time between its looks."""
    data = tmp_path / "data"
    study = StudyOnCluster(
        cluster=cluster,
        name="disturbed",
        file=small_study(data, "disturbed", PHASES, num_steps=NUM_STEPS, world_size=2),
        site=write_site(data, tasks_per_node=1, extra_sbatch=["--exclusive"]),
        out=tmp_path / "out",
    )
    began = time.time()
    study.submit()
    jobs = [study.jobs()[f"{phase}:train"] for phase in PHASES]
    runs = [study.run(phase) for phase in PHASES]

    steps = stop_in_order(jobs, runs)
    lost = cut_power_under_way(jobs, runs, steps)

    for job, run, reached in zip(jobs, runs, steps, strict=True):
        assert job.wait_for_end(2 * PATIENCE_SECONDS) == "COMPLETED", job.said()
        assert job.field("Restarts") == "2"
        assert set(nodes_of(job)).isdisjoint(lost)
        assert f"resume after step {reached}" in job.said()
        assert run.require_status().failures == 0
    study.wait_for_end(PATIENCE_SECONDS)
    for phase, run in zip(PHASES, runs, strict=True):
        assert differences(run, undisturbed(run, data / phase), NUM_STEPS) == []
    assert len(study.report()["variants"]) == len(PHASES)
    check_costs(study, jobs, runs, passed_seconds=time.time() - began)


def stop_in_order(jobs: list[Job], runs: list[RunDirectory]) -> list[int]:
    """The steps after which the runs have saved. The time limit is set once the run is under way:
    SLURM gives the signal at its next look at time limits, of which there is one every 30 s."""
    limited, requeued = jobs
    held = hold_each_at(jobs, runs, [DISTURBED_AT] * 2, PATIENCE_SECONDS)
    assert [len(ranks) for ranks in held] == [2, 2]
    set_time(limited, EndTime=f"{in_seconds(90):%Y-%m-%dT%H:%M:%S}")
    limited.wait_for("the signal", lambda: all(map(is_told, held[0])), 60)
    requeued.cluster.run("scontrol", "requeue", str(requeued.number))
    for ranks in held:
        let_go_on(ranks)
    steps = wait_for_stops(jobs, runs)
    set_time(limited, TimeLimit="30")
    return steps


def cut_power_under_way(jobs: list[Job], runs: list[RunDirectory], steps: list[int]) -> list[str]:
    """The nodes that were lost: each run is a few steps further than it was."""
    held = hold_each_at(jobs, runs, [step + 10 for step in steps], PATIENCE_SECONDS)
    lost = [nodes_of(job)[place] for place, job in enumerate(jobs)]
    for node in lost:
        jobs[0].cluster.cut_power(node)
    for ranks in held:
        let_go_on(ranks)
    return lost


def in_seconds(seconds: float) -> datetime.datetime:
    return datetime.datetime.now() + datetime.timedelta(seconds=seconds)


def set_time(job: Job, **limit: str) -> None:
    ((name, value),) = limit.items()
    job.cluster.run("scontrol", "update", f"JobId={job.number}", f"{name}={value}")


def nodes_of(job: Job) -> list[str]:
    """Where it runs or has run; the batch script on the first."""
    return job.cluster.run("scontrol", "show", "hostnames", job.field("NodeList")).split()


def undisturbed(run: RunDirectory, folder: Path) -> RunDirectory:
    """The same phase by one command on this machine."""
    done = codemix("train", run.config, "--run-dir", folder, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    return RunDirectory(folder)


def check_costs(
    study: StudyOnCluster, jobs: list[Job], runs: list[RunDirectory], *, passed_seconds: float
) -> None:
    """Each start counts, that of a lost batch script until its last sign of life. SLURM counts a
    lost node until it has given it up."""
    record = study.record()
    for phase, job, run in zip(PHASES, jobs, runs, strict=True):
        begins = [line for line in read_jsonl(starts_beside(job.output)) if "began_unix" in line]
        assert len(begins) == run.require_status().attempts == 3
        seconds = record.phases[f"single/{phase}"].train
        by_slurm = seconds_by_slurm(job)
        assert len(by_slurm) == 3
        assert -3 <= sum(by_slurm) - seconds <= NODE_IS_LOST_SECONDS + 3 * NOTING_SECONDS
        assert seconds > sum(by_slurm) / 3
    most = max(wall.train for wall in record.phases.values())
    assert most <= record.wall_seconds <= passed_seconds


def seconds_by_slurm(job: Job) -> list[float]:
    """What each start of a job took, by SLURM's own list of what has ended."""
    found = []
    for line in (job.cluster.root / "log" / "jobs").read_text().splitlines():
        if f"JobId={job.number} " in line:
            began, over = (
                datetime.datetime.fromisoformat(text)
                for text in re.search(r"StartTime=(\S+) EndTime=(\S+)", line).groups()
            )
            found.append((over - began).total_seconds())
    return found
