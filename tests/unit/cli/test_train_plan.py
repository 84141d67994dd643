"""`codemix train --dry-run --world-size N`: the plan of a job that would run elsewhere."""

from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from megatron_codemix.cli.train import command
from megatron_codemix.errors import ConfigError, UnavailableError
from megatron_codemix.train import phase
from tests.helpers.model_files import MODEL_FILES
from tests.helpers.tiny import VOCABULARY, write_run

ELSEWHERE = ("--dry-run", "--world-size", "64")


def train(*arguments: object) -> tuple[int, str]:
    """Exit code and output of the command."""
    app = typer.Typer()
    app.command()(command)
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_this_machines_device_and_disk_are_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = write_run(tmp_path, backend={"device": "cuda"}, train={"global_batch_sequences": 128})
    monkeypatch.setattr(phase, "require_free_bytes", lambda *arguments: pytest.fail("was asked"))
    code, output = train(config, *ELSEWHERE)
    assert code == 0
    assert "DP64 on 64 ranks, 1 microbatches of 2" in output
    assert not (tmp_path / "runs").exists()


def test_a_layout_that_does_not_divide_is_refused(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    with pytest.raises(ConfigError, match="8 is not a multiple of 128"):
        phase.prepare_phase(config, [], None, 64, runs_here=False)


def test_only_a_dry_run_takes_a_world_size(tmp_path: Path) -> None:
    code, output = train(write_run(tmp_path), "--world-size", "64")
    assert code == 2
    assert "--world-size" in output


def test_more_ranks_than_memory_holds_are_refused_here_and_planned_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("obtainable_bytes", "total_bytes"):
        monkeypatch.setattr(f"megatron_codemix.launch.crowding.{name}", lambda: 90 << 20)
    config = write_run(tmp_path, train={"global_batch_sequences": 128})
    for is_dry in (False, True):
        with pytest.raises(UnavailableError, match=r"2 processes need about 96.0 MiB of memory"):
            command(config, nproc=2, dry_run=is_dry)
    assert not (tmp_path / "runs").exists()
    assert train(config, *ELSEWHERE)[0] == 0


@pytest.mark.parametrize("name", MODEL_FILES)
def test_every_model_can_be_planned(name: str, tmp_path: Path) -> None:
    config = write_run(tmp_path, model={}, train={"global_batch_sequences": 512})
    tree = yaml.safe_load(config.read_text())
    del tree["model"]
    tree["extends"] = str(MODEL_FILES[name])
    config.write_text(yaml.safe_dump(tree))
    overrides = (f"model.vocabulary_size={VOCABULARY}", "layout.tensor=4")
    code, output = train(config, *overrides, *ELSEWHERE)
    assert code == 0, output
    assert "TP4 x PP1 x DP16 on 64 ranks" in output
