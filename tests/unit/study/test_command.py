"""`codemix study check`: the same answer for programs as for people."""

import json
import re
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from tests.helpers.study_files import STUDY, write_data, write_study


def test_check_as_json_lists_the_problems(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_study(tmp_path))
    assert main(["study", "check", path, "--json"]) == EXIT_DONE
    good = json.loads(capsys.readouterr().out)
    assert (good["ok"], good["problems"], good["phases"]) == (True, [], 4)
    write_study(tmp_path, STUDY.replace("mixed: balanced-then-text", "mixed: nobody"))
    assert main(["study", "check", path, "--json"]) == EXIT_INPUT
    bad = json.loads(capsys.readouterr().out)
    assert bad["ok"] is False
    [problem] = bad["problems"]
    assert "no phase 'nobody'" in problem


@pytest.mark.parametrize("command", [["plan"], ["run", "--dry-run"], ["run"]])
def test_a_wrong_vocabulary_ends_every_command_before_anything_starts(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    path = write_study(tmp_path, STUDY.replace("vocabulary_size: 64", "vocabulary_size: 65"))
    assert main(["study", *command, str(path), "--data", str(data)]) == EXIT_INPUT
    assert "set model.vocabulary_size to 64" in capsys.readouterr().err


def test_plan_says_how_a_mixture_changes_within_its_phase(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    data = write_data(tmp_path / "data")
    text = STUDY.replace(
        "data.mixture.weights: {text: 0.5, code: 0.5}",
        "data.mixture: {kind: stages, strategy: decrease, varying: {code: 1}, others: {text: 1}}",
    )
    path = str(write_study(tmp_path, text))
    assert main(["study", "plan", path, "--data", str(data)]) == EXIT_DONE
    out = " ".join(re.sub("[│╎]", " ", capsys.readouterr().out).split())
    assert out.count("four stages (decrease): code 50.0%, text 50.0% to 160 tokens, then") == 1
    assert "25.0% to" not in out, "constant mixtures are in the lines of their sources"


def test_plan_shows_names_with_brackets_and_warns_of_rounding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    axes = "matrix: {size: ['[b]s']}\naxes: {size: {'[b]s': {model.num_layers: 2}}}\nphases:\n"
    text = STUDY.replace("train_tokens: 200M", "train_tokens: 20M").replace("phases:\n", axes, 1)
    path = write_study(tmp_path, text)
    assert main(["study", "plan", str(path), "--data", str(data)]) == EXIT_DONE
    out = capsys.readouterr().out
    assert "[b]s/text" in out
    assert "this is not the comparison asked for" in out
