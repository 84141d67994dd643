"""Programs of a model: run in the sandbox, counted, and never taken at their word."""

from pathlib import Path

import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.prepare import (
    PreparedTask,
    ProgramOptions,
    prepare_tasks,
)
from tests.helpers.evaluation_data import real_data
from tests.helpers.harness_models import MemorisedModel, UniformModel, results_of
from tests.helpers.task_records import write_all

NAMES = ["humaneval", "mbpp"]


pytestmark = pytest.mark.usefixtures("isolation")


def prepared(folder: Path, programs: ProgramOptions | None = None) -> list[PreparedTask]:
    tasks = prepare_tasks(NAMES, write_all(folder, NAMES), programs=programs or ProgramOptions())
    assert all(one.runs_programs for one in tasks)
    return tasks


def pass_at_1(tasks: list[PreparedTask], solution: str) -> dict[str, float]:
    """Where every answer is this field of the item, or this text."""
    answers = {name: lambda doc: doc.get(solution, solution) for name in NAMES}
    found = results_of(MemorisedModel(tasks, answers), tasks)
    return {name: found[name]["pass@1"] for name in found}


def test_answers_that_are_no_solution_fail(tmp_path: Path) -> None:
    tasks = prepared(tmp_path)
    assert results_of(UniformModel(), tasks)["humaneval"]["pass@1"] == 0.0
    assert pass_at_1(tasks, "    pass\n") == {"humaneval": 0.0, "mbpp": 0.0}
    assert pass_at_1(tasks, "\nimport os; os._exit(0)") == {"humaneval": 0.0, "mbpp": 0.0}


def test_samples_are_drawn_and_counted(tmp_path: Path) -> None:
    """Of ten answers to each item every second one is right."""
    tasks = prepared(tmp_path, ProgramOptions(samples=10, temperature=0.2))

    class Half(MemorisedModel):
        def generate_until(self, requests: list) -> list[str]:  # type: ignore[type-arg]
            drawn = requests[0].args[1]
            assert (drawn["do_sample"], drawn["temperature"], drawn["top_p"]) == (True, 0.2, 0.95)
            right = super().generate_until(requests)
            return [one if number % 2 else "wrong(" for number, one in enumerate(right)]

    answers = {"humaneval": lambda doc: doc["canonical_solution"]}
    found = results_of(Half(tasks, answers), tasks)
    for name in NAMES:
        assert found[name]["pass@1"] == pytest.approx(0.5)
        assert found[name]["pass@10"] == 1.0
        assert "pass@20" not in found[name]


def test_greedy_answers_are_asked_for_as_by_the_harness(tmp_path: Path) -> None:
    for one in prepared(tmp_path):
        assert one.task.config.repeats == 1
        assert one.task.config.generation_kwargs["do_sample"] is False


def test_bleu_needs_the_models_tokens(tmp_path: Path) -> None:
    tasks = prepare_tasks(["mbpp_bleu"], write_all(tmp_path, ["mbpp"]))
    with pytest.raises(DataError, match="mbpp_bleu: BLEU is over the model's tokens"):
        results_of(MemorisedModel(tasks), tasks)


def test_published_solutions_of_real_items_pass() -> None:
    tasks = prepare_tasks(NAMES, real_data(), limit=20)
    answers = {"humaneval": lambda doc: doc["canonical_solution"], "mbpp": lambda doc: doc["code"]}
    found = results_of(MemorisedModel(tasks, answers), tasks)
    assert {name: found[name]["pass@1"] for name in NAMES} == dict.fromkeys(NAMES, 1.0)
    assert {one.name: one.num_items for one in tasks} == dict.fromkeys(NAMES, 20)


def test_emptied_bodies_of_real_items_fail() -> None:
    tasks = prepare_tasks(NAMES, real_data(), limit=20)
    assert pass_at_1(tasks, "    pass\n") == {"humaneval": 0.0, "mbpp": 0.0}
