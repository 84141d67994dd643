"""A run whose mixture is changed after it began."""

from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.files import write_json
from megatron_codemix.runs import COMPLETE_MARKER
from megatron_codemix.train.phase import Phase, prepare_phase, start_attempt
from tests.helpers.tiny import SEQUENCE, write_run

SAMPLES_PER_STEP = 8


def trained_to(step: int, folder: Path) -> Path:
    """A run directory in which an attempt has saved after `step` steps."""
    phase = prepare_phase(write_run(folder), [], folder / "run", world_size=1)
    start_attempt(phase)
    write_json(phase.run.checkpoint(step) / COMPLETE_MARKER, {})
    return phase.run.path


def changed(folder: Path, at_step: int, *overrides: str) -> Phase:
    """The run of `folder`, told to read only text from the start of a step on."""
    at_tokens = at_step * SAMPLES_PER_STEP * SEQUENCE
    change = f"data.changes=[{{at_tokens: {at_tokens}, mixture: {{weights: {{text: 1}}}}}}]"
    return prepare_phase(folder / "run.yaml", [change, *overrides], folder / "run", world_size=1)


def test_a_change_that_is_still_to_come_is_taken_up(tmp_path: Path) -> None:
    run = trained_to(5, tmp_path)
    phase = changed(tmp_path, 5)
    before = phase.run.read_status()
    assert before is not None
    assert phase.earlier_identity == before.identity != phase.identity
    assert start_attempt(phase) == 2
    after = phase.run.read_status()
    assert after is not None
    assert (after.identity, after.attempts) == (phase.identity, 2)
    # From now on it is this run, and the one without the change is another.
    assert changed(tmp_path, 5).earlier_identity is None
    assert run == phase.run.path


def test_what_was_consumed_cannot_be_changed(tmp_path: Path) -> None:
    trained_to(5, tmp_path)
    with pytest.raises(RunError, match=r"changed from sample 32 on .* has consumed 40 samples"):
        changed(tmp_path, 4)


def test_a_run_may_not_change_in_anything_else(tmp_path: Path) -> None:
    trained_to(5, tmp_path)
    with pytest.raises(RunError, match="holds a run of another identity"):
        changed(tmp_path, 5, "train.seed=2")


def test_a_change_may_be_taken_back_before_it_comes(tmp_path: Path) -> None:
    trained_to(5, tmp_path)
    start_attempt(changed(tmp_path, 7))
    phase = prepare_phase(tmp_path / "run.yaml", [], tmp_path / "run", world_size=1)
    assert phase.earlier_identity is not None
