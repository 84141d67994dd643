"""What single items added to the scores of a run, from the files that its evaluation has left."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from megatron_codemix.files import Json, read_jsonl
from megatron_codemix.report.collect import PhaseRecord
from megatron_codemix.report.statistics.items import Items
from megatron_codemix.runs import result_stem

_TOLERANCE = 1e-6
"""Between a score and what its items add up to, of the score: both are sums of the same doubles."""

_Row = tuple[Any, float, float]
"""Key, amount, size. Any: what tells one item of a task from another."""


def heldout_items(phase: PhaseRecord, source: str) -> Items | None:
    """Documents of a source: bits over bytes. None where the phase has kept none."""
    if phase.heldout is None or source not in phase.heldout["sources"]:
        return None
    total = phase.heldout["sources"][source]
    rows = [
        ((line["document"], line["id"]), line["nats"] / math.log(2), line["bytes"])
        for line in read_jsonl(phase.documents)
        if line["source"] == source
    ]
    return _items(rows, total["nats"] / math.log(2) / total["bytes"])


def task_items(phase: PhaseRecord, task: str, limit: int | None) -> Items | None:
    """Items of a benchmark by the metric that is reported. None where they were not kept, or where
    the score is no mean of what its items score, as BLEU is none.

    limit: that the study sets.
    """
    summary = (phase.tasks or {}).get(task)
    if summary is None:
        return None
    metric = summary["reported"]
    value = summary["metrics"].get(metric, {"value": None})["value"]
    lines = read_jsonl(phase.run.evaluation / f"{result_stem(task, limit)}.jsonl")
    name, _, way = metric.partition("/")
    rows = []
    for line in lines:
        if line.get("filter", "") != way:
            continue
        parts = _parts(line.get(name))
        if parts is None:
            return None
        rows.append(((line.get("task"), line["item"]), *parts))
    return None if value is None else _items(rows, value)


def _parts(score: Json) -> tuple[float, float] | None:
    """Amount and size of an item's score: a number, or the two that are summed apart."""
    if isinstance(score, int | float):
        return float(score), 1.0
    if isinstance(score, list) and len(score) == 2 and _are_numbers(score):
        return float(score[0]), float(score[1])
    return None


def _are_numbers(values: Iterable[Json]) -> bool:
    return all(isinstance(value, int | float) for value in values)


def _items(rows: Sequence[_Row], value: float) -> Items | None:
    """None unless they add up to `value`: they may be of another evaluation, or the score may be no
    mean. Items without a size take no part in a score."""
    kept = [row for row in rows if row[2] > 0]
    if not kept:
        return None
    keys, amounts, sizes = zip(*kept, strict=True)
    items = Items(keys, np.array(amounts, dtype=float), np.array(sizes, dtype=float))
    return items if math.isclose(items.value, value, rel_tol=_TOLERANCE, abs_tol=1e-9) else None
