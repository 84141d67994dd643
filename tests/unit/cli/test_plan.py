"""`codemix plan`, as a user types it."""

import itertools
import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.planner.hardware import gpus, networks
from megatron_codemix.planner.time import load_constants
from megatron_codemix.resources import find_example
from tests.helpers.measured_runs import config_of, write_measured

Codemix = Callable[..., tuple[int, str, str]]

REPOSITORY = Path(__file__).parents[3]
RUN = """\
extends: examples/models/1b.yaml   # mine
data:
  sequence_length: 2048
  sources: {text: {train: shards/text}}
  mixture: {weights: {text: 1}}
tokenizer: {path: tokenizer.json}
optimizer: {weight_decay: 0.1}
schedule: {kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 1B}
train: {train_tokens: 20B, global_batch_sequences: 512, seed: 1}
precision: {kind: bf16}
"""
MASKED = "data.document_mask=true"
AS_IT_IS = (
    "layout={tensor: 1, pipeline: 1, context: 1, microbatch_sequences: 1, recompute: none}",
)
EMULATED = "precision={kind: fp8, recipe: emulated, rule: tensorwise}"
OVERLAP = ("layout.tensor_overlap=true", "layout.sequence_parallel=true")
WIDE = ("model.num_attention_heads=32", "model.num_query_groups=32")
ON_64 = ("--gpu", "h100", "--gpus", "64")
ON_16 = ("--gpu", "h100", "--gpus", "16")


@pytest.fixture
def codemix(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Codemix:
    """Runs the command; (exit code, standard output, standard error)."""
    monkeypatch.setenv("COLUMNS", "150")

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main(["plan", *map(str, arguments)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def run_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(RUN)
    return path


@pytest.fixture
def model_yaml() -> Path:
    path = find_example("models/2_8b.yaml")
    assert path is not None
    return path


def as_json(codemix: Codemix, *arguments: str | Path) -> Any:  # Any: JSON values
    code, out, err = codemix(*arguments, "--json")
    assert (code, err) == (0, "")
    return json.loads(out)


def test_a_run_is_planned_in_its_own_layout(run_yaml: Path, codemix: Codemix) -> None:
    found = as_json(codemix, run_yaml, "layout.tensor=2", *ON_64)
    assert found["assumptions"] == []
    assert found["search"] is None
    plan = found["plan"]
    assert plan["layout"]["tensor"] == 2
    assert (plan["data_parallel"], plan["num_microbatches"]) == (32, 16)
    stage = plan["memory"]["stages"][0]
    assert sum(stage[part] for part in stage if part != "total") == stage["total"]
    assert sum(plan["time"]["parts"].values()) == pytest.approx(plan["time"]["step_seconds"])
    steps = 20_000_000_000 / (512 * 2048)
    hours = 64 * round(steps) * plan["time"]["step_seconds"] / 3600
    assert found["cost"]["total"]["gpu_hours"] == pytest.approx(hours)
    assert found["settings"] == {"tensor": 2}


def test_what_a_model_file_lacks_is_assumed_and_said(model_yaml: Path, codemix: Codemix) -> None:
    found = as_json(codemix, model_yaml, *ON_64)
    assumed = {one["field"]: one["value"] for one in found["assumptions"]}
    assert assumed == {
        "train.global_batch_sequences": "512",
        "precision": "bf16",
        "optimizer": "adamw",
    }
    assert found["cost"]["total"] is None
    per_billion = found["cost"]["per_billion_tokens"]["gpu_hours"]
    assert found["paper"]["chip_hours"] == 13824
    assert found["paper"]["gpu_hours_here"] == pytest.approx(200 * per_billion)
    code, out, err = codemix(model_yaml, *ON_64)
    assert (code, err) == (0, "")
    assert "assumed    train.global_batch_sequences 512" in out
    assert "13,824 TPU v5e chip-hours for 200B tokens" in out


def test_a_configuration_for_a_cpu_is_planned_on_gpus_and_that_is_said(
    run_yaml: Path, codemix: Codemix
) -> None:
    found = as_json(codemix, run_yaml, "backend.device=cpu", *ON_64)
    assert [one["field"] for one in found.pop("assumptions")] == ["backend.device"]
    whatever = as_json(codemix, run_yaml, *ON_64)
    assert whatever.pop("assumptions") == []
    assert found == whatever
    said = codemix(run_yaml, "backend.device=cpu", *ON_64)[1]
    assert "assumed    backend.device GPUs: a plan is of those, and cpu was asked for" in said


def test_document_masks_take_memory(run_yaml: Path, codemix: Codemix) -> None:
    plain, masked, searched = (
        as_json(codemix, run_yaml, *arguments, *ON_16)["plan"]
        for arguments in ((), (MASKED,), (MASKED, *AS_IT_IS, "--search"))
    )
    [without], [with_them] = plain["memory"]["stages"], masked["memory"]["stages"]
    assert with_them["activations"] > without["activations"] + 22 * 2048 * 2048 * 2
    assert searched["memory"] == masked["memory"]


def test_tokens_and_prices_give_a_cost(model_yaml: Path, codemix: Codemix) -> None:
    options = ("--tokens", "400B", "--price", "2", "--power-price", "0.1", "--watts", "1000")
    cost = as_json(codemix, model_yaml, *ON_64, *options)["cost"]["total"]
    assert cost["tokens"] == pytest.approx(400e9, rel=1e-5)
    assert cost["gpu_money"] == pytest.approx(2 * cost["gpu_hours"])
    assert cost["kwh"] == pytest.approx(cost["gpu_hours"])
    assert cost["energy_money"] == pytest.approx(0.1 * cost["kwh"])
    text = codemix(model_yaml, *ON_64, *options)[1]
    assert "the GPUs cost" in text
    assert "the energy costs" in text


def test_the_written_winner_is_legal_and_the_same_run(
    run_yaml: Path, codemix: Codemix, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "found" / "run.yaml"
    assert "there is no folder" in codemix(run_yaml, *ON_16, "--search", "--write", target)[2]
    target.parent.mkdir()
    shown = codemix(run_yaml, *ON_16, "--search", "--write", target, "--dry-run")
    assert shown[0] == 0
    assert not target.exists()
    found = as_json(codemix, run_yaml, *ON_16, "--search", "--write", target)
    assert found["written"] == str(target)
    assert target.read_text() in shown[1]
    assert run_yaml.read_text() == RUN
    asked, written = load_run_config(run_yaml), load_run_config(target)
    assert written.layout.model_dump(mode="json") == found["plan"]["layout"]
    assert written.model_copy(update={"layout": asked.layout}) == asked
    check = ["config", "check", str(target), "--world-size", "16", "--file-only"]
    assert main(check) == 0
    capsys.readouterr()
    again = as_json(codemix, target, *ON_16)
    assert again["plan"] == found["plan"]


def test_a_search_ranks_and_counts(model_yaml: Path, codemix: Codemix) -> None:
    found = as_json(codemix, model_yaml, *ON_16, "--search", "--top", "3")
    search = found["search"]
    assert len(search["ranked"]) == 3
    assert search["ranked"][0] == found["plan"]
    assert "rejected" not in search
    assert sum(one["layouts"] for one in search["reasons"]) == (
        search["illegal"] + search["not_fitting"]
    )
    listed = as_json(codemix, model_yaml, *ON_16, "--search", "--rejected")["search"]["rejected"]
    assert len(listed) == search["illegal"] + search["not_fitting"]
    assert all(entry["reason"] for entry in listed)
    code, out, err = codemix(model_yaml, *ON_16, "--search", "--top", "3")
    assert (code, err) == (0, "")
    assert "the 3 fastest of" in out
    assert "layout.tensor: 8 does not divide model.num_attention_heads 20" in out


def test_what_the_command_line_says_of_the_layout_stays(model_yaml: Path, codemix: Codemix) -> None:
    overrides = ("layout.pipeline=4", "layout={tensor: 2, pipeline: 4, microbatch_sequences: 2}")
    found = as_json(codemix, model_yaml, *overrides, *ON_64, "--search", "--top", "100")
    for candidate in found["search"]["ranked"]:
        layout = candidate["layout"]
        assert (layout["tensor"], layout["pipeline"], layout["microbatch_sequences"]) == (2, 4, 2)


@pytest.mark.parametrize("name", ["README.md", "docs/planner.md"])
def test_what_the_documents_print_is_what_the_command_says(
    name: str, codemix: Codemix, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Line by line, but for what stands for `...`."""
    monkeypatch.chdir(REPOSITORY)
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    before, _, after = text.partition("```\nmodel  ")
    command = re.findall(r"codemix plan (.*--search --top.*?)`?:?\n", before)[-1]
    code, out, err = codemix(*shlex.split(command))
    assert (code, err) == (0, "")
    lines = iter([line.rstrip() for line in out.splitlines()])
    shown = [line.rstrip() for line in f"model  {after.partition('```')[0]}".splitlines()]
    for number, line in enumerate(shown):
        if line != "...":
            follows = (
                itertools.dropwhile(line.__ne__, lines) if shown[number - 1] == "..." else lines
            )
            assert next(follows, None) == line
    assert list(lines) == []


def test_a_layout_that_does_not_fit_is_an_answer(codemix: Codemix) -> None:
    path = find_example("models/70b.yaml")
    assert path is not None
    found = as_json(codemix, path, "--gpu", "h100", "--gpus", "8")
    assert found["plan"]["memory"]["fits"] is False
    code, out, _ = codemix(path, "--gpu", "h100", "--gpus", "8")
    assert code == 0
    assert "does NOT fit" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--gpus", "64"], "--gpu: say which kind: h100"),
        (["--gpu", "h100"], "--gpus: say how many"),
        (["--gpu", "h1000", "--gpus", "8"], "no GPU 'h1000' in the planner's table; did you"),
        ([*ON_64, "--network", "infiniband-nrd"], "did you mean 'infiniband-ndr'?"),
        (["--gpu", "h100", "--gpus", "60"], "--gpus: 60 are not whole nodes of 8"),
        ([*ON_64, "train.global_batch_sequences=100"], "100 is not a multiple of 64"),
        ([*ON_64, "layout.tensor=3"], "layout.tensor: 3 does not divide"),
        ([*ON_64, "layout.tensr=2"], "did you mean 'tensor'?"),
        ([*ON_64, "model.num_attention_heads=7"], "model.num_attention_heads: 7 does not divide"),
        ([*ON_64, "--tokens", "many"], "--tokens: expected a whole number"),
        ([*ON_64, "--tokens", "0"], "--tokens: must be at least 1"),
        ([*ON_64, "--price", "inf"], "--price: expected a finite number, got inf"),
        (["--validate"], "run.yaml: --validate predicts what others published"),
        ([*ON_64, "--constants", "nowhere.yaml"], "nowhere.yaml: no readable file of constants"),
        ([*ON_64, "precision={kind: fp8, recipe: tensorwise}", "--gpu", "a100"], "FP8"),
        (
            [*ON_64, "precision={kind: fp8, recipe: tensorwise}", "model.block=parallel"],
            "with precision.kind=fp8 take sequential, or emulate",
        ),
        ([*ON_64, EMULATED], "neither speed nor cost; plan real FP8, recipe: tensorwise or torch"),
        ([*ON_64, EMULATED, "--search"], "emulated multiplies in fp32 and rounds in kernels"),
        ([*ON_64, *OVERLAP, "layout.tensor=16", *WIDE], "16 tensor-parallel ranks (layout.tensor)"),
        (
            [*ON_64, *OVERLAP, "layout.tensor=16", *WIDE, "--search"],
            "no layout is legal, because:\nerror: layout.tensor_overlap: its buffers are reached",
        ),
        ([*ON_64, "model.num_layers=1000000"], "model.num_layers: 1000000 is beyond any model"),
        (
            [*ON_64, "data.sequence_length=1000000000000000000", f"model.vocabulary_size={10**23}"],
            "data.sequence_length: 1000000000000000000 is beyond any model",
        ),
        (
            ["--gpu", "h100", "--gpus", "8", "model.hidden_size=16384", "model.num_layers=80",
             "--search"],
            "--gpus: 8: no layout fits into the memory of NVIDIA H100 SXM 80 GB; the nearest is",
        ),
        (
            [*ON_64, "train.global_batch_sequences=7", "layout.tensor=1", "layout.pipeline=1",
             "layout.context=1", "--search"],
            "no layout is legal, because:\nerror: train.global_batch_sequences: 7 is not a",
        ),
    ],
)  # fmt: skip
def test_wrong_input_is_told_in_one_block(
    arguments: list[str], expected: str, run_yaml: Path, codemix: Codemix
) -> None:
    code, out, err = codemix(run_yaml, *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert all(line.startswith("error: ") for line in err.splitlines())


@pytest.mark.parametrize(
    ("arguments", "option", "mode"),
    [
        (["run.yaml", *ON_64, "--write", "new.yaml"], "--write", "--search"),
        (["run.yaml", *ON_64, "--top", "3"], "--top", "--search"),
        (["run.yaml", *ON_64, "--search", "--dry-run"], "--dry-run", "--write"),
        (["run.yaml", *ON_64, "--out", "new.yaml"], "--out", "--calibrate"),
        (["--validate", "--gpu", "h100"], "--gpu", "--validate"),
        (["run", "--calibrate", "--price", "1"], "--price", "--calibrate"),
        (["run", "--calibrate", "--dry-run"], "--dry-run", "--out"),
    ],
)
def test_options_without_effect_are_refused(
    arguments: list[str], option: str, mode: str, codemix: Codemix
) -> None:
    code, out, err = codemix(*arguments)
    assert (code, out) == (2, "")
    assert f"Invalid value for {option}: no effect: " in err
    assert mode in err.partition("no effect: ")[2]


def test_more_gpus_than_there_are_anywhere_are_refused(run_yaml: Path, codemix: Codemix) -> None:
    code, out, err = codemix(run_yaml, "--gpu", "h100", "--gpus", "1" + 20 * "0", "--search")
    assert (code, out) == (2, "")
    assert "Invalid value for '--gpus'" in err


def test_files_that_are_no_configuration(tmp_path: Path, run_yaml: Path, codemix: Codemix) -> None:
    assert "cannot be read" in codemix(tmp_path / "none.yaml", *ON_64)[2]
    study = find_example("quickstart/study.yaml")
    assert study is not None
    assert "is a study" in codemix(study, *ON_64)[2]
    assert (
        "exists, and would be lost" in codemix(run_yaml, *ON_64, "--search", "--write", run_yaml)[2]
    )
    assert "missing: give a configuration" in codemix("--gpu", "h100")[2]


def test_the_published_rows_are_printed(codemix: Codemix) -> None:
    found = as_json(codemix, "--validate")
    assert {row["is_fitted"] for row in found["rows"]} == {True, False}
    code, out, err = codemix("--validate")
    assert (code, err) == (0, "")
    assert "rows not fitted: mean error" in out


def test_constants_of_own_runs_are_written_and_used(
    tmp_path: Path, run_yaml: Path, codemix: Codemix
) -> None:
    truth = load_constants().with_(gemm_efficiency=0.8 * load_constants().gemm_efficiency)
    runs = [
        write_measured(tmp_path / model, config_of(model), 8, truth) for model in ("300m", "1b")
    ]
    out = tmp_path / "constants.yaml"
    found = as_json(codemix, "--calibrate", *runs, "--out", out)
    assert found["mean_error_after"] < found["mean_error_before"] / 5
    before = as_json(codemix, run_yaml, *ON_64)["plan"]["time"]["step_seconds"]
    after = as_json(codemix, run_yaml, *ON_64, "--constants", out)["plan"]["time"]["step_seconds"]
    assert after > 1.1 * before
    assert "would be lost" in codemix("--calibrate", *runs, "--out", out)[2]
    code, text, err = codemix("--calibrate", *runs)
    assert (code, err) == (0, "")
    assert "gemm_efficiency" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), []),
        (("--gpu", "a100"), ["the constants were fitted to h100"]),
        (
            ("model.moe={num_experts: 8, top_k: 2, balance_coefficient: 0.01}",),
            ["mixtures of experts are predicted more than twice as fast"],
        ),
        (
            ("precision={kind: fp8, recipe: torch_scaled_mm, rule: tensorwise}",),
            ["FP8 by the rule tensorwise in PyTorch's own products"],
        ),
    ],
)
def test_what_the_numbers_do_not_know_is_said(
    arguments: tuple[str, ...], expected: list[str], run_yaml: Path, codemix: Codemix
) -> None:
    notes = as_json(codemix, run_yaml, *ON_64, *arguments)["notes"]
    assert len(notes) == len(expected)
    for note, words in zip(notes, expected, strict=True):
        assert words in note
        assert note in codemix(run_yaml, *ON_64, *arguments)[1]


def test_an_exact_plan_is_counted_on_megatron_cores_model(codemix: Codemix) -> None:
    """The formula counts the same, so the memory is the same but for who counted it."""
    path = find_example("models/60m.yaml")
    assert path is not None
    arguments = (path, "layout.tensor=2", "layout.pipeline=2", *ON_16)
    formula = as_json(codemix, *arguments)["plan"]["memory"]
    code, out, err = codemix(*arguments, "--exact", "--json")
    assert code == 0
    assert "exact count of parameters and optimizer: 1 of 1 layout" in err
    exact = json.loads(out)["plan"]["memory"]
    assert (formula.pop("is_exact"), exact.pop("is_exact")) == (False, True)
    assert exact == formula


def test_the_help_names_what_the_tables_have(codemix: Codemix) -> None:
    text = "".join(codemix("--help")[1].replace("│", "").split())
    for names in (gpus(), networks()):
        assert ",".join(names) in text
