"""What single items added to the scores of a run, from the files that its evaluation has left."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from megatron_codemix.files import Json
from megatron_codemix.report.collect import PhaseRecord
from megatron_codemix.report.statistics.bleu import bleu_counts, bleu_of_sums, bleu_shares
from megatron_codemix.report.statistics.items import Items
from megatron_codemix.results import read_documents, read_items
from megatron_codemix.runs import RunDirectory, result_stem

_TOLERANCE = 1e-6
"""Between a score and what its items add up to, of the score: both are sums of the same doubles."""

_Row = tuple[Any, float, float]
"""Key, amount, size. Any: what tells one item of a task from another."""


@dataclass
class ItemStore:
    """Items of a study's runs, each file read once: those of many questions take seconds. By run
    and results: cells that share a training may be measured on other documents."""

    _heldout: dict[RunDirectory, dict[str, Items]] = field(default_factory=dict)
    _tasks: dict[tuple[RunDirectory, str], Items | None] = field(default_factory=dict)

    def heldout(self, phase: PhaseRecord, source: str) -> Items | None:
        """Documents of a source; None where the phase has kept none."""
        if phase.run not in self._heldout:
            self._heldout[phase.run] = heldout_items(phase)
        return self._heldout[phase.run].get(source)

    def task(self, phase: PhaseRecord, task: str, limit: int | None) -> Items | None:
        """As `task_items`. limit: that of the study."""
        key = (phase.run, task)
        if key not in self._tasks:
            self._tasks[key] = task_items(phase, task, limit)
        return self._tasks[key]


def heldout_items(phase: PhaseRecord) -> dict[str, Items]:
    """Source -> its documents, bits over bytes; without those that the phase has kept none of."""
    if phase.heldout is None:
        return {}
    rows: dict[str, list[_Row]] = {source: [] for source in phase.heldout["sources"]}
    for line in read_documents(phase.documents):
        if line["source"] in rows:
            row = ((line["document"], line["id"]), line["nats"] / math.log(2), line["bytes"])
            rows[line["source"]].append(row)
    totals = phase.heldout["sources"]
    found = {
        source: _items(own, totals[source]["nats"] / math.log(2) / totals[source]["bytes"])
        for source, own in rows.items()
    }
    return {source: items for source, items in found.items() if items is not None}


def task_items(phase: PhaseRecord, task: str, limit: int | None) -> Items | None:
    """Items of a benchmark by the metric that is reported. None where they were not kept, or where
    the score is neither a mean of what its items score nor BLEU. None too of the safety tasks: two
    models are asked for other documents, and completions of one prompt are no independent items.

    limit: that the study sets.
    """
    summary = (phase.tasks or {}).get(task)
    if summary is None:
        return None
    metric = summary["reported"]
    value = summary["metrics"].get(metric, {"value": None})["value"]
    lines = read_items(phase.run, result_stem(task, limit))
    name, _, way = metric.partition("/")
    kept = [line for line in lines if line.get("filter", "") == way]
    if value is None or not kept or any("item" not in line for line in kept):
        return None
    keys = [(line.get("task"), line["item"]) for line in kept]
    scores = [line.get(name) for line in kept]
    texts = [score for score in scores if isinstance(score, list) and _are_texts(score)]
    if len(texts) == len(scores):
        return _bleu_items(keys, texts, value)
    rows = []
    for key, score in zip(keys, scores, strict=True):
        parts = _parts(score)
        if parts is None:
            return None
        rows.append((key, *parts))
    return _items(rows, value)


def num_items(phase: PhaseRecord, task: str, limit: int | None) -> int:
    """Of a benchmark, that were kept."""
    lines = read_items(phase.run, result_stem(task, limit))
    numbered = enumerate(lines)  # several lines are one item where answers are read in several ways
    return len({(line.get("task"), line.get("item", (number,))) for number, line in numbered})


def _are_texts(score: Sequence[Json]) -> bool:
    """Reference and answer, as tokens with spaces between them: what BLEU is counted on."""
    return len(score) == 2 and all(isinstance(text, str) for text in score)


def _bleu_items(
    keys: Sequence[Any], pairs: Sequence[Sequence[str]], value: float
) -> Items | None:  # Any: as above
    """None unless their BLEU is `value`."""
    counts = np.array(
        [bleu_counts(reference.split(), answer.split()) for reference, answer in pairs],
        dtype=float,
    )
    if not _is_close(float(bleu_of_sums(counts.sum(axis=0))), value):
        return None
    return Items(
        tuple(keys),
        bleu_shares(counts),
        np.ones(len(keys)),
        counts=counts,
        score_of=bleu_of_sums,
    )


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
    return items if _is_close(items.value, value) else None


def _is_close(found: float, value: float) -> bool:
    return math.isclose(found, value, rel_tol=_TOLERANCE, abs_tol=1e-9)
