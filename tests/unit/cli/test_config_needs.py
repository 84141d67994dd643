"""`codemix config check` on what a configuration needs: shards, tokenizer, tokens, packages."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.backend.environment import has_nvidia_driver
from megatron_codemix.cli.main import main
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.held_out import held_out_sources
from megatron_codemix.data.resolve import resolve_data
from megatron_codemix.errors import ConfigError
from tests.helpers.tiny import SEQUENCE, markov_documents, write_run, write_shard

STEP_TOKENS = 8 * SEQUENCE


@pytest.fixture
def run_yaml(tmp_path: Path) -> Path:
    """Configuration, tokenizer and training shards of a run that can start."""
    return write_run(tmp_path)


@pytest.fixture
def problems_of(capsys: pytest.CaptureFixture[str]) -> Any:
    """What `config check --json` finds; its exit code has to say the same."""

    def check(*arguments: str | Path) -> list[str]:
        code = main(["config", "check", *map(str, arguments), "--json"])
        content = json.loads(capsys.readouterr().out)
        assert code == (2 if content["problems"] else 0)
        assert content["ok"] == (not content["problems"])
        return content["problems"]

    return check


def test_a_run_that_can_start_is_fine(run_yaml: Path, problems_of: Any) -> None:
    assert problems_of(run_yaml) == []


def test_shards_that_are_not_there_are_named_together(run_yaml: Path, problems_of: Any) -> None:
    found = problems_of(
        run_yaml,
        *(f"data.sources.{name}.train=nowhere/{name}" for name in ("code", "text")),
        "data.sources.text.validation=nowhere/held",
    )
    assert [problem.split(":")[0] for problem in sorted(found)] == [
        "data.sources.code.train",
        "data.sources.text.train",
        "data.sources.text.validation",
    ]
    assert problems_of(run_yaml, "data.sources.text.train=nowhere", "--file-only") == []


def test_a_training_shard_is_not_held_out(
    run_yaml: Path, problems_of: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained_on = load_run_config(run_yaml, []).data.sources["text"].train
    override = f"data.sources.code.validation={trained_on}"
    (problem,) = problems_of(run_yaml, override)
    assert problem.startswith(f"data.sources.code.validation: {trained_on} is a train shard; ")
    config = load_run_config(run_yaml, [override])
    for refuses in (resolve_data, lambda config: held_out_sources(config, 1000)):
        with pytest.raises(ConfigError, match=r"code\.validation: .* is a train shard"):
            refuses(config)


def test_a_source_in_no_mixture_is_noted(
    run_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["config", "check", str(run_yaml), "data.sources.extra={train: nowhere/x}"])
    (note,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note")]
    assert code == 0
    assert "data.sources.extra: is not in the mixture; nothing reads it" in note
    assert "nowhere/x: no token shard there" in note


def test_a_tokenizer_that_is_not_there_is_named_once(run_yaml: Path, problems_of: Any) -> None:
    (problem,) = problems_of(run_yaml, "tokenizer.path=nowhere.json")
    assert problem.startswith("nowhere.json: cannot be read")


@pytest.mark.parametrize("use", ["train", "validation"])
def test_a_shard_of_another_tokenizer_is_named(
    run_yaml: Path, problems_of: Any, tmp_path: Path, use: str
) -> None:
    write_shard(tmp_path / "other", markov_documents(1, 50), tokenizer="f" * 64, split=use)
    (problem,) = problems_of(run_yaml, f"data.sources.text.{use}={tmp_path / 'other'}")
    assert problem.startswith(f"data.sources.text.{use}: ")
    assert "ffffffff" in problem


def test_too_few_tokens_for_the_schedule_are_counted(run_yaml: Path, problems_of: Any) -> None:
    (problem,) = problems_of(run_yaml, "data.sources.code.max_epochs=0.1")
    assert problem.startswith("data.sources.code.max_epochs: 0.1 epochs are ")
    spill = "data.sources.code.spill_to=[text]"
    assert problems_of(run_yaml, "data.sources.code.max_epochs=0.1", spill) == []


def test_repetition_without_a_cap_is_a_note(
    run_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = f"train.train_tokens={2000 * STEP_TOKENS}"
    assert main(["config", "check", str(run_yaml), tokens]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("nothing wrong")
    assert lines[1].startswith("note: code is read ")


def test_a_loader_that_is_not_installed_is_named(
    run_yaml: Path, problems_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (problem,) = problems_of(run_yaml, "data.loader=dali")
    assert "NVIDIA DALI is not installed" in problem


def test_a_parent_that_is_not_trained_is_named(run_yaml: Path, problems_of: Any) -> None:
    (problem,) = problems_of(run_yaml, "init_from={run: nowhere/parent, load: weights}")
    assert "nowhere/parent" in problem


def test_what_a_recipe_of_fp8_needs_is_said_where_no_gpu_can_be_asked(
    run_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "precision={kind: fp8, recipe: delayed}"
    assert main(["config", "check", str(run_yaml), asked]) == 0
    needed = "note: precision.recipe: delayed runs where Transformer Engine 2.9 or newer, before 2."
    assert needed in capsys.readouterr().out
    job = ["train", str(run_yaml), asked, "--dry-run", "--world-size", "2"]
    assert main(job) == 0
    assert "precision.recipe: delayed runs where" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["backend.engine=transformer_engine"], "backend.engine: transformer_engine runs where"),
        (
            [
                "model.transformer_overrides={cross_entropy_loss_fusion: true,"
                " cross_entropy_fusion_impl: te}",
                *("layout.tensor=2", "layout.sequence_parallel=true", "layout.tensor_overlap=true"),
            ],
            "layout.tensor_overlap: true, model.transformer_overrides.cross_entropy_fusion_impl: te"
            " run where",
        ),
    ],
)
def test_what_transformer_engine_needs_is_said_where_it_is_asked_for(
    run_yaml: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], expected: str
) -> None:
    asked = ["precision={kind: bf16}", *overrides]
    assert main(["config", "check", str(run_yaml), *asked]) == 0
    needed = f"{expected} Transformer Engine 2.9 or newer, before 2.12, and GPUs of compute capab"
    assert f"note: {needed}" in capsys.readouterr().out
    assert main(["train", str(run_yaml), *asked, "--dry-run", "--world-size", "2"]) == 0
    assert f"note       {needed}" in capsys.readouterr().out


def test_what_overlapped_products_need_of_the_nodes_is_said(
    run_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [
        "layout.tensor=2", "layout.sequence_parallel=true", "layout.tensor_overlap=true",
        "precision={kind: bf16}", "backend.device=auto",
    ]  # fmt: skip
    needed = "the 2 ranks of each tensor-parallel group must be on one node"
    for command in (["config", "check"], ["train", "--dry-run", "--world-size", "8"]):
        assert main([*command, str(run_yaml), *asked]) == 0
        assert needed in capsys.readouterr().out


@pytest.mark.skipif(has_nvidia_driver(), reason="of a machine without a GPU")
def test_training_in_fp8_without_a_gpu_is_refused_before_it_begins(
    run_yaml: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = "precision={kind: fp8, recipe: delayed}"
    assert main(["train", str(run_yaml), asked, "--run-dir", str(run)]) == 2
    said = capsys.readouterr().err
    assert "capability 8.9 or higher, and this machine has none" in said
    assert "precision.recipe=emulated precision.rule=delayed" in said
    assert not run.exists()
