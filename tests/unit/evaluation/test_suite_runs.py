"""Suites through the model that `codemix evaluate` asks: metrics that need its tokens, errors."""

import math
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.evaluation.harness.prepared import harness_tasks
from megatron_codemix.evaluation.suites.prepare import ProgramOptions
from tests.helpers.language_models import ByteModel
from tests.helpers.task_records import write_all

NAMES = ["boolq", "ekar", "humaneval_bpb", "mbpp_bleu", "text_bpb"]
BITS = math.log2(257)  # the vocabulary: bytes and the end of a document


@pytest.fixture
def summaries(tmp_path: Path) -> dict[str, Any]:
    tasks = harness_tasks(NAMES, write_all(tmp_path, NAMES), None, ProgramOptions())
    model = ByteModel(tmp_path, max_length=2048)
    return {task.name: task.run(model).summary for task in tasks}


def test_bits_per_byte_are_those_of_the_vocabulary(summaries: dict[str, Any]) -> None:
    for name in ("boolq", "humaneval_bpb", "text_bpb"):
        found = summaries[name]["metrics"]["bits_per_byte"]
        assert found["value"] == pytest.approx(BITS), name
        assert found["stderr"] == pytest.approx(0.0, abs=1e-9), name
    loss = summaries["text_bpb"]["metrics"]["loss_per_token"]
    assert loss["value"] == pytest.approx(math.log(257))
    assert loss["stderr"] == pytest.approx(0.0, abs=1e-9)


def test_every_task_reports_its_metric(summaries: dict[str, Any]) -> None:
    reported = {name: summary["reported"] for name, summary in summaries.items()}
    assert reported == {
        "boolq": "acc",
        "ekar": "acc_per_token",
        "humaneval_bpb": "bits_per_byte",
        "mbpp_bleu": "bleu",
        "text_bpb": "bits_per_byte",
    }
    for name, metric in reported.items():
        assert summaries[name]["metrics"][metric]["value"] is not None, name
    assert summaries["boolq"]["random_baseline"] == 0.5
    assert summaries["boolq"]["above_random"] is False


def test_bleu_has_a_standard_error(summaries: dict[str, Any]) -> None:
    bleu = summaries["mbpp_bleu"]["metrics"]["bleu"]
    assert 0 < bleu["value"] < 20
    assert bleu["stderr"] >= 0
    assert summaries["mbpp_bleu"]["metrics"]["pass@1"]["value"] == 0.0


def test_programs_results_depend_on_how_they_were_drawn(tmp_path: Path) -> None:
    write_all(tmp_path, ["boolq", "humaneval"])
    options = ProgramOptions(samples=4)
    boolq, programs = harness_tasks(["boolq", "humaneval"], tmp_path, None, options)

    assert programs.settings["samples"] == 4
    assert "samples" not in boolq.settings

    model = ByteModel(tmp_path, max_length=2048)
    found = programs.run(model)
    assert [one for one in found.summary["metrics"] if one.startswith("pass@")] == [
        "pass@1",
        "pass@2",
    ]
    assert {request.seed for request in model.generated} == {0, 1, 2, 3}
    assert {request.temperature for request in model.generated} == {0.8}
    (first, *_), *_ = (item["answers"] for item in found.items)
    assert len(first) == 4
    assert {one["outcome"] for one in first} == {"failed"}
