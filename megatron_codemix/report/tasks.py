"""Benchmarks of the variants: which of them may be compared, and the first paper's averages.

The paper compares benchmarks in which every model is above random (arXiv 2408.10914, section 2.2).
Where a guess is never right there is no random score to be above, and a score of 0 is a score: its
Table 2 has models with 0.4 of code.
Its Total Avg. is the mean of the category means, its NL Avg. that of reasoning and knowledge: so
recomputed from its Table 2.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from megatron_codemix.files import Json

CATEGORIES = {
    "reasoning": (
        "boolq", "piqa", "sciq", "social_iqa", "quac", "cb", "copa", "storycloze_2016", "hellaswag",
        "winogrande", "arc_easy",
    ),
    "knowledge": ("triviaqa", "nq_open"),
    "code": ("humaneval", "mbpp"),
}  # fmt: skip
"""The first paper's Table 1."""

NL_CATEGORIES = ("reasoning", "knowledge")
"""Of its NL Avg."""

AVERAGES = {
    **{name: (name,) for name in CATEGORIES},
    "nl": NL_CATEGORIES,
    "total": tuple(CATEGORIES),
}
"""Average -> categories that it is the mean of."""


def tasks_of_average(name: str) -> list[str]:
    """Of the paper's average of this name."""
    return [task for category in AVERAGES[name] for task in CATEGORIES[category]]


def task_scores(summaries: Mapping[str, Mapping[str, Json]]) -> dict[str, dict[str, Any]]:
    """By task: the reported metric with its standard error, and whether it is above random."""
    scores = {}
    for name, summary in sorted(summaries.items()):
        metric = summary["reported"]
        found = summary["metrics"].get(metric, {"value": None, "stderr": None})
        scores[name] = {
            "metric": metric,
            "value": _finite(found["value"]),
            "stderr": _finite(found["stderr"]),
            "random_baseline": summary.get("random_baseline"),
            "above_random": summary.get("above_random"),
            "items": summary["items"],
        }
    return scores


def _finite(value: float | None) -> float | None:
    """None also of a model that has diverged, and says of nothing how probable it is."""
    return value if value is not None and math.isfinite(value) else None


def left_out(rows: Sequence[Mapping[str, Json]]) -> dict[str, list[str]]:
    """Tasks that are not compared -> variants that are not above random in them; none of those that
    guesses never solve."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, score in row["tasks"].items():
            if score["above_random"] is False and score["random_baseline"] != 0:
                found.setdefault(name, []).append(row["name"])
    return {name: list(dict.fromkeys(variants)) for name, variants in sorted(found.items())}


def average_weights(names: Collection[str]) -> dict[str, dict[str, float]]:
    """Average -> task -> what it counts for in it, of the tasks `names`: categories are means of
    their tasks, higher averages of their categories. {} where there are none; higher averages are
    there where all that they are made of is."""
    found: dict[str, dict[str, float]] = {}
    for category, members in CATEGORIES.items():
        there = [name for name in members if name in names]
        if there:
            found[category] = {name: 1 / len(there) for name in there}
    for higher, categories in (("nl", NL_CATEGORIES), ("total", tuple(CATEGORIES))):
        if set(categories) <= set(found):
            found[higher] = {
                name: weight / len(categories)
                for category in categories
                for name, weight in found[category].items()
            }
    return found


def averages(
    tasks: Mapping[str, Mapping[str, Json]], not_compared: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Means of the first paper's categories over the tasks that are compared, with the standard
    error of the tasks' own and the tasks; {} where there are none."""
    names = [
        name
        for name, score in tasks.items()
        if name not in not_compared and score["value"] is not None
    ]
    return {
        average: _mean([(weight, tasks[name]) for name, weight in weights.items()])
        | {"tasks": list(weights)}
        for average, weights in average_weights(names).items()
    }


def _mean(parts: Sequence[tuple[float, Mapping[str, Json]]]) -> dict[str, Any]:
    """Of independent values; no standard error where one of them has none."""
    errors = [(weight, part["stderr"]) for weight, part in parts]
    has_errors = all(error is not None for _, error in errors)
    squares = sum((weight * error) ** 2 for weight, error in errors) if has_errors else None
    return {
        "value": sum(weight * part["value"] for weight, part in parts),
        "stderr": None if squares is None else math.sqrt(squares),
    }
