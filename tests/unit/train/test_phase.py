"""What a phase needs of its parent before it starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.files import write_json
from megatron_codemix.run_status import Status
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory
from megatron_codemix.train.phase import Phase, prepare_phase, start_attempt
from tests.helpers.tiny import write_run

STEPS = 20


def save(run: RunDirectory, step: int) -> None:
    write_json(run.checkpoint(step) / COMPLETE_MARKER, {})


def finish(phase: Phase) -> Status:
    """As training does, without a checkpoint or a ledger."""
    start_attempt(phase)
    status = phase.run.require_status()
    return phase.run.write_status(replace(status, state="done", step=STEPS))


def child_of(parent: RunDirectory, place: Path | None, *, restart: bool = True) -> Phase:
    origin = f"init_from={{run: {parent.path}, load: weights}}"
    overrides = [origin, "schedule={kind: constant, lr: 1e-3, warmup_tokens: 0}"]
    overrides += ["data.restart=true"] if restart else []
    return prepare_phase(parent.path.parent / "run.yaml", overrides, place, world_size=1)


@pytest.fixture
def parent(tmp_path: Path) -> RunDirectory:
    """Done, and its last checkpoint there."""
    phase = prepare_phase(write_run(tmp_path), [], tmp_path / "parent", world_size=1)
    finish(phase)
    save(phase.run, STEPS)
    return phase.run


@pytest.mark.parametrize("is_named", [True, False])
def test_a_run_with_a_checkpoint_of_its_own_needs_none_of_its_parent(
    is_named: bool, parent: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "child" if is_named else None
    child = child_of(parent, place)
    start_attempt(child)
    (parent.checkpoint(STEPS) / COMPLETE_MARKER).unlink()
    with pytest.raises(RunError, match="the run is done but its last checkpoint has no"):
        child_of(parent, place)
    save(child.run, 5)
    assert child_of(parent, place).run == child.run


def test_a_run_that_is_done_needs_nothing(parent: RunDirectory, tmp_path: Path) -> None:
    finish(child_of(parent, tmp_path / "child"))
    (parent.checkpoint(STEPS) / COMPLETE_MARKER).unlink()
    assert child_of(parent, tmp_path / "child").run.require_status().state == "done"


def test_a_parent_that_is_not_done_is_named(parent: RunDirectory, tmp_path: Path) -> None:
    """And not that its ledger does not reach to its end either."""
    parent.write_status(replace(parent.require_status(), state="failed", step=3))
    with pytest.raises(RunError, match="is failed at step 3 of 20; finish it first"):
        child_of(parent, tmp_path / "child", restart=False)
