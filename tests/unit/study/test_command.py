"""`codemix study check`: the same answer for programs as for people."""

import json
import re
from pathlib import Path
from typing import Any

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


def test_check_takes_several_files_and_tells_their_problems_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = str(write_study(tmp_path))
    files = [good]
    for number, (old, new) in enumerate(
        [("mixed: balanced-then-text", "mixed: nobody"), ("world_size: 2\n", "world_size: 3\n")]
    ):
        path = tmp_path / f"bad{number}.yaml"
        path.write_text(STUDY.replace(old, new))
        files.append(str(path))
    assert main(["study", "check", *files]) == EXIT_INPUT
    said = capsys.readouterr()
    told = said.err
    assert said.out == f"{good}: ok, 4 phases, 3 variants\n"
    assert "bad0.yaml:" in told
    assert "no phase 'nobody'" in told
    assert "bad1.yaml:18: every phase: layout: tensor 2" in told
    assert main(["study", "check", *files, "--json"]) == EXIT_INPUT
    record = json.loads(capsys.readouterr().out)
    assert [one["file"] for one in record["studies"]] == [good]
    assert len(record["problems"]) == 2


def test_check_counts_what_studies_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(STUDY.replace("{text: 0.5, code: 0.5}", "{text: 0.25, code: 0.75}"))
    assert main(["study", "check", str(write_study(tmp_path)), str(other)]) == EXIT_DONE
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    # `text` is the same in both; `balanced` is not, nor what starts from it.
    assert lines[-1] == "2 studies: 8 phases, 7 different ones"


def test_check_warns_of_phases_without_a_variant_and_of_variants_that_are_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = STUDY.replace("  cooled: cooldown\n", "  again: balanced-then-text\n")
    text = text.replace("phases:\n", "matrix: {train.seed: [1, 2]}\nphases:\n", 1)
    path = write_study(tmp_path, text)
    assert main(["study", "check", str(path)]) == EXIT_DONE
    said = capsys.readouterr()
    told, unneeded, double = said.out.splitlines()
    assert (told, said.err) == (f"{path}: ok, 8 phases, 3 variants, 2 cells", "")
    assert unneeded.startswith(f"warning: {path}:28: phases.cooldown: no variant needs it")
    words = "variants.again: ends in phase 'balanced-then-text', as variant 'mixed' does"
    assert double.startswith(f"warning: {path}:36: {words}")
    assert main(["study", "check", str(path), "--json"]) == EXIT_DONE
    [record] = json.loads(capsys.readouterr().out)["studies"]
    assert [f"warning: {warning}" for warning in record["warnings"]] == [unneeded, double]


def test_check_asks_whether_stated_tokens_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = STUDY.replace("defaults:\n", "source_tokens: {code: 81}\ndefaults:\n", 1)
    text = text.replace("code: {train:", "code: {max_epochs: 2, train:")
    assert main(["study", "check", str(write_study(tmp_path, text))]) == EXIT_INPUT
    assert "2 epochs are 10 samples" in capsys.readouterr().err


def test_a_study_names_the_gpu_that_it_is_planned_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    path = str(write_study(tmp_path, f"gpu: h100\n{STUDY}"))
    assert main(["study", "plan", path, "--data", str(data), "--json"]) == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    assert record["cost"]["gpu"] == "h100"
    hours = [phase["gpu_hours"] for phase in record["phases"]]
    assert sum(hours) == pytest.approx(record["cost"]["total"]["gpu_hours"])
    assert main(["study", "plan", path, "--gpu", "h200", "--json"]) == EXIT_DONE
    assert json.loads(capsys.readouterr().out)["cost"]["gpu"] == "h200"
    bad = str(write_study(tmp_path, f"gpu: h1\n{STUDY}"))
    assert main(["study", "check", bad]) == EXIT_INPUT
    assert "study.yaml:1: gpu: " in capsys.readouterr().err


def test_plan_says_how_budgets_are_rounded_and_what_each_source_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    path = str(write_study(tmp_path))
    assert main(["study", "plan", path, "--data", str(data), "--json"]) == EXIT_DONE
    record = json.loads(capsys.readouterr().out)
    phases = {phase["phase"]: phase for phase in record["phases"]}
    assert phases["balanced-then-text"]["source_tokens"] == {"code": 160, "text": 480}
    assert phases["text"]["gpu_hours"] is None
    # 200 tokens are 3.125 steps of 64.
    [note] = record["warnings"]
    assert note == (
        "token budgets are rounded to the nearest whole step: by at most 8 tokens, 4% "
        "(phase cooldown)"
    )


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


def planned_cost(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["study", "plan", *arguments, "--json"]) == EXIT_DONE
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["cost"]
    return found


def test_plan_has_memory_time_and_cost_of_every_phase_on_a_gpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data")
    study = [str(write_study(tmp_path)), "--data", str(data)]
    assert planned_cost(capsys, *study) is None
    cost = planned_cost(capsys, *study, "--gpu", "h100", "--price", "3")
    names = ["text", "balanced", "balanced-then-text", "cooldown"]
    assert [phase["phase"] for phase in cost["phases"]] == names
    for phase, steps in zip(cost["phases"], (10, 10, 10, 3), strict=True):
        hours = 2 * steps * phase["time"]["step_seconds"] / 3600
        assert phase["cost"]["gpu_hours"] == pytest.approx(hours)
        assert phase["memory"]["fits"] is True
        assert phase["paper_chip_hours"] is None
    hours = sum(phase["cost"]["gpu_hours"] for phase in cost["phases"])
    assert cost["total"]["gpu_hours"] == pytest.approx(hours)
    assert cost["total"]["gpu_money"] == pytest.approx(3 * hours)
    assert main(["study", "plan", *study, "--gpu", "h100"]) == EXIT_DONE
    assert "on 2 x NVIDIA H100 SXM 80 GB" in capsys.readouterr().out
    assert main(["study", "plan", *study, "--gpu", "h1"]) == EXIT_INPUT
    assert "no GPU 'h1' in the planner's table" in capsys.readouterr().err
    assert main(["study", "plan", *study, "--price", "2"]) == EXIT_INPUT
    assert "--price: no effect: it goes with --gpu" in capsys.readouterr().err


def test_a_phase_without_a_known_time_is_named_by_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emulated = "precision={kind: fp8, recipe: emulated, rule: tensorwise}"
    study = ["study", "plan", str(write_study(tmp_path)), "--set", emulated]
    study += ["--set", "model.head_dim=16"]
    assert main([*study, "--gpu", "h100"]) == EXIT_INPUT
    assert "error: text: precision.recipe: emulated multiplies in" in capsys.readouterr().err


def test_plan_of_the_papers_model_has_the_papers_chip_hours_beside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In proportion to the tokens: 4,736 for 200B."""
    first = STUDY.index("  model: {")
    model = STUDY[first : STUDY.index("  tokenizer:")]
    text = STUDY.replace(model, "  extends: examples/models/470m.yaml\n")
    text = text.replace("token_scale: 1e-6", "token_scale: 1")
    cost = planned_cost(capsys, str(write_study(tmp_path, text)), "--gpu", "h100")
    tokens = sum(phase["cost"]["tokens"] for phase in cost["phases"])
    assert cost["paper_chip_hours"] == pytest.approx(4736 * tokens / 200e9)
