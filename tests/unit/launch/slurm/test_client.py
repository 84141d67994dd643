"""What SLURM's programs say, as recorded from SLURM 22.05.8 on four nodes; and what is made of it
when they refuse, do not answer or are not there."""

from pathlib import Path

import pytest

from megatron_codemix.errors import EXIT_INPUT, EXIT_RETRY, CodemixError, UnavailableError
from megatron_codemix.launch.slurm.client import (
    SlurmPrograms,
    job_number,
    missing_programs,
    read_queue,
)

QUEUE = """\
23|PENDING|Dependency||/out with space|failing:balanced:evaluate
9|RUNNING|None|node[1-2]|/out|tiny:text:train
36|PENDING|BeginTime||/out|failing:balanced-then-text:train
30|COMPLETING|None|node1|/out|a|b
"""
NEVER = "37|PENDING|DependencyNeverSatisfied||/out|failing:balanced:evaluate\n"

REFUSALS = {
    "sbatch: error: invalid partition specified: nowhere\n"
    "sbatch: error: Batch job submission failed: Invalid partition name specified": EXIT_INPUT,
    "allocation failure: Requested node configuration is not available": EXIT_INPUT,
    "slurm_load_jobs error: Unable to contact slurm controller (connect failure)": EXIT_RETRY,
}


def put(folder: Path, monkeypatch: pytest.MonkeyPatch, **programs: str) -> None:
    """The only programs on PATH besides the system's: bash scripts of these bodies."""
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/bin")


def test_the_queue_is_read_in_the_order_of_numbers() -> None:
    jobs = read_queue(QUEUE)
    assert [job.id for job in jobs] == ["9", "23", "30", "36"]
    assert jobs[0].words == "9 RUNNING on node[1-2]"
    assert jobs[3].words == "36 PENDING (BeginTime)"
    assert (jobs[1].folder, jobs[2].name) == ("/out with space", "a|b")
    assert [job.is_waiting for job in jobs] == [False, True, False, True]
    assert not any(job.waits_in_vain for job in jobs)
    assert read_queue(NEVER)[0].waits_in_vain
    assert read_queue("") == []


@pytest.mark.parametrize("text", ["1234\n", "1234;cluster\n", "quota: fine\n1234\n"])
def test_the_number_of_a_new_job(text: str) -> None:
    assert job_number(text) == "1234"


@pytest.mark.parametrize("text", ["", "Submitted batch job 12\n"])
def test_an_answer_without_a_number_is_refused(text: str) -> None:
    with pytest.raises(UnavailableError, match="no job number"):
        job_number(text)


@pytest.mark.parametrize(("said", "exit_code"), REFUSALS.items())
def test_a_refusal_is_told_in_slurms_words_and_a_silence_may_be_tried_again(
    said: str, exit_code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, monkeypatch, sbatch=f"echo '{said}' >&2; exit 1")
    with pytest.raises(CodemixError) as raised:
        SlurmPrograms().submit(tmp_path / "x.sbatch", "")
    assert raised.value.exit_code == exit_code
    assert said.replace("\n", "; ") in str(raised.value), "a line is told from the next"


def test_a_job_that_slurm_has_forgotten_has_no_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    put(tmp_path, monkeypatch, squeue=forgotten, scancel=forgotten)
    assert SlurmPrograms().state_of("99999") is None
    SlurmPrograms().cancel(["99999"])
    put(tmp_path, monkeypatch, squeue="echo RUNNING")
    assert SlurmPrograms().state_of("12") == "RUNNING"


def test_jobs_of_all_users_are_asked_for_by_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """squeue leaves out what it does not know, and refuses where that is the only one."""
    put(tmp_path, monkeypatch, squeue=f"echo \"$@\" > {tmp_path}/asked; echo '{NEVER.strip()}'")
    [job] = SlurmPrograms().jobs_numbered(["37", "99"])
    assert job.id == "37"
    asked = (tmp_path / "asked").read_text()
    assert "--jobs=37,99" in asked
    assert "--user" not in asked
    forgotten = "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"
    put(tmp_path, monkeypatch, squeue=forgotten)
    assert SlurmPrograms().jobs_numbered(["99"]) == []
    put(tmp_path, monkeypatch, squeue="exit 1")
    assert SlurmPrograms().jobs_numbered([]) == [], "squeue would show all"


def test_options_in_the_shell_of_the_user_do_not_reach_the_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Except for where SLURM's own configuration lies."""
    put(tmp_path, monkeypatch, sbatch=f"env > {tmp_path}/seen; echo 5")
    monkeypatch.setenv("SBATCH_PARTITION", "other")
    monkeypatch.setenv("SLURM_JOB_ID", "3")
    monkeypatch.setenv("SLURM_CONF", "/elsewhere")
    assert SlurmPrograms().submit(tmp_path / "x.sbatch", "afterok:1") == "5"
    seen = (tmp_path / "seen").read_text()
    assert "SLURM_CONF=/elsewhere" in seen
    assert "SBATCH_PARTITION" not in seen
    assert "SLURM_JOB_ID" not in seen


def test_missing_programs_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, monkeypatch, sbatch="", squeue="")
    monkeypatch.setenv("PATH", str(tmp_path))
    (problem,) = missing_programs()
    assert problem.startswith("scontrol, scancel: not on this machine")
    with pytest.raises(UnavailableError, match="scancel: not on this machine"):
        SlurmPrograms().cancel(["1"])
