"""The batch scripts of examples/slurm, as a user hands them in: told in time they are put back into
the queue by themselves, and end as the same run by one command on this machine."""

from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.runs import RunDirectory
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import (
    ROOT,
    Job,
    hold_each_at,
    is_told,
    let_go_on,
    submit,
    wait_for_stops,
)
from tests.slurm.runs import DISTURBED_AT, NUM_STEPS, PATIENCE_SECONDS

EXAMPLES = ROOT / "examples" / "slurm"
OPTIONS = {
    "one_node": ["--gpus-per-node=2", "--cpus-per-task=2"],
    "multi_node_srun": ["--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=1"],
    "multi_node_torchrun": ["--nodes=2", "--gpus-per-node=1"],
}
"""Two ranks each."""

pytestmark = pytest.mark.timeout(900)


def test_every_example_is_tried() -> None:
    assert sorted(OPTIONS) == sorted(path.stem for path in EXAMPLES.glob("*.sbatch"))


def start(cluster: Cluster, config: Path, folder: Path, name: str) -> tuple[Job, RunDirectory]:
    """An example's job, and the run that it trains."""
    script, run = (EXAMPLES / f"{name}.sbatch").read_text(), RunDirectory(folder / "run")
    export = f"--export=ALL,CONFIG={config},RUN={run.path}"
    return submit(cluster, script, folder, "--cpus-per-task=1", *OPTIONS[name], export), run


@pytest.mark.parametrize("name", ["one_node", "multi_node_torchrun"])
def test_stops_when_told_and_goes_on(
    cluster: Cluster, config: Path, undisturbed: RunDirectory, tmp_path: Path, name: str
) -> None:
    """Told by the signal that SLURM gives the shell of the script before the time limit."""
    job, run = start(cluster, config, tmp_path, name)

    reached = tell(job, run)

    assert job.wait_for_end(2 * PATIENCE_SECONDS) == "COMPLETED", job.said()
    assert f"resume after step {reached}" in job.said()
    assert job.field("Restarts") == "1"
    assert differences(run, undisturbed, NUM_STEPS) == []


def test_under_srun_also_goes_on_after_a_rank_was_killed_which_is_a_failure(
    cluster: Cluster, config: Path, undisturbed: RunDirectory, tmp_path: Path
) -> None:
    """SLURM itself puts back only jobs whose nodes are lost: here the script does."""
    job, run = start(cluster, config, tmp_path, "multi_node_srun")

    reached = tell(job, run)
    (held,) = hold_each_at([job], [run], [reached + 10], PATIENCE_SECONDS)
    (rank,) = [rank for rank in held if rank.environ()["SLURM_PROCID"] == "0"]
    rank.kill()
    let_go_on(held)

    assert job.wait_for_end(2 * PATIENCE_SECONDS) == "COMPLETED", job.said()
    assert f"resume after step {reached}" in job.said()
    assert job.field("Restarts") == "2"
    assert run.require_status().failures == 1
    assert differences(run, undisturbed, NUM_STEPS) == []


def tell(job: Job, run: RunDirectory) -> int:
    """The step after which the run has saved; its job is back in the queue."""
    (held,) = hold_each_at([job], [run], [DISTURBED_AT], PATIENCE_SECONDS)
    job.cluster.run("scancel", "--batch", "--signal=USR1", str(job.number))
    job.wait_for("the signal", lambda: any(map(is_told, held)), 60)
    let_go_on(held)
    return wait_for_stops([job], [run])[0]
