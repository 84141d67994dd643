"""What becomes of a study when a phase fails, when one is told to stop as soon as it begins, and
when it is cancelled."""

from pathlib import Path

import pytest

from megatron_codemix.errors import EXIT_INPUT
from megatron_codemix.runs import RunDirectory
from tests.slurm.cluster import Cluster
from tests.slurm.jobs import Job, ranks_of, submit, wait_for_stops
from tests.slurm.runs import PATIENCE_SECONDS
from tests.slurm.studies import StudyOnCluster, small_study, write_site

PHASES = {
    "text": {"set": {"data.mixture.weights": {"text": 1}}},
    "code": {"set": {"data.mixture.weights": {"code": 1}}},
    "code-then-text": {
        "init_from": {"phase": "code", "load": "weights"},
        "set": {"data.mixture.weights": {"code": 0.1, "text": 0.9}},
    },
}
NUM_STEPS = 20

pytestmark = pytest.mark.timeout(900)


def study_in(cluster: Cluster, folder: Path) -> StudyOnCluster:
    """Its jobs do nothing as long as there is a file `gate` in the folder."""
    data, gate = folder / "data", folder / "gate"
    return StudyOnCluster(
        cluster=cluster,
        name="small",
        file=small_study(data, "small", PHASES, num_steps=NUM_STEPS, world_size=1),
        site=write_site(data, tasks_per_node=2, setup=[f"while [ -e {gate} ]; do sleep 0.1; done"]),
        out=folder / "out",
    )


def test_a_failed_phase_takes_its_descendants_along_and_nobody_else(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A byte of its data is wrong. Repaired, the next submission has what is missing alone. The
    phase beside it is told to stop while it imports, which costs it a start and is no failure."""
    study = study_in(cluster, tmp_path)
    damaged = tmp_path / "data" / "code.bin"
    flip_a_byte(damaged)

    gate = tmp_path / "gate"
    gate.touch()

    study.submit()
    gate.unlink()
    tell_while_it_imports(study.jobs()["text:train"], study.run("text"))
    study.wait_for_end(2 * PATIENCE_SECONDS)

    assert study.states() == {
        "text:train": "COMPLETED",
        "code:train": "FAILED",
        "code-then-text:train": "CANCELLED",
        "report": "COMPLETED",
    }
    code = study.jobs()["code:train"]
    assert code.field("ExitCode") == f"{EXIT_INPUT}:0"
    assert "code.bin: block 0" in code.said()
    assert [row["name"] for row in study.report()["variants"]] == ["text"]
    text, failed = study.run("text").require_status(), study.run("code").require_status()
    assert (text.state, text.attempts, text.failures) == ("done", 2, 0)
    assert (failed.state, failed.attempts, failed.failures) == ("failed", 1, 1)
    assert study.run("code-then-text").read_status() is None

    flip_a_byte(damaged)
    again = study.submit()

    names = [job["name"] for job in again["submitted"]]
    assert names == ["small:code:train", "small:code-then-text:train", "small:report"]
    study.wait_for_end(2 * PATIENCE_SECONDS)
    assert set(study.states().values()) == {"COMPLETED"}
    assert [row["name"] for row in study.report()["variants"]] == list(PHASES)
    assert study.run("text").require_status() == text
    assert study.submit()["submitted"] == []


def test_a_job_that_puts_itself_back_behind_the_cancellation_is_cancelled_too(
    cluster: Cluster, tmp_path: Path
) -> None:
    """As a script does that was just about to requeue when the `scancel` came."""
    study = study_in(cluster, tmp_path)
    script = """\
#!/bin/bash
#SBATCH --job-name=small:text:train --requeue --open-mode=append
trap 'scontrol requeue "$SLURM_JOB_ID" && echo requeued; exit 0' TERM
echo began
sleep 600 & wait
"""
    job = submit(cluster, script, study.out)
    job.wait_for("its begin", lambda: "began" in job.said(), 60)

    said = study.codemix("cancel", study.file, "--out", study.out)

    assert said.startswith(f"cancelled  {job.number} RUNNING on node")
    assert "requeued" in job.said()
    assert cluster.run("squeue", "--noheader") == ""
    assert job.field("JobState") == "CANCELLED"
    assert job.field("Restarts") == "1"


def flip_a_byte(path: Path) -> None:
    """One in the middle; twice is as before."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def tell_while_it_imports(job: Job, run: RunDirectory) -> None:
    """By the signal that the script gets before a time limit; it has then saved after its first
    step."""
    job.wait_for("its process", lambda: ranks_of(run), PATIENCE_SECONDS, poll_seconds=0.05)
    job.cluster.run("scancel", "--batch", "--signal=USR1", str(job.number))
    assert wait_for_stops([job], [run]) == [1]
