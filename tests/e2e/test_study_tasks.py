"""A study that asks for benchmarks: they are run after each phase, shown in the report, and run
again only where something of them has changed."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")

from megatron_codemix.files import read_json
from tests.helpers.commands import codemix
from tests.helpers.tiny import default_config, write_run


def write_study(folder: Path, limit: int) -> Path:
    study = {
        "name": "benchmarks",
        "world_size": 1,
        "defaults": default_config(folder),
        "phases": {"one": {}, "two": {"set": {"data.mixture.weights": {"code": 1, "text": 0}}}},
        "variants": {"mixed": "one", "code-only": "two"},
        "compare": {"baseline": "mixed"},
        "evaluation": {
            "heldout": {"world_size": 2, "max_bytes_per_source": "1KiB"},
            "tasks": {"names": ["copa", "arc_easy"], "data_dir": "items", "limit": limit},
            "tensor": 2,
        },
    }
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))
    return path


def write_items(folder: Path) -> None:
    folder.mkdir()
    choice = [
        {"question": f"Is {n} even?", "choices": {"text": ["yes", "no"], "label": ["A", "B"]}}
        for n in range(40)
    ]
    lines = [json.dumps(item | {"answerKey": "AB"[n % 2]}) for n, item in enumerate(choice)]
    (folder / "arc_easy.jsonl").write_text("\n".join(lines))
    pairs = [
        {"premise": f"It was {n} degrees.", "question": "effect", "label": n % 2}
        | {"choice1": "They swam.", "choice2": "They froze."}
        for n in range(40)
    ]
    (folder / "copa.jsonl").write_text("\n".join(map(json.dumps, pairs)))


def report_of(out: Path) -> dict[str, Any]:
    return read_json(out / "report.json")


def test_wrong_benchmarks_are_told_before_anything_is_trained(tmp_path: Path) -> None:
    write_run(tmp_path)
    study = write_study(tmp_path, 20)
    change = ("--set", "evaluation.tasks.names=[copa, arc_esy]")
    for command in (["check", study], ["run", study, "--out", tmp_path / "out"]):
        done = codemix("study", *command, *change)
        assert done.returncode == 2
        place = f"error: --set {change[1]}: evaluation.tasks.names"
        words = f"{place}: there is no task or suite 'arc_esy'; did you mean arc_easy?"
        assert words in done.stderr
    done = codemix("study", "run", study, "--out", tmp_path / "out")
    assert done.returncode == 2
    place = "evaluation.tasks.data_dir"
    assert f"{place}: {tmp_path / 'items'}: there is no such folder" in done.stderr
    assert not (tmp_path / "out").exists()


def test_benchmarks_are_part_of_a_study(tmp_path: Path) -> None:
    write_run(tmp_path)
    write_items(tmp_path / "items")
    out = tmp_path / "out"
    for limit in (20, 30):
        study = write_study(tmp_path, limit)
        done = codemix("study", "run", study, "--out", out)
        assert done.returncode == 0, done.stderr
        report = report_of(out)
        assert [row["name"] for row in report["variants"]] == ["mixed", "code-only"]
        for row in report["variants"]:
            assert sorted(row["tasks"]) == ["arc_easy", "copa"]
            assert row["tasks"]["copa"]["items"] == limit
            assert row["tasks"]["copa"]["random_baseline"] == pytest.approx(0.5)
        assert report["evaluation"]["tasks"] == {"names": ["copa", "arc_easy"], "limit": limit}
    # A model of 20 steps knows nothing, so both tasks are left out, with the reason.
    assert set(report["tasks_left_out"]) == {"arc_easy", "copa"}
    assert any("copa: not above random in" in warning for warning in report["warnings"])
    page = (out / "report.html").read_text()
    assert "<h2>Tasks</h2>" in page
    assert "<s>copa</s>" in page
    assert "## Tasks" in (out / "report.md").read_text()
    trained = [phase["attempts"] for phase in report["timing"]["phases"].values()]
    assert trained == [1, 1], "other benchmarks train nothing again"
