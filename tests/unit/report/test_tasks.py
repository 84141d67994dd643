"""Benchmarks in a report: the first paper's averages by its own table, and its filter."""

import pytest

from megatron_codemix.report.tasks import averages, left_out, task_scores

# arXiv 2408.10914, Table 2: reasoning, knowledge, NL avg, code, total avg.
TABLE_2 = [
    (49.0, 9.5, 29.2, 0.4, 19.6),
    (54.1, 11.1, 32.6, 4.4, 23.2),
    (51.8, 8.1, 30.0, 9.0, 23.0),
    (53.2, 11.1, 32.1, 8.4, 24.2),
    (52.0, 7.4, 29.6, 7.8, 22.4),
    (53.0, 9.9, 31.5, 4.8, 22.6),
    (54.9, 10.9, 32.9, 5.8, 23.9),
    (44.7, 1.5, 23.1, 15.5, 20.6),
    (53.3, 9.5, 31.4, 4.1, 22.3),
    (52.1, 10.3, 31.2, 7.5, 23.3),
]
ROUNDING = 0.101
"""The table has one digit after the point, of the parts and of their means."""


def score(
    value: float, stderr: float | None = 0.01, above: bool | None = True
) -> dict[str, object]:
    return {"metric": "acc", "value": value, "stderr": stderr, "above_random": above}


@pytest.mark.parametrize("row", TABLE_2)
def test_averages_are_those_of_the_papers_table(row: tuple[float, ...]) -> None:
    reasoning, knowledge, nl, code, total = row
    tasks = {
        "boolq": score(reasoning - 3),
        "copa": score(reasoning + 3),
        "nq_open": score(knowledge),
        "mbpp": score(code),
    }
    found = averages(tasks, {})
    assert found["reasoning"]["value"] == pytest.approx(reasoning)
    assert found["reasoning"]["tasks"] == ["boolq", "copa"]
    assert found["nl"]["value"] == pytest.approx(nl, abs=ROUNDING)
    assert found["total"]["value"] == pytest.approx(total, abs=ROUNDING)


def test_the_error_of_a_mean_of_independent_tasks() -> None:
    found = averages({"boolq": score(0.5, 0.03), "copa": score(0.7, 0.04)}, {})
    assert found["reasoning"]["stderr"] == pytest.approx(0.05 / 2)
    assert "nl" not in found
    without = averages({"boolq": score(0.5, 0.03), "copa": score(0.7, None)}, {})
    assert without["reasoning"]["stderr"] is None


def test_a_task_that_any_variant_fails_is_compared_in_none() -> None:
    rows = [
        {"name": "text", "tasks": {"boolq": score(0.6), "copa": score(0.5, above=False)}},
        {"name": "code", "tasks": {"boolq": score(0.7), "copa": score(0.9)}},
    ]
    assert left_out(rows) == {"copa": ["text"]}
    assert averages(rows[1]["tasks"], left_out(rows))["reasoning"]["tasks"] == ["boolq"]


def test_a_score_is_the_metric_that_the_suite_reports() -> None:
    summary = {
        "reported": "acc_norm",
        "metrics": {
            "acc": {"value": 0.1, "stderr": 0.01},
            "acc_norm": {"value": 0.2, "stderr": 0.02},
        },
        "random_baseline": 0.25,
        "above_random": False,
        "items": 40,
    }
    assert task_scores({"toy": summary}) == {
        "toy": {
            "metric": "acc_norm",
            "value": 0.2,
            "stderr": 0.02,
            "random_baseline": 0.25,
            "above_random": False,
            "items": 40,
        }
    }
