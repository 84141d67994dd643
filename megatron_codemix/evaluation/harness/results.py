"""The harness's results as files: a line for each item, and a summary with standard errors."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from megatron_codemix.files import Json, atomic_path, read_json, write_json

Metrics = dict[str, dict[str, float | None]]

_ONLY_FILTER = "none"


def metrics_of(record: Mapping[str, Json]) -> Metrics:
    """Metric -> value and standard error, of the harness's `acc,none` and `acc_stderr,none`.

    Where a task reads its answers in several ways (the harness's filters), the name of the way
    follows the metric's: `exact_match/strict-match`.
    """
    metrics: Metrics = {}
    for key, value in record.items():
        name, comma, way = key.partition(",")
        if not comma or name.endswith("_stderr"):
            continue
        error = record.get(f"{name}_stderr,{way}")
        shown = name if way == _ONLY_FILTER else f"{name}/{way}"
        metrics[shown] = {"value": _number(value), "stderr": _number(error)}
    return metrics


def _number(value: Json) -> float | None:
    """None where the harness has no standard error, which it calls `N/A`."""
    return None if value is None or isinstance(value, str) else float(value)


def write_items(path: Path, samples: Sequence[Mapping[str, Any]]) -> None:
    """A line for each item and filter, in the order of the data."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as handle:
        for sample in sorted(samples, key=lambda sample: sample["doc_id"]):
            line = json.dumps(_item(sample), ensure_ascii=False, default=str)
            handle.write(line + "\n")


def _item(sample: Mapping[str, Any]) -> dict[str, Any]:
    way = sample["filter"]
    return {
        "item": sample["doc_id"],
        **({} if way == _ONLY_FILTER else {"filter": way}),
        "target": sample["target"],
        "prompts": list(dict.fromkeys(arguments[0] for arguments in sample["arguments"])),
        "answers": sample["filtered_resps"],
        **{metric: sample[metric] for metric in sample["metrics"]},
        "doc": sample["doc"],
    }


class ResultFolder:
    """Where the results of one run's tasks lie."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def items(self, task: str) -> Path:
        """A line per item."""
        return self.path / f"{task}.jsonl"

    def summary(self, task: str) -> Path:
        """The task's scores."""
        return self.path / f"{task}.summary.json"

    def answers(self, task: str) -> Path:
        """What the model has said while the task is not finished."""
        return self.path / f"{task}.answers.jsonl"

    def finished(self, task: str, settings: Mapping[str, Json]) -> dict[str, Json] | None:
        """The summary of an evaluation with these settings that came to its end."""
        path = self.summary(task)
        if not path.exists():
            return None
        try:
            summary = read_json(path)
        except ValueError:  # damaged: it is made again
            return None
        is_same = isinstance(summary, dict) and summary.get("settings") == settings
        return summary if is_same and self.items(task).exists() else None

    def write(
        self, task: str, samples: Sequence[Mapping[str, Any]], summary: Mapping[str, Json]
    ) -> None:
        """The items, then the summary, by which a task is finished."""
        if samples:
            write_items(self.items(task), samples)
        write_json(self.summary(task), summary)
