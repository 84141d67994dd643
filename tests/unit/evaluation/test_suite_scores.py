"""What models of known ability score: guessing, knowing everything, knowing nothing."""

import math
from pathlib import Path
from statistics import NormalDist

import pytest

from megatron_codemix.evaluation.suites.above_random import interval, is_above_random
from megatron_codemix.evaluation.suites.metrics import answer_metrics
from megatron_codemix.evaluation.suites.prepare import prepare_tasks
from megatron_codemix.evaluation.suites.registry import TASK_FOLDER, all_tasks
from tests.helpers.evaluation_data import real_data
from tests.helpers.harness_models import MemorisedModel, RandomModel, UniformModel, results_of
from tests.helpers.task_records import HUB, SAME_DATA, write_all, write_lines

REAL_CHOICES = ["arc_easy", "boolq", "copa", "cosqa", "jec_qa_kd", "social_iqa", "winogrande"]
MANY = 400  # copies of a few records: enough for an interval


ANSWERS = {"humaneval": lambda doc: doc["canonical_solution"]}


def choice_tasks() -> list[str]:
    """Every multiple-choice task."""
    return [
        name
        for name in all_tasks()
        if "output_type: multiple_choice" in (TASK_FOLDER / f"{name}.yaml").read_text()
    ]


def length(text: str) -> list[int]:
    """A token for each character."""
    return [ord(one) for one in text]


@pytest.mark.parametrize("name", choice_tasks())
def test_random_scores_are_near_the_random_baseline(name: str, tmp_path: Path) -> None:
    data = SAME_DATA.get(name, name)
    write_lines(tmp_path / f"{data}.jsonl", HUB[data] * MANY)
    tasks = prepare_tasks([name], tmp_path)
    found = results_of(RandomModel(seed=3), tasks)[name]

    assert tasks[0].random_baseline is not None
    low, high = interval(found["acc"], found["acc_stderr"])
    assert low < tasks[0].random_baseline < high
    above = is_above_random(
        found["acc"], found["acc_stderr"], tasks[0].random_baseline, tasks[0].num_items
    )
    assert above is False


def test_random_scores_on_real_items() -> None:
    tasks = prepare_tasks(REAL_CHOICES, real_data())
    found = results_of(RandomModel(seed=2), tasks)

    for one in tasks:
        assert one.random_baseline is not None
        low, high = interval(found[one.name]["acc"], found[one.name]["acc_stderr"])
        assert low < one.random_baseline < high, one.name


def test_knowing_the_answers_is_a_score_of_one(tmp_path: Path) -> None:
    """On every task that there is, by the metric that it reports."""
    names = [name for name, info in all_tasks().items() if info.metric != "bits_per_byte"]
    tasks = prepare_tasks(names, write_all(tmp_path, names))
    for one in tasks:
        one.task.encode = length
    found = results_of(MemorisedModel(tasks, ANSWERS), tasks)

    for one in tasks:
        metric = one.metric.partition("/")[0]
        assert found[one.name][metric] == (1.0 if metric != "bleu" else pytest.approx(100)), one
    for name in choice_tasks():
        assert found[name]["acc"] == found[name]["acc_per_token"] == 1.0, name
        assert found[name]["bits_per_byte"] == 0.0
        assert found[name]["choice_probability"] == 1.0
        assert found[name]["choice_probability_per_byte"] == 1.0


def test_knowing_the_answers_of_real_items() -> None:
    tasks = prepare_tasks(REAL_CHOICES, real_data())
    found = results_of(MemorisedModel(tasks), tasks)

    sizes = {one.name: one.num_items for one in tasks}
    assert sizes == {
        "arc_easy": 2376, "boolq": 3270, "copa": 100, "cosqa": 604, "jec_qa_kd": 479,
        "social_iqa": 1954, "winogrande": 1267,
    }  # fmt: skip
    assert {name: found[name]["acc"] for name in sizes} == dict.fromkeys(sizes, 1.0)


def test_a_uniform_model_needs_eight_bits_for_a_byte(tmp_path: Path) -> None:
    """Of answers, of solutions after their prompts, and of texts by themselves."""
    texts = [name for name, info in all_tasks().items() if info.metric == "bits_per_byte"]
    names = choice_tasks() + texts
    tasks = prepare_tasks(names, write_all(tmp_path, names))
    for one in tasks:
        one.task.encode = length
    found = results_of(UniformModel(), tasks)

    assert set(texts) == {"humaneval_bpb", "mbpp_bpb", "code_bpb", "text_bpb"}
    for name in names:
        assert found[name]["bits_per_byte"] == pytest.approx(8.0, abs=1e-12), name
    num_bytes, num_characters = 15 + 10, 15 + 9
    expected = num_bytes * math.log(256) / num_characters
    assert found["text_bpb"]["loss_per_token"] == pytest.approx(expected)


def test_perplexity_decides_where_choices_have_different_lengths(tmp_path: Path) -> None:
    (found,) = prepare_tasks(["ekar"], write_all(tmp_path, ["ekar"]))
    found.task.encode = lambda text: text.split(":")  # both choices: two tokens
    doc = found.task.eval_docs[0]
    scores = found.task.process_results(doc, [(-10.0, False), (-9.0, False)])
    assert (scores["acc"], scores["acc_per_token"]) == (0.0, 0.0)

    found.task.encode = lambda text: range(5 if "soup" in text else 2)
    scores = found.task.process_results(doc, [(-10.0, False), (-9.0, False)])
    assert (scores["acc"], scores["acc_per_token"]) == (0.0, 1.0)


def test_choice_probability_is_a_softmax() -> None:
    found = answer_metrics([math.log(0.2), math.log(0.6)], [" a", " four"], gold=1)

    assert found["choice_probability"] == pytest.approx(0.75)
    weights = [0.2 ** (1 / 2), 0.6 ** (1 / 5)]
    assert found["choice_probability_per_byte"] == pytest.approx(weights[1] / sum(weights))
    assert found["bits_per_byte"] == pytest.approx(-math.log2(0.6) / 5)


def test_above_random_needs_the_whole_interval() -> None:
    z = NormalDist().inv_cdf(0.995)

    many = 10_000  # guessing has a standard error of 0.0043
    assert is_above_random(0.25 + 0.01 * z + 1e-9, 0.01, 0.25, many) is True
    assert is_above_random(0.25 + 0.01 * z - 1e-9, 0.01, 0.25, many) is False
    assert is_above_random(0.0, 0.0, 0.0, many) is False
    assert is_above_random(0.9, None, 0.25, 1) is None
    assert is_above_random(0.9, 0.01, None, many) is None


def test_a_few_lucky_guesses_are_not_above_random() -> None:
    """All right: by guessing at 0.5 a quarter of all models have that on two items."""
    assert is_above_random(1.0, 0.0, 0.5, 2) is False
    assert is_above_random(1.0, 0.0, 0.5, 20) is True
    assert is_above_random(1.0, 0.0, 0.0, 2) is True  # guesses are never right
