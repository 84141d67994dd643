"""Two trainings of one run: the second may come again, and begins nothing that the first has
finished."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.cli import train
from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY, PreemptedError, RetryableError
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.locks import try_lock
from megatron_codemix.runs import RunDirectory
from megatron_codemix.train.phase import prepare_phase
from tests.helpers.tiny import write_run


def test_a_run_that_another_training_holds_may_be_free_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "LOCK_WAIT_SECONDS", 0.0)
    run = RunDirectory(tmp_path)
    handle = try_lock(tmp_path / ".lock")
    assert handle is not None
    with pytest.raises(RetryableError, match="a training is already running here") as raised:  # noqa: SIM117
        with train._alone_in(run):
            pass
    assert raised.value.exit_code == EXIT_RETRY
    handle.close()
    with train._alone_in(run):
        assert try_lock(tmp_path / ".lock") is None


def test_a_run_that_was_finished_while_its_lock_was_waited_for_stays_done(tmp_path: Path) -> None:
    phase = prepare_phase(write_run(tmp_path), [], tmp_path / "run", 1)
    seen = phase.claim()
    done = phase.run.write_status(replace(seen, state="done", step=5, num_steps=5, attempts=1))
    assert train._run_own_ranks(phase, seen, 1, False) == EXIT_DONE
    first = RankContext(rank=0, world_size=2, local_rank=0, init_method="tcp://127.0.0.1:1")
    with pytest.raises(RetryableError, match="has finished it meanwhile"):
        train._run_placed_rank(phase, seen, first, False)
    assert phase.run.read_status() == done
    assert not phase.run.attempt(1).exists()


def test_a_stop_while_ranks_are_started_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: object, **options: object) -> int:
        raise PreemptedError("stopped by SIGTERM when 1 of 2 ranks were started")

    monkeypatch.setattr(train, "run_ranks", stopped)
    phase = prepare_phase(write_run(tmp_path), [], tmp_path / "run", 1)
    with pytest.raises(PreemptedError):
        train._run_own_ranks(phase, phase.claim(), 1, False)
    status = phase.run.read_status()
    assert (status.state, status.failures, status.attempts) == ("pending", 0, 1)
    assert status.last_error.startswith("stopped by SIGTERM")
