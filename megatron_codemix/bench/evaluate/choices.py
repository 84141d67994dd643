"""Multiple choice: requests per second, log-likelihoods and answers, beside the harness's `hf`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lm_eval.evaluator import evaluate

from megatron_codemix.bench.evaluate.setting import Setting
from megatron_codemix.bench.evaluate.sides import BATCH_SIZES, Sides, load, with_both
from megatron_codemix.bench.measure import Cost
from megatron_codemix.bench.rows import Goal, Row

_MIN_RATIO = 1.3
_MAX_DIFFERENCE = 1e-3
"""Nats, in fp32: the goals."""


@dataclass
class _Found:
    """Of one task."""

    requests: int
    ours: Cost
    peer: Cost
    batch_size: int
    """Of the peer, its best."""
    difference: float
    """The largest, of log-likelihoods, in nats."""
    other_answers: int
    """Items of which one side chooses the right answer and the other does not."""


def choices(setting: Setting) -> Iterator[Row]:
    """Of each task, and of all together."""
    tasks = setting.choice_tasks()  # what is missing is told before a model is trained
    found: dict[str, _Found] = {}

    def body(sides: Sides) -> None:
        for name, task in tasks.items():
            found[name] = _compare(sides, name, task, setting.repeats)

    with_both(setting, body)
    note = f"user time, one thread, median of {setting.repeats}; {setting.items_note}; {load()}"
    for name, one in found.items():
        sizes = f"peer's best batch size: {one.batch_size}"
        yield _rate(f"{name}: multiple choice", one.requests, one.ours, one.peer, sizes)
    requests = sum(one.requests for one in found.values())
    ours, peer = (_sum([getattr(one, side) for one in found.values()]) for side in ("ours", "peer"))
    yield _rate("multiple choice, all tasks", requests, ours, peer, note, Goal(ratio=_MIN_RATIO))
    yield Row(
        name="multiple choice: log-likelihoods differ by at most",
        ours=max(one.difference for one in found.values()),
        peer=None,
        unit="nats",
        goal=Goal(at_most=_MAX_DIFFERENCE),
        note=f"of {requests}, fp32",
    )
    yield Row(
        name="multiple choice: items with another answer",
        ours=sum(one.other_answers for one in found.values()),
        peer=None,
        unit="items",
        goal=Goal(at_most=0),
    )


def _compare(sides: Sides, name: str, task: Any, repeats: int) -> _Found:
    task.set_config(key="num_fewshot", value=0)

    def ask(model: Any) -> Mapping[str, Any]:
        results: Mapping[str, Any] = evaluate(
            lm=model, task_dict={"tasks": {name: task}, "groups": {}}, bootstrap_iters=0
        )
        return results

    found = sides.measure(ask, repeats, BATCH_SIZES)
    our_samples, peer_samples = (
        answer["samples"][name] for answer in (found.our_answer, found.peer_answer)
    )
    pairs = list(zip(_likelihoods(our_samples), _likelihoods(peer_samples), strict=True))
    return _Found(
        requests=len(pairs),
        ours=found.ours,
        peer=found.peer,
        batch_size=found.batch_size,
        difference=max(abs(one - other) for one, other in pairs),
        other_answers=sum(
            one["acc"] != other["acc"] for one, other in zip(our_samples, peer_samples, strict=True)
        ),
    )


def _likelihoods(samples: Sequence[Mapping[str, Any]]) -> list[float]:
    """Of each choice of each item, in the order of the data."""
    ordered = sorted(samples, key=lambda sample: sample["doc_id"])
    return [float(one[0]) for sample in ordered for one in sample["filtered_resps"]]


def _sum(costs: Sequence[Cost]) -> Cost:
    return Cost(*(sum(getattr(one, kind) for one in costs) for kind in ("user", "system", "wall")))


def _rate(
    name: str, requests: int, ours: Cost, peer: Cost, note: str, goal: Goal | None = None
) -> Row:
    return Row(
        name=name,
        ours=requests / ours.user,
        peer=requests / peer.user,
        unit="requests/s",
        is_rate=True,
        goal=goal,
        note=note,
        ours_system_seconds=ours.system / requests,
        peer_system_seconds=peer.system / requests,
    )
