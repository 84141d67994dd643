"""Benchmarks in a report: the errors of averages, and the first paper's filter."""

import pytest

from megatron_codemix.report.tasks import averages, left_out, task_scores


def score(
    value: float, stderr: float | None = 0.01, above: bool | None = True, baseline: float = 0.5
) -> dict[str, object]:
    found = {"metric": "acc", "value": value, "stderr": stderr}
    return found | {"above_random": above, "random_baseline": baseline}


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


def test_a_task_that_guesses_never_solve_is_compared_also_where_nothing_is_right() -> None:
    """As the paper's: its text-only model has 0.4 of code."""
    rows = [
        {"name": "text", "tasks": {"mbpp": score(0.0, 0.0, above=False, baseline=0.0)}},
        {"name": "code", "tasks": {"mbpp": score(0.1, baseline=0.0)}},
    ]
    assert left_out(rows) == {}
    assert averages(rows[0]["tasks"], {})["code"]["value"] == 0.0


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
