"""Benchmarks of the variants: which of them may be compared, and the first paper's averages.

The paper compares benchmarks in which every model is above random (arXiv 2408.10914, section 2.2).
Its Total Avg. is the mean of the category means, its NL Avg. that of reasoning and knowledge: so
recomputed from its Table 2.
"""

import math
from collections.abc import Mapping, Sequence
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


def task_scores(summaries: Mapping[str, Mapping[str, Json]]) -> dict[str, dict[str, Any]]:
    """By task: the reported metric with its standard error, and whether it is above random."""
    scores = {}
    for name, summary in sorted(summaries.items()):
        metric = summary["reported"]
        found = summary["metrics"].get(metric, {"value": None, "stderr": None})
        scores[name] = {
            "metric": metric,
            "value": found["value"],
            "stderr": found["stderr"],
            "random_baseline": summary.get("random_baseline"),
            "above_random": summary.get("above_random"),
            "items": summary["items"],
        }
    return scores


def left_out(rows: Sequence[Mapping[str, Json]]) -> dict[str, list[str]]:
    """Tasks that are not compared -> variants that are not above random in them."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, score in row["tasks"].items():
            if score["above_random"] is False:
                found.setdefault(name, []).append(row["name"])
    return {name: list(dict.fromkeys(variants)) for name, variants in sorted(found.items())}


def averages(
    tasks: Mapping[str, Mapping[str, Json]], not_compared: Mapping[str, Any]
) -> dict[str, dict[str, Any]]:
    """Means of the first paper's categories over the tasks that are compared, with the standard
    error of the tasks' own and their names; {} where there are none. Higher averages are there
    where all that they are made of is."""
    found: dict[str, dict[str, Any]] = {}
    for category, members in CATEGORIES.items():
        names = [
            name
            for name in members
            if name in tasks and name not in not_compared and tasks[name]["value"] is not None
        ]
        if names:
            found[category] = _mean([tasks[name] for name in names]) | {"tasks": names}
    if {"reasoning", "knowledge"} <= set(found):
        found["nl"] = _mean([found["reasoning"], found["knowledge"]])
    if set(CATEGORIES) <= set(found):
        found["total"] = _mean([found[category] for category in CATEGORIES])
    return found


def _mean(parts: Sequence[Mapping[str, Json]]) -> dict[str, Any]:
    """Of independent values; no standard error where one of them has none."""
    errors = [part["stderr"] for part in parts]
    squares = None if None in errors else sum(error**2 for error in errors)
    return {
        "value": sum(part["value"] for part in parts) / len(parts),
        "stderr": None if squares is None else math.sqrt(squares) / len(parts),
    }
