"""`codemix evaluate --tasks` as users run it: killed and gone on with, and asked wrongly."""

import json
import signal
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")

from megatron_codemix.files import read_json, read_jsonl
from megatron_codemix.locks import exclusive
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, codemix_stopped, python
from tests.helpers.tiny import write_run

NUM_ITEMS = 300


def write_items(folder: Path, count: int = NUM_ITEMS) -> Path:
    """Questions in the form of ARC's, by arithmetic."""
    folder.mkdir(parents=True, exist_ok=True)
    items = [
        {
            "question": f"What is {number} plus {number % 7}?",
            "choices": {
                "text": [str(number + number % 7 + shift) for shift in (0, 1, 10)],
                "label": ["A", "B", "C"],
            },
            "answerKey": "A",
        }
        for number in range(count)
    ]
    lines = [json.dumps(item) for item in items]
    (folder / "arc_easy.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("tasks")
    done = codemix("train", write_run(folder), "--run-dir", folder / "run")
    assert done.returncode == 0, done.stderr
    write_items(folder / "data")
    return RunDirectory(folder / "run")


def arguments(run: RunDirectory, out: Path, *more: str) -> list[str | Path]:
    data = run.path.parent / "data"
    return ["evaluate", run.path, "-t", "arc_easy", "--data-dir", data, "--out", out, *more]


def test_a_killed_evaluation_goes_on(run: RunDirectory, tmp_path: Path) -> None:
    slow = ("--max-batch-tokens", "1")
    answers = tmp_path / "killed/arc_easy.answers.jsonl"
    code = codemix_stopped(
        arguments(run, tmp_path / "killed", *slow),
        metrics=answers,
        after_lines=50,
        by=signal.SIGKILL,
    )
    assert code == -signal.SIGKILL
    assert not (tmp_path / "killed/arc_easy.summary.json").exists()
    kept = len(read_jsonl(answers)) - 1
    assert 0 < kept < 3 * NUM_ITEMS
    for name in ("killed", "whole"):
        done = codemix(*arguments(run, tmp_path / name, *slow))
        assert done.returncode == 0, done.stderr
    assert not answers.exists()
    killed, whole = (
        read_json(tmp_path / f"{name}/arc_easy.summary.json") for name in ("killed", "whole")
    )
    assert killed["answers_kept_from_before"] == kept
    assert killed["metrics"] == whole["metrics"]
    items = [(tmp_path / f"{name}/arc_easy.jsonl").read_bytes() for name in ("killed", "whole")]
    assert items[0] == items[1]


def test_the_summary_as_json_and_the_limit(run: RunDirectory, tmp_path: Path) -> None:
    done = codemix(*arguments(run, tmp_path, "--limit", "40", "-t", "heldout", "--json"))
    assert done.returncode == 0, done.stderr
    tasks = json.loads(done.stdout)["tasks"]
    assert list(tasks) == ["heldout", "arc_easy"]
    assert tasks["arc_easy"]["items"] == 40
    assert tasks["arc_easy"]["random_baseline"] == pytest.approx(1 / 3)
    assert read_json(tmp_path / "arc_easy.first40.summary.json") == tasks["arc_easy"]


def test_the_first_items_do_not_take_the_place_of_all(run: RunDirectory, tmp_path: Path) -> None:
    for more in ((), ("--limit", "5"), ("--limit", "6")):
        done = codemix(*arguments(run, tmp_path, *more))
        assert done.returncode == 0, done.stderr
    names = {"arc_easy": NUM_ITEMS, "arc_easy.first5": 5, "arc_easy.first6": 6}
    for name, items in names.items():
        assert read_json(tmp_path / f"{name}.summary.json")["items"] == items
        assert len(read_jsonl(tmp_path / f"{name}.jsonl")) == items


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["-t", "arc_esy"], "no task or suite 'arc_esy'; did you mean arc_easy?"),
        (["-t", "boolq"], "boolq: no data below"),
        (["-t", "sciq,cb", "--data-dir", "/nonexistent"], "/nonexistent: there is no such folder"),
        (["--nproc", "3", "--tensor", "2"], "3 processes are not a multiple of that"),
        (["--tensor", "3", "--nproc", "3"], "3 does not divide model.num_attention_heads 4"),
        (["--max-bytes-per-source", "much"], "max-bytes-per-source"),
        (["--limit", "0"], "limit"),
        (["--max-bytes-per-source", "1kB"], "--max-bytes-per-source: no effect: task heldout"),
        (["--samples", "4"], "--samples: no effect: no task draws programs"),
    ],
)
def test_wrong_arguments_are_told_in_one_block(
    run: RunDirectory, tmp_path: Path, more: list[str], expected: str
) -> None:
    done = codemix(*arguments(run, tmp_path, *more))
    assert done.returncode == 2, done.stderr
    assert done.stderr.count(expected) == 1
    assert "Traceback" not in done.stderr


def test_a_task_of_the_harness_s_own_asks_no_network(run: RunDirectory, tmp_path: Path) -> None:
    arguments = ("evaluate", run.path, "-t", "lambada_openai", "--out", tmp_path)
    done = python("-m", "megatron_codemix", *arguments)  # which imports the harness itself
    assert done.returncode == 2, done.stderr
    assert "lambada_openai: a task of the harness's own" in done.stderr
    assert "Retrying" not in done.stderr


def test_one_evaluation_at_a_time_in_a_folder(run: RunDirectory, tmp_path: Path) -> None:
    with exclusive(tmp_path / ".evaluate.lock", "a test"):
        done = codemix(*arguments(run, tmp_path))
    assert done.returncode == 75
    assert "an evaluation is already running here" in done.stderr


def test_a_truncated_file_is_named_with_its_line(run: RunDirectory, tmp_path: Path) -> None:
    data = write_items(tmp_path / "data", count=4)
    text = (data / "arc_easy.jsonl").read_text()
    (data / "arc_easy.jsonl").write_text(text[:-20])
    done = codemix("evaluate", run.path, "-t", "arc_easy", "--data-dir", data)
    assert done.returncode == 2, done.stderr
    assert "arc_easy.jsonl:4: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_incomplete_checkpoint_is_refused(run: RunDirectory, tmp_path: Path) -> None:
    marker = run.checkpoint(run.complete_steps()[-1]) / "complete.json"
    aside = tmp_path / "complete.json"
    marker.rename(aside)
    try:
        done = codemix(*arguments(run, tmp_path))
    finally:
        aside.rename(marker)
    assert done.returncode == 2
    assert str(marker.parent) in done.stderr
