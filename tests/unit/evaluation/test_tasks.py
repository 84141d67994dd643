"""Tasks from question to files: values that can be worked out by hand, and a stop in the middle."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")

from lm_eval.tasks import TaskManager  # noqa: E402

from megatron_codemix.evaluation.engine.requests import Score, ScoreRequest  # noqa: E402
from megatron_codemix.evaluation.harness.language_model import HarnessModel  # noqa: E402
from megatron_codemix.evaluation.harness.task import HarnessTask  # noqa: E402
from megatron_codemix.evaluation.tasks.results import ResultFolder  # noqa: E402
from megatron_codemix.evaluation.tasks.run import Subject, evaluate_tasks  # noqa: E402
from megatron_codemix.files import Json, read_json, read_jsonl  # noqa: E402
from tests.helpers.language_models import ByteModel  # noqa: E402

SUBJECT = Subject(identity="f" * 64, step=7, tokenizer_hash="t", layout={"data": 1})
DOCUMENTS = [
    {"question": f"number {number}?", "choices": ["one", "three", "seven"], "gold": number % 3}
    for number in range(12)
]


def toy_task() -> HarnessTask:
    """Which of three words; the shortest is what a model likes to which all tokens are equal."""
    import datasets

    config = {
        "task": "toy",
        "custom_dataset": lambda **unused: {"test": datasets.Dataset.from_list(DOCUMENTS)},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "num_fewshot": 0,
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("acc", "acc_norm")
        ],
    }
    loaded = TaskManager(include_defaults=False).load([config])
    return HarnessTask(name="toy", loaded=loaded, judged=lambda metrics: {"reported": "acc"})


def no_bar(task: str) -> Callable[..., AbstractContextManager[Any]]:
    return lambda description, total: nullcontext(lambda n=1: None)


def evaluate(model: ByteModel, folder: Path, **options: Any) -> Mapping[str, Json]:
    [summary] = evaluate_tasks(
        model, [toy_task()], SUBJECT, ResultFolder(folder), progress=no_bar, **options
    )
    return summary


def test_values_and_files(tmp_path: Path) -> None:
    model = ByteModel(tmp_path)
    summary = evaluate(model, tmp_path / "out")
    # " one" is the shortest, and right in 4 of 12; its standard error is that of a mean.
    error = math.sqrt((1 / 3) * (2 / 3) / 11)
    assert summary["metrics"]["acc"]["value"] == pytest.approx(1 / 3)
    assert summary["metrics"]["acc"]["stderr"] == pytest.approx(error)
    assert (summary["items"], summary["truncated_prompts"], summary["step"]) == (12, 0, 7)
    assert read_json(tmp_path / "out/toy.summary.json") == summary
    lines = read_jsonl(tmp_path / "out/toy.jsonl")
    assert [line["item"] for line in lines] == list(range(12))
    assert lines[2] == {
        "item": 2,
        "target": 2,
        "prompts": ["Q: number 2?\nA:"],
        "answers": [[-n * math.log(257), False] for n in (4, 6, 6)],
        "acc": 0.0,
        "acc_norm": 0.0,
        "doc": DOCUMENTS[2],
    }
    assert not (tmp_path / "out/toy.answers.jsonl").exists()
    assert len(model.scored) == 12


def test_a_finished_task_is_not_run_again_unless_asked(tmp_path: Path) -> None:
    model = ByteModel(tmp_path)
    first = evaluate(model, tmp_path / "out")
    assert evaluate(model, tmp_path / "out") == first
    assert len(model.scored) == 12
    evaluate(model, tmp_path / "out", again=True)
    assert len(model.scored) == 24


def test_answers_of_a_task_that_was_killed_at_its_very_end_go(tmp_path: Path) -> None:
    model = ByteModel(tmp_path)
    first = evaluate(model, tmp_path / "out")
    (tmp_path / "out/toy.answers.jsonl").write_text("{}\n")
    assert evaluate(model, tmp_path / "out") == first
    assert len(model.scored) == 12
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"toy.jsonl", "toy.summary.json"}


class StoppingModel(ByteModel):
    """Ends with Ctrl-C after five questions."""

    def score(
        self, requests: Sequence[ScoreRequest], on_result: Callable[[int, list[Score]], None]
    ) -> None:
        super().score(requests[:5], on_result)
        if len(requests) > 7:
            raise KeyboardInterrupt


def test_a_stopped_task_goes_on(tmp_path: Path) -> None:
    undisturbed = evaluate(ByteModel(tmp_path), tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        evaluate(StoppingModel(tmp_path), tmp_path / "out")
    assert not (tmp_path / "out/toy.summary.json").exists()
    model = ByteModel(tmp_path)
    summary = evaluate(model, tmp_path / "out")
    assert len(model.scored) == 7
    assert summary["answers_kept_from_before"] == 15
    assert summary["metrics"] == undisturbed["metrics"]
    whole, resumed = (tmp_path / name / "toy.jsonl" for name in ("whole", "out"))
    assert resumed.read_bytes() == whole.read_bytes()


@pytest.mark.filterwarnings("ignore")  # what the harness asks of this machine's packages
def test_the_model_is_one_of_the_harness_s(tmp_path: Path) -> None:
    model, task = ByteModel(tmp_path), toy_task()
    results = lm_eval.simple_evaluate(
        model=HarnessModel(model),
        tasks=list(task.loaded["tasks"].values()),
        task_manager=TaskManager(include_defaults=False),
        bootstrap_iters=0,
    )
    assert results["results"]["toy"]["acc,none"] == pytest.approx(1 / 3)
    assert results["config"]["model"] == "HarnessModel"
