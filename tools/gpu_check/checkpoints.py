"""Runs whose second half is made on another device than their first."""

from collections.abc import Iterator
from functools import partial

from tools.gpu_check.losses import BOUNDS
from tools.gpu_check.place import Place
from tools.gpu_check.results import Check
from tools.gpu_check.runs import (
    STEPS,
    checked,
    judged,
    largest_difference,
    losses,
    train,
    train_on,
)

_FP32 = "precision.kind=fp32"
_WAYS = (("cpu", "cpu"), ("cuda", "cpu"), ("cpu", "cuda"), ("cuda", "cuda"))
_NAMES = {"cpu": "CPU", "cuda": "GPU"}


def names() -> list[str]:
    """Of the checks below."""
    return [_name(*way) for way in _WAYS]


def _name(before: str, after: str) -> str:
    return f"saved on the {_NAMES[before]}, resumed on the {_NAMES[after]}"


def section(place: Place) -> Iterator[Check]:
    """Each way between the devices that are there; on one CPU it is the same bits."""
    for before, after in _WAYS:
        name = _name(before, after)
        if "cuda" in (before, after) and not place.has_gpu:
            yield Check(name, "skipped", place.why_no_gpu)
        else:
            yield checked(name, partial(_resumed, place, name, before, after))


def _resumed(place: Place, name: str, before: str, after: str) -> Check:
    whole = train(place, f"fp32_{before}", _FP32, device=before)
    again = train_on(place, whole, f"fp32_{before}_{after}", device=after)
    half = STEPS // 2
    bound = 0.0 if (before, after) == ("cpu", "cpu") else BOUNDS["fp32"]
    difference = largest_difference(losses(whole)[half:], losses(again)[half:])
    what = f"largest difference of the losses of steps {half + 1} to {STEPS}, nats"
    return judged(name, difference, bound, what)
