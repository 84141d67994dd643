"""The numbers of a summary, each with its standard error and 95% interval."""

import math
from collections.abc import Sequence
from typing import Any

from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    LanguageModel,
)
from megatron_codemix.evaluation.safety.intervals import (
    Z_95,
    Interval,
    rate_interval,
    wilson_interval,
)

Record = dict[str, Any]  # JSON values
Metric = dict[str, float | int | list[float] | None]


def metric(
    value: float | None, stderr: float | None, interval: Interval | None, items: int
) -> Metric:
    """One number of a summary, over so many items."""
    bounds = None if interval is None else list(interval)
    return {"value": value, "stderr": stderr, "interval": bounds, "items": items}


def share(count: int, total: int, stderr: float | None = None, *, per: int = 1) -> Metric:
    """`count` of `total`, with Wilson's interval. Value and standard error of nothing are None.

    stderr: in place of the binomial one. per: 1000 gives what would be found in a thousand.
    """
    if not total:
        return metric(None, None, None, 0)
    value = count / total
    binomial = math.sqrt(value * (1 - value) / total)
    error = binomial if stderr is None else stderr
    low, high = wilson_interval(count, total)
    return metric(per * value, per * error, (per * low, per * high), total)


def rate(count: int, amount: int, *, per: int) -> Metric:
    """Rare events in `per` units, of `count` in `amount` units; with a Poisson interval."""
    if not amount:
        return metric(None, None, None, 0)
    low, high = rate_interval(count, amount / per)
    return metric(per * count / amount, per * math.sqrt(count) / amount, (low, high), amount)


def mean(values: Sequence[int]) -> Metric:
    """With a normal interval; no error of fewer than two values."""
    count = len(values)
    if count < 2:
        return metric(float(values[0]) if values else None, None, None, count)
    middle = sum(values) / count
    variance = sum((value - middle) ** 2 for value in values) / (count - 1)
    stderr = math.sqrt(variance / count)
    return metric(middle, stderr, (middle - Z_95 * stderr, middle + Z_95 * stderr), count)


def summary_of(
    reported: str, metrics: dict[str, Metric], generations: Sequence[Generation], **more: Any
) -> Record:
    """The summary of a task. There is no random baseline: a low value is a good one."""
    return {
        "reported": reported,
        "random_baseline": None,
        "above_random": None,
        "metrics": metrics,
        "items": len(generations),
        "truncated_prompts": sum(generation.num_cut > 0 for generation in generations),
        **more,
    }


def generate_all(model: LanguageModel, requests: Sequence[GenerationRequest]) -> list[Generation]:
    """The model's answers, in the order of the requests, asked in one call."""
    answers: dict[int, Generation] = {}
    model.generate(requests, answers.__setitem__)
    return [answers[number] for number in range(len(requests))]
