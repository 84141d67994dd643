"""`codemix config`, as a user types it."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.config.loader import load_run_config

COMPLETE = """\
extends: examples/models/tiny.yaml
data:
  sequence_length: 256
  sources: {text: {train: shards/text}, code: {train: shards/code}}
  mixture: {weights: {text: 0.8, code: 0.2}}
tokenizer: {path: tokenizer.json}
optimizer: {weight_decay: 0.1}
schedule: {kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 20K}
train: {train_tokens: 0.5M, global_batch_sequences: 16, seed: 1}
precision: {kind: fp32}
"""


@pytest.fixture
def run_yaml(tmp_path: Path) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(COMPLETE)
    return path


@pytest.fixture
def codemix(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs the command; (exit code, standard output, standard error)."""

    def run(*arguments: str | Path) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_show_prints_what_can_be_loaded_again(run_yaml: Path, codemix: Any, tmp_path: Path) -> None:
    code, out, err = codemix("config", "show", run_yaml, "train.seed=7")
    assert (code, err) == (0, "")
    shown = tmp_path / "shown.yaml"
    shown.write_text(out)
    assert load_run_config(shown) == load_run_config(run_yaml, ["train.seed=7"])


def test_show_says_where_each_value_is_from(run_yaml: Path, codemix: Any) -> None:
    _, out, _ = codemix("config", "show", run_yaml, "train.seed=7")
    comments = {line.split(":")[0].strip(): line.partition("# ")[2] for line in out.splitlines()}
    assert comments["sequence_length"] == f"{run_yaml}:3"
    assert comments["seed"] == "override 'train.seed=7'"
    assert comments["num_query_groups"] == "default"
    assert comments["num_layers"].partition("; ")[2].startswith("inferred")
    assert "tiny.yaml:" in comments["num_layers"]


def test_show_as_json(run_yaml: Path, codemix: Any) -> None:
    content = json.loads(codemix("config", "show", run_yaml, "--json")[1])
    assert content["config"]["train"]["train_tokens"] == "500K"
    assert content["given"]["train.seed"] == f"{run_yaml}:9"
    assert content["origin"]["model.num_layers"].startswith("inferred")


def test_check_of_a_good_file(run_yaml: Path, codemix: Any) -> None:
    alone = codemix("config", "check", run_yaml, "--file-only")
    assert alone == (0, f"{run_yaml}: nothing wrong\n", "")
    _, out, _ = codemix(
        "config", "check", run_yaml, "layout.tensor=2", "--world-size", "4", "--file-only"
    )
    assert "122 steps of 4096 tokens = 499712, 2 data-parallel ranks x 8 microbatches" in out


def test_check_reports_typing_problems_in_one_block(run_yaml: Path, codemix: Any) -> None:
    code, out, err = codemix("config", "check", run_yaml, "train.sed=1", "layout.tensor=x")
    assert (code, out) == (2, "")
    assert [line[:7] for line in err.splitlines()] == ["error: ", "error: "]


def test_check_reports_rules_and_layout_together(run_yaml: Path, codemix: Any) -> None:
    code, _, err = codemix(
        "config", "check", run_yaml, "schedule.min_lr=1", "layout.tensor=2", "--world-size", "3"
    )
    assert code == 2
    assert "schedule.min_lr: 1 is above" in err
    assert "3 processes are not a multiple" in err


def test_check_as_json(run_yaml: Path, codemix: Any) -> None:
    code, out, _ = codemix(
        "config", "check", run_yaml, "--json", "--world-size", "2", "--file-only"
    )
    content = json.loads(out)
    assert (code, content["ok"], content["problems"]) == (0, True, [])
    assert content["plan"]["data_parallel"] == 2
    code, out, _ = codemix("config", "check", run_yaml, "schedule.min_lr=1", "--json")
    content = json.loads(out)
    assert (code, content["ok"], len(content["problems"])) == (2, False, 1)


def test_schema_is_json(codemix: Any) -> None:
    code, out, _ = codemix("config", "schema")
    assert code == 0
    assert "extends" in json.loads(out)["properties"]


def test_diff_of_files_and_run_directories(run_yaml: Path, codemix: Any, tmp_path: Path) -> None:
    run = tmp_path / "runs" / "train-12345678"
    run.mkdir(parents=True)
    _, shown, _ = codemix("config", "show", run_yaml, "train.seed=7", "layout.tensor=2")
    (run / "config.yaml").write_text(shown)
    assert codemix("config", "diff", run_yaml, run)[1].splitlines() == [
        "* train.seed: 1 -> 7",
        "  layout.tensor: 1 -> 2",
        "another run: fields marked * decide what is learned",
    ]
    assert codemix("config", "diff", run, run_yaml, "train.seed=7", "layout.tensor=2")[1] == (
        "the same configuration\n"
    )
    rows = json.loads(codemix("config", "diff", run_yaml, run, "--json")[1])["differences"]
    assert rows[0] == {"path": "train.seed", "first": 1, "second": 7, "identity": "yes"}


@pytest.mark.parametrize(
    ("override", "summary"),
    [
        ("layout.tensor=2", "the same run: no difference decides what is learned"),
        ("tokenizer.path=x", "the same run if the files behind the fields marked ? have the same"),
        ("train.seed=1", "the same configuration"),
    ],
)
def test_diff_says_whether_it_is_the_same_run(
    run_yaml: Path, codemix: Any, tmp_path: Path, override: str, summary: str
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(codemix("config", "show", run_yaml, override)[1])
    assert codemix("config", "diff", run_yaml, other)[1].splitlines()[-1].startswith(summary)


def test_diff_with_a_folder_that_is_no_run(run_yaml: Path, codemix: Any, tmp_path: Path) -> None:
    code, _, err = codemix("config", "diff", run_yaml, tmp_path)
    assert code == 2
    assert "config.yaml: cannot be read" in err


def test_megatron_args_are_words_for_a_shell(run_yaml: Path, codemix: Any) -> None:
    code, out, err = codemix(
        "config", "megatron-args", run_yaml, "layout.tensor=2", "--world-size", "4",
        "data.sources.text.train=my shards/text",
    )  # fmt: skip
    assert code == 0
    words = shlex.split(out)
    assert words[words.index("--num-layers") + 1] == "4"
    assert "my shards/text" in words
    assert all(line.startswith("note: ") for line in err.splitlines())


def test_megatron_args_of_an_impossible_layout(run_yaml: Path, codemix: Any) -> None:
    code, out, err = codemix("config", "megatron-args", run_yaml, "--world-size", "3")
    assert (code, out) == (2, "")
    assert "train.global_batch_sequences" in err
