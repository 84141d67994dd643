"""What a phase needs of its parent before it starts."""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.backend.environment import may_have_gpus
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.files import write_json
from megatron_codemix.run_status import Status
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory
from megatron_codemix.train.phase import Phase, prepare_phase, record_failure, start_attempt
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


def test_a_start_that_failed_leaves_its_folder_to_a_corrected_configuration(
    tmp_path: Path,
) -> None:
    config, place = write_run(tmp_path), tmp_path / "run"
    first = prepare_phase(config, [], place, world_size=1)
    start_attempt(first)
    record_failure(first.run, "rank 0: a kernel that is not there", is_failure=True)
    first.run.chat_template.touch()
    second = prepare_phase(config, ["train.seed=2"], place, world_size=1)
    assert second.earlier_identity is None
    assert start_attempt(second) == 2
    status = second.run.require_status()
    assert (status.identity, status.state, status.failures) == (second.identity, "running", 0)
    assert load_run_config(second.run.config).train.seed == 2
    assert not second.run.chat_template.exists(), "it has none"
    assert (first.run.attempt(1) / "plan.json").is_file(), "what is known of the start is kept"
    with pytest.raises(RunError, match="another identity"):
        prepare_phase(config, [], place, world_size=1)


@pytest.mark.skipif(may_have_gpus(), reason="of a machine without a GPU")
@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_what_a_cpu_has_not_is_refused_before_a_folder_is_claimed(
    device: str, tmp_path: Path
) -> None:
    asked = [
        f"backend.device={device}",
        "model.transformer_overrides={gradient_accumulation_fusion: true}",
    ]
    with pytest.raises(ConfigError, match="has no meaning on a CPU"):
        prepare_phase(write_run(tmp_path), asked, tmp_path / "run", world_size=1)
    elsewhere = [asked[1]]
    prepare_phase(write_run(tmp_path), elsewhere, tmp_path / "run", world_size=1, runs_here=False)


def test_a_parent_that_is_not_done_is_named(parent: RunDirectory, tmp_path: Path) -> None:
    """And not that its ledger does not reach to its end either."""
    parent.write_status(replace(parent.require_status(), state="failed", step=3))
    with pytest.raises(RunError, match="is failed at step 3 of 20; finish it first"):
        child_of(parent, tmp_path / "child", restart=False)
