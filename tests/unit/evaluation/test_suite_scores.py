"""What models of known ability score: guessing, knowing everything, knowing nothing."""

import math
from pathlib import Path
from statistics import NormalDist

import pytest

from megatron_codemix.evaluation.suites.above_random import interval, is_above_random
from megatron_codemix.evaluation.suites.metrics import answer_metrics
from megatron_codemix.evaluation.suites.prepare import prepare_tasks
from megatron_codemix.evaluation.suites.registry import suites
from tests.helpers.evaluation_data import real_data
from tests.helpers.harness_models import MemorisedModel, RandomModel, UniformModel, results_of
from tests.helpers.task_records import HUB, write_all, write_lines

REAL_CHOICES = ["arc_easy", "boolq", "copa", "social_iqa", "winogrande"]
MANY = 400  # copies of a few records: enough for an interval


def choice_tasks() -> list[str]:
    return [name for name in suites()["paper_a"] if name in HUB]


@pytest.mark.parametrize("name", choice_tasks())
def test_random_scores_are_near_the_random_baseline(name: str, tmp_path: Path) -> None:
    write_lines(tmp_path / f"{name}.jsonl", HUB[name] * MANY)
    tasks = prepare_tasks([name], tmp_path)
    found = results_of(RandomModel(seed=3), tasks)[name]

    assert tasks[0].random_baseline is not None
    low, high = interval(found["acc"], found["acc_stderr"])
    assert low < tasks[0].random_baseline < high
    assert is_above_random(found["acc"], found["acc_stderr"], tasks[0].random_baseline) is False


def test_random_scores_on_real_items() -> None:
    tasks = prepare_tasks(REAL_CHOICES, real_data())
    found = results_of(RandomModel(seed=2), tasks)

    for one in tasks:
        assert one.random_baseline is not None
        low, high = interval(found[one.name]["acc"], found[one.name]["acc_stderr"])
        assert low < one.random_baseline < high, one.name


def test_knowing_the_answers_is_a_score_of_one(tmp_path: Path) -> None:
    tasks = prepare_tasks(choice_tasks(), write_all(tmp_path, choice_tasks()))
    found = results_of(MemorisedModel(tasks), tasks)

    for name in choice_tasks():
        assert found[name]["acc"] == 1.0, name
        assert found[name]["bits_per_byte"] == 0.0
        assert found[name]["choice_probability"] == 1.0
        assert found[name]["choice_probability_per_byte"] == 1.0


def test_knowing_the_answers_of_real_items() -> None:
    tasks = prepare_tasks(REAL_CHOICES, real_data())
    found = results_of(MemorisedModel(tasks), tasks)

    sizes = {one.name: one.num_items for one in tasks}
    assert sizes == {
        "arc_easy": 2376, "boolq": 3270, "copa": 100, "social_iqa": 1954, "winogrande": 1267,
    }  # fmt: skip
    assert {name: found[name]["acc"] for name in sizes} == dict.fromkeys(sizes, 1.0)


def test_a_uniform_model_needs_eight_bits_for_a_byte(tmp_path: Path) -> None:
    tasks = prepare_tasks(choice_tasks(), write_all(tmp_path, choice_tasks()))
    found = results_of(UniformModel(), tasks)

    for name in choice_tasks():
        assert found[name]["bits_per_byte"] == pytest.approx(8.0, abs=1e-12), name


def test_choice_probability_is_a_softmax() -> None:
    found = answer_metrics([math.log(0.2), math.log(0.6)], [" a", " four"], gold=1)

    assert found["choice_probability"] == pytest.approx(0.75)
    weights = [0.2 ** (1 / 2), 0.6 ** (1 / 5)]
    assert found["choice_probability_per_byte"] == pytest.approx(weights[1] / sum(weights))
    assert found["bits_per_byte"] == pytest.approx(-math.log2(0.6) / 5)


def test_above_random_needs_the_whole_interval() -> None:
    z = NormalDist().inv_cdf(0.995)

    assert is_above_random(0.25 + 0.01 * z + 1e-9, 0.01, 0.25) is True
    assert is_above_random(0.25 + 0.01 * z - 1e-9, 0.01, 0.25) is False
    assert is_above_random(0.0, 0.0, 0.0) is False
    assert is_above_random(0.9, None, 0.25) is None
    assert is_above_random(0.9, 0.01, None) is None
