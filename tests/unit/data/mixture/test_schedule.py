"""From a configuration to segments, and what they give."""

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.mixture.caps import plan_mixture
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import MixturePlan
from megatron_codemix.data.mixture.schedule import courses_of
from megatron_codemix.data.mixture.split_tree import best_tree
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS
from tests.helpers.mixtures import (
    LENGTH,
    RAW,
    any_mixture,
    assert_within_bounds,
    counts_in,
    phase,
)

STEPS = {
    "kind": "step",
    "steps": [
        {"from_tokens": 0, "weights": {"a": 1}},
        {"from_tokens": 40 * LENGTH + 7, "weights": {"a": 0.5, "b": 0.5}},
        {"from_tokens": 60 * LENGTH + 8, "weights": {"b": 1}},
    ],
}


def test_steps_begin_at_the_nearest_sample() -> None:
    plan = plan_mixture(phase(100, STEPS))
    assert [(s.first_sample, s.num_samples) for s in plan.segments] == [
        (0, 40),
        (40, 21),
        (61, None),
    ]
    assert {segment.method for segment in plan.segments} == {"earliest-deadline"}
    mixture = Mixture(plan)
    assert counts_in(mixture, 0, 40) == {"a": 40, "b": 0}
    assert counts_in(mixture, 40, 60) == {"a": 10, "b": 10}
    assert counts_in(mixture, 61, 100) == {"a": 0, "b": 39}


@pytest.mark.parametrize(
    ("strategy", "ratios"),
    [
        # Text : code in four phases, arXiv 2309.16298, Table 5.
        ("uniform", [(5, 3), (5, 3), (5, 3), (5, 3)]),
        ("increase", [(7, 3), (7, 3), (6, 4), (5, 5)]),
        ("decrease", [(5, 5), (6, 4), (7, 3), (7, 3)]),
    ],
)
def test_stages_are_those_of_the_paper(strategy: str, ratios: list[tuple[int, int]]) -> None:
    mixture = {"kind": "stages", "strategy": strategy, "varying": {"a": 1}, "others": {"b": 1}}
    found = Mixture(plan_mixture(phase(4 * 80, mixture)))
    for stage, (text, code) in enumerate(ratios):
        counts = counts_in(found, stage * 80, (stage + 1) * 80)
        assert counts == {"a": 80 * code // (text + code), "b": 80 * text // (text + code)}
    assert counts_in(found, 0, 320)["a"] == 120  # 3/8 in all of them


def test_stages_keep_the_shares_within_each_side() -> None:
    mixture = {
        "kind": "stages",
        "strategy": "increase",
        "varying": {"a": 0.75, "b": 0.25},
        "others": {"c": 0.5, "d": 0.5},
    }
    found = Mixture(plan_mixture(phase(4 * 400, mixture)))
    assert counts_in(found, 0, 400) == {"a": 90, "b": 30, "c": 140, "d": 140}


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_varying_weights_follow_their_formula(kind: str) -> None:
    num_samples = 100_000
    mixture = {"kind": kind, "start": {"a": 0.9, "b": 0.1}, "end": {"b": 0.25, "c": 0.75}}
    plan = plan_mixture(phase(num_samples, mixture))
    assert [segment.method for segment in plan.segments] == ["split-tree"]
    found = Mixture(plan)
    for n in range(0, num_samples + 1, 5000):
        done = np.linspace(0, n / num_samples, 10_001)
        risen = done if kind == "linear" else (1 - np.cos(np.pi * done)) / 2
        mean = risen.mean()
        expected = n * np.array([0.9 * (1 - mean), 0.1 * (1 - mean) + 0.25 * mean, 0.75 * mean])
        # 2 samples of the order; the curve in 64 pieces or more is 1.5e-4 of it away at most.
        assert np.abs(found.counts(n) - expected).max() <= 2 + 2e-4 * n


def test_weights_that_do_not_change_are_a_constant_mixture() -> None:
    same = {"a": 0.25, "b": 0.75}
    constant = plan_mixture(phase(100, {"kind": "constant", "weights": {**same, "c": 0}}))
    for mixture in (
        {"weights": same},
        {"kind": "linear", "start": same, "end": same},
        {"kind": "step", "steps": [{"from_tokens": 0, "weights": same},
                                   {"from_tokens": 320, "weights": same}]},
    ):  # fmt: skip
        assert plan_mixture(phase(100, mixture)) == constant
    assert len(constant.segments) == 1


@settings(max_examples=60, deadline=None)
@given(RAW, st.lists(st.tuples(st.integers(1, 119), RAW), max_size=3))
def test_every_prefix_is_within_the_bound_of_its_segment(first, changes) -> None:
    places = dict(changes)
    plan = plan_mixture(
        phase(
            130,
            any_mixture(first),
            changes=[
                {"at_tokens": sample * LENGTH, "mixture": any_mixture(places[sample])}
                for sample in sorted(places)
            ],
        )
    )
    assert_within_bounds(plan, 130)
    record = json.loads(json.dumps(plan.as_dict()))
    assert MixturePlan.from_dict(record) == plan


@pytest.mark.parametrize("num_sources", [2, 5, 17, 64])
@pytest.mark.parametrize("concentration", [0.05, 0.3, 2.0])
def test_any_two_ends_are_joined_within_two_samples(num_sources, concentration) -> None:
    """No schedule is refused: where one tree is not enough, the course is cut."""
    rng = np.random.default_rng(num_sources)
    ends = []
    for _ in range(2):
        share = rng.dirichlet(np.full(num_sources, concentration))
        share[share < 1e-4] = 0
        ends.append({f"s{n:02d}": float(p) for n, p in enumerate(share / share.sum())})
    plan = plan_mixture(phase(600, {"kind": "linear", "start": ends[0], "end": ends[1]}))
    assert_within_bounds(plan, 600)


def test_a_plan_up_to_a_change_is_the_plan_without_it() -> None:
    linear = {"kind": "linear", "start": {"a": 1}, "end": {"b": 0.5, "c": 0.5}}
    without = plan_mixture(phase(1000, linear))
    change = {"at_tokens": 600 * LENGTH, "mixture": {"weights": {"d": 1}}}
    with_it = plan_mixture(phase(1000, linear, changes=[change]))
    assert with_it.first_difference(without, 600) is None
    assert with_it.first_difference(without, 601) == 600
    for one, other in zip(
        Mixture(without).locate_range(0, 600), Mixture(with_it).locate_range(0, 600), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert counts_in(Mixture(with_it), 600, 1000)["d"] == 400


def test_a_change_of_the_past_is_found() -> None:
    plans = [
        plan_mixture(phase(100, {"weights": {"a": share, "b": 1 - share}}))
        for share in (0.25, 0.75)
    ]
    assert plans[0].first_difference(plans[1], 1) == 0
    assert plans[0].first_difference(plans[1], 0) is None


HISTORIES = st.lists(st.tuples(RAW, st.integers(1, 60)), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(HISTORIES, st.lists(st.integers(1, 25), min_size=1, max_size=8), st.integers(1, 4))
def test_re_blending_repeats_and_skips_no_draw(history, stops, world_size) -> None:
    """Changes appended to a run, stopped and gone on with on several ranks: what each source gave
    is a prefix of its draws, and no rank's view of a sample differs."""
    total = sum(length for _, length in history)
    starts = [0, *itertools.accumulate(length for _, length in history)][:-1]
    consumed: dict[str, list[int]] = {}
    position, stops = 0, itertools.cycle(stops)
    for number in range(len(history)):  # the run is given its changes one at a time
        changes = [
            {"at_tokens": start * LENGTH, "mixture": any_mixture(raw)}
            for start, (raw, _) in list(zip(starts, history, strict=True))[1 : number + 1]
        ]
        plan = plan_mixture(phase(total, any_mixture(history[0][0]), changes=changes))
        end = starts[number + 1] if number + 1 < len(history) else total
        while position < end:  # each pass is an attempt that knows only the plan
            attempt = Mixture(MixturePlan.from_dict(json.loads(json.dumps(plan.as_dict()))))
            stop = min(end, position + next(stops))
            for rank in range(world_size):
                mine = np.arange(position + rank, stop, world_size)
                for source, draw in zip(*attempt.locate_many(mine), strict=True):
                    consumed.setdefault(attempt.source_names[source], []).append(int(draw))
            position = stop
            counts = dict(zip(attempt.source_names, attempt.counts(position), strict=True))
            assert {n: c for n, c in counts.items() if c} == {
                n: len(d) for n, d in consumed.items()
            }
    for draws in consumed.values():
        assert sorted(draws) == list(range(len(draws)))


def test_courses_of_a_long_phase_need_no_more_knots() -> None:
    mixture = {"kind": "cosine", "start": {"a": 1}, "end": {"b": 1}}
    [segment] = plan_mixture(phase(10**9, mixture)).segments
    assert len(segment.knots) <= 130
    assert len(courses_of(phase(10**9, mixture))) == 1


def test_the_tree_of_constant_weights_keeps_the_bound_of_huffman() -> None:
    units = np.array([[WEIGHT_UNITS // 2, WEIGHT_UNITS // 4, WEIGHT_UNITS // 4]])
    tree, bound = best_tree(["a", "b", "c"], units)
    assert set(map(type, tree)) == {str, tuple}
    assert bound == pytest.approx(0.75)


def greedy_steps_from_the_floor_of_the_quota(
    weights: np.ndarray, num_samples: int
) -> list[tuple[int, int]]:
    """The blend of Fast-LLM (PR 133), from its formula: without state, and wrong."""
    drawn = []
    for sample in range(num_samples):
        counts = np.floor(weights * sample).astype(np.int64)
        for step in range(int(counts.sum()), sample):
            counts[np.argmax(weights * (step + 1) - counts)] += 1
        source = int(np.argmax(weights * (sample + 1) - counts))
        drawn.append((source, int(counts[source])))
    return drawn


def test_greedy_steps_from_the_floor_of_the_quota_repeat_and_skip() -> None:
    """Why the order here is what it is: the same weights, without state in both."""
    rng = np.random.default_rng(0)
    num_wrong = 0
    for _ in range(6):
        weights = np.maximum(rng.dirichlet(np.full(10, 0.3)), 1e-4)
        weights /= weights.sum()
        drawn = greedy_steps_from_the_floor_of_the_quota(weights, 1500)
        num_wrong += len(set(drawn)) < len(drawn)
        plan = plan_mixture(
            phase(1500, {"weights": {f"s{n:02d}": float(w) for n, w in enumerate(weights)}})
        )
        sources, draws = Mixture(plan).locate_range(0, 1500)
        assert len(set(zip(sources.tolist(), draws.tolist(), strict=True))) == 1500
    assert num_wrong >= 4
