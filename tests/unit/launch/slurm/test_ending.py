"""What becomes of a job: by srun's exit code and what the run directory says."""

import time
from pathlib import Path

import pytest

from megatron_codemix.errors import EXIT_BUG, EXIT_DONE, EXIT_INPUT, EXIT_RETRY
from megatron_codemix.launch.slurm.ending import JobEnd, evaluation_ended, training_ended
from megatron_codemix.run_status import State, Status
from megatron_codemix.runs import RunDirectory

KILLED = 137
TOLD = 138
"""128 + SIGUSR1: what srun makes of a task that it ends."""
IDENTITY = "a" * 64


def end(code: int, *, since: float = 0.0, max_failures: int = 2) -> JobEnd:
    return JobEnd(code=code, since_unix=since, max_failures=max_failures)


def run_with(folder: Path, state: State, **fields: int) -> RunDirectory:
    run = RunDirectory(folder)
    step = 10 if state == "done" else 5
    run.write_status(Status(identity=IDENTITY, state=state, step=step, num_steps=10, **fields))
    return run


def test_a_run_that_is_done_is_done_whatever_srun_says(tmp_path: Path) -> None:
    run = run_with(tmp_path, "done")
    for code in (EXIT_DONE, EXIT_BUG, EXIT_RETRY, KILLED):
        assert training_ended(run, IDENTITY, end(code), failures_before=0).exit_code == EXIT_DONE


def test_a_stop_in_order_goes_on_and_counts_nothing(tmp_path: Path) -> None:
    run = run_with(tmp_path, "pending", failures=2)
    for _ in range(10):
        verdict = training_ended(run, IDENTITY, end(EXIT_RETRY), failures_before=0)
        assert verdict.exit_code == EXIT_RETRY
    assert run.require_status().failures == 2


@pytest.mark.parametrize("code", [EXIT_RETRY, KILLED])
def test_noted_failures_go_on_up_to_the_cap(code: int, tmp_path: Path) -> None:
    codes = []
    for failures in range(1, 5):
        run = run_with(tmp_path, "failed", failures=failures)
        codes.append(training_ended(run, IDENTITY, end(code), failures_before=0).exit_code)
    assert codes == [EXIT_RETRY, EXIT_RETRY, EXIT_INPUT, EXIT_INPUT]
    assert run.require_status().failures == 4, "what is noted is not counted twice"


def test_a_new_submission_counts_from_its_own_beginning(tmp_path: Path) -> None:
    run = run_with(tmp_path, "failed", failures=4)
    assert training_ended(run, IDENTITY, end(75), failures_before=3).exit_code == EXIT_RETRY
    assert training_ended(run, IDENTITY, end(75), failures_before=1).exit_code == EXIT_INPUT


def test_a_death_that_no_rank_noted_is_noted_and_counts(tmp_path: Path) -> None:
    run = run_with(tmp_path, "running")
    assert training_ended(run, IDENTITY, end(KILLED), failures_before=0).exit_code == EXIT_RETRY
    status = run.require_status()
    assert (status.state, status.failures, status.step) == ("failed", 1, 5)
    assert "exit code 137" in (status.last_error or "")


def test_starts_that_never_come_to_train_end_at_the_cap(tmp_path: Path) -> None:
    """Neither a run without a status nor one of an earlier start may go on for ever."""
    codes = []
    for _ in range(3):
        since = time.time() + 1  # the status is of before this start
        verdict = training_ended(
            RunDirectory(tmp_path), IDENTITY, end(EXIT_RETRY, since=since), failures_before=0
        )
        codes.append(verdict.exit_code)
    assert codes == [EXIT_RETRY, EXIT_RETRY, EXIT_INPUT]
    status = RunDirectory(tmp_path).require_status()
    assert (status.identity, status.failures) == (IDENTITY, 3)


def early(run: RunDirectory) -> int:
    """The exit code of a start that was told before it had written anything."""
    since = time.time() + 1
    verdict = training_ended(run, IDENTITY, end(TOLD, since=since), failures_before=0)
    return verdict.exit_code


def test_a_request_to_stop_before_anything_is_written_is_no_failure(tmp_path: Path) -> None:
    for run in (RunDirectory(tmp_path / "new"), run_with(tmp_path / "lost", "running", failures=1)):
        before = run.read_status() or Status(identity=IDENTITY)
        assert early(run) == EXIT_RETRY
        after = run.require_status()
        assert (after.state, after.failures, after.step) == (
            "pending",
            before.failures,
            before.step,
        )
        assert "before it came to train" in (after.last_error or "")


def test_a_job_whose_time_is_always_over_before_it_trains_ends_at_the_cap(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert [early(run) for _ in range(4)] == [EXIT_RETRY, EXIT_RETRY, EXIT_RETRY, EXIT_INPUT]
    assert run.require_status().failures == 3


def test_a_start_that_trains_in_between_gives_the_next_one_its_turn(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    for _ in range(3):
        assert early(run) == EXIT_RETRY
        run_with(tmp_path, "pending")  # as training leaves it, with no error
    assert run.require_status().failures == 0


def test_a_rank_that_was_training_and_dies_of_the_request_is_a_failure(tmp_path: Path) -> None:
    run = run_with(tmp_path, "running")
    assert training_ended(run, IDENTITY, end(TOLD), failures_before=0).exit_code == EXIT_RETRY
    assert run.require_status().failures == 1


@pytest.mark.parametrize("code", [EXIT_BUG, EXIT_INPUT, 127])
def test_what_would_happen_again_is_not_tried_again(code: int, tmp_path: Path) -> None:
    run = run_with(tmp_path, "failed", failures=1)
    assert training_ended(run, IDENTITY, end(code), failures_before=0).exit_code == code
    assert evaluation_ended(end(code), restarts=0).exit_code == code


def test_an_exit_without_an_error_before_the_end_is_a_bug(tmp_path: Path) -> None:
    run = run_with(tmp_path, "running")
    assert training_ended(run, IDENTITY, end(EXIT_DONE), failures_before=0).exit_code == EXIT_BUG


def test_an_evaluation_starts_again_so_many_times(tmp_path: Path) -> None:
    codes = [evaluation_ended(end(KILLED), restarts=n).exit_code for n in range(4)]
    assert codes == [EXIT_RETRY, EXIT_RETRY, EXIT_INPUT, EXIT_INPUT]
    assert evaluation_ended(end(EXIT_DONE), restarts=9).exit_code == EXIT_DONE
