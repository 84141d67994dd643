"""`codemix study logs` of what has no log: why not."""

from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from megatron_codemix.files import write_text
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.record import StudyRecord, write_record
from tests.helpers.study_files import STUDY, small_tree, write_evaluated, write_trained

VALIDATED = STUDY.replace(
    "heldout: {world_size: 1, max_bytes_per_source: 1KiB}", "heldout: {kind: validation}"
).replace(
    "precision: {kind: fp32}",
    "precision: {kind: fp32}\n  validation: {every_tokens: 64M, max_bytes_per_source: 1KiB}",
)


def told(folder: Path, *more: str) -> int:
    """Exit code for the phase `text` of the study in `folder`."""
    words = ["study", "logs", str(folder / "study.yaml"), "text", "--out", str(folder / "out")]
    return main([*words, *more])


def test_a_phase_that_has_not_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    assert told(tmp_path) == EXIT_INPUT
    assert "phase 'text' has not begun yet in" in capsys.readouterr().err
    write_record(out, StudyRecord(name="small").with_runs(tree, out))
    run = tree.run_directory(out, tree.nodes["single/text"])
    for folder in (None, run.path):
        if folder is not None:
            folder.mkdir(parents=True)
        assert told(tmp_path) == EXIT_INPUT
        assert "phase 'text' has not begun yet, so" in capsys.readouterr().err


def trained(folder: Path, text: str) -> RunDirectory:
    tree, out = small_tree(folder, text), folder / "out"
    run = write_trained(tree, out, tree.nodes["single/text"])
    write_record(out, StudyRecord(name="small").with_runs(tree, out))
    write_text(run.path / "train.log", "line\n")
    return run


def test_an_evaluation_that_has_not_begun(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its log would lie in the run directory, which is there since the training."""
    run = trained(tmp_path, STUDY)
    assert told(tmp_path) == EXIT_DONE
    assert told(tmp_path, "--evaluation") == EXIT_INPUT
    words = f"the evaluation of 'text' has not begun yet, so there is no {run.path}/evaluate.log"
    assert words in capsys.readouterr().err
    write_evaluated(small_tree(tmp_path), run, {"text": 1.0})
    assert told(tmp_path, "--evaluation") == EXIT_INPUT
    assert f"{run.path}/evaluate.log: no such log here" in capsys.readouterr().err
    (run.path / "train.log").unlink()
    assert told(tmp_path) == EXIT_INPUT
    assert f"{run.path}/train.log: no such log here" in capsys.readouterr().err


def test_an_evaluation_that_never_begins(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained(tmp_path, VALIDATED)
    assert told(tmp_path, "--evaluation") == EXIT_INPUT
    assert "phase 'text' is not evaluated: with evaluation.held" in capsys.readouterr().err
