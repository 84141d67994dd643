"""Sources that may be read so many times only, and who takes over from them."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.mixture.caps import SourceState, plan_mixture
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.split_tree import MAX_ERROR
from megatron_codemix.data.mixture.weights import quantise_weights
from megatron_codemix.errors import ConfigError
from tests.helpers.mixtures import RAW, any_mixture, assert_within_bounds, counts_in, phase


def states(**given: tuple[int, int]) -> dict[str, SourceState]:
    """(samples of an epoch, cursor) of sources; the others are endless."""
    endless = {name: SourceState(samples_per_epoch=10**9, cursor=0) for name in "abcdefgh"}
    return endless | {
        name: SourceState(samples_per_epoch=epoch, cursor=cursor)
        for name, (epoch, cursor) in given.items()
    }


def test_a_cap_cuts_the_plan_exactly_where_it_is_reached() -> None:
    config = phase(
        1000,
        {"weights": {"a": 0.5, "b": 0.3, "c": 0.2}},
        sources={"a": {"max_epochs": 1.5, "spill_to": ["b", "c"]}},
    )
    plan = plan_mixture(config, states(a=(100, 30)))
    mixture = Mixture(plan)
    cut = plan.segments[1].first_sample
    assert counts_in(mixture, 0, cut)["a"] == counts_in(mixture, 0, 1000)["a"] == 150 - 30
    # One sample later the source would have been drawn once more.
    free = Mixture(plan_mixture(config))
    assert counts_in(free, 0, cut + 1)["a"] == 121
    assert plan.segments[1].knots[0][1] == quantise_weights({"b": 0.6, "c": 0.4})
    assert_within_bounds(plan, 1000)


def test_caps_are_reached_in_turn_within_a_schedule() -> None:
    both = phase(
        2000,
        {"kind": "linear", "start": {"a": 0.5, "b": 0.5}, "end": {"c": 1}},
        sources={
            "a": {"max_epochs": 1, "spill_to": ["b", "c"]},
            "b": {"max_epochs": 2, "spill_to": ["c"]},
        },
    )
    plan = plan_mixture(both, states(a=(200, 0), b=(150, 0)))
    assert len(plan.segments) == 3
    assert counts_in(Mixture(plan), 0, 2000) == {"a": 200, "b": 300, "c": 1500}
    assert_within_bounds(plan, 2000)


def test_a_source_at_its_cap_from_the_start_is_never_read() -> None:
    config = phase(
        100,
        {"weights": {"a": 0.5, "b": 0.5}},
        sources={"a": {"max_epochs": 1, "spill_to": ["c"]}},
    )
    plan = plan_mixture(config, states(a=(10, 10)))
    # The first sample may be of another source, so the order begins as it would have.
    assert counts_in(Mixture(plan), 0, 100).get("a", 0) == 0


@settings(max_examples=60, deadline=None)
@given(
    RAW,
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(st.integers(1, 60), st.integers(0, 60), st.floats(0.1, 3)),
        max_size=4,
    ),
)
def test_no_source_exceeds_its_cap(raw, caps) -> None:
    sources = {
        name: {"max_epochs": round(epochs, 3), "spill_to": ["g", "h"]}
        for name, (_, _, epochs) in caps.items()
    }
    known = states(**{name: (epoch, cursor) for name, (epoch, cursor, _) in caps.items()})
    plan = plan_mixture(phase(150, any_mixture(raw), sources=sources), known)
    assert_within_bounds(plan, 150)
    for name, count in counts_in(Mixture(plan), 0, 150).items():
        if name in caps:
            epoch, cursor, epochs = caps[name]
            assert count == 0 or cursor + count <= round(epochs, 3) * epoch


def test_a_cap_without_a_spill_is_refused_with_its_numbers() -> None:
    config = phase(100, {"weights": {"a": 0.5, "b": 0.5}}, sources={"a": {"max_epochs": 2}})
    with pytest.raises(ConfigError) as caught:
        plan_mixture(config, states(a=(10, 5)))
    [problem] = caught.value.problems
    assert problem.startswith(
        "data.sources.a.max_epochs: 2 epochs are 20 samples; earlier phases have read 5, and the "
        "mixture asks for 50 in this phase"
    )
    assert "lower its weight, raise max_epochs, or name sources in spill_to" in problem


def test_caps_hand_on_along_a_chain_as_counting_says() -> None:
    """a -> b -> c -> d, each but the last with a cap, sample for sample."""
    weights = {"a": 0.25, "b": 0.25, "e": 0.5}
    spill_to = {"a": "b", "b": "c", "c": "d"}
    caps = {"a": 40, "b": 100, "c": 90}
    config = phase(
        1000,
        {"weights": weights},
        sources={
            name: {"max_epochs": 1, "spill_to": [target]} for name, target in spill_to.items()
        },
    )
    plan = plan_mixture(config, states(**{name: (cap, 0) for name, cap in caps.items()}))
    mixture = Mixture(plan)
    sources, _ = mixture.locate_range(0, 1000)
    expected = counted_one_by_one(weights, spill_to, caps, 1000)
    assert [mixture.source_names[number] for number in sources.tolist()] == expected
    assert Counter(expected) == {"a": 40, "b": 100, "c": 90, "d": 270, "e": 500}
    assert_within_bounds(plan, 1000)


def counted_one_by_one(
    weights: dict[str, float], spill_to: dict[str, str], caps: dict[str, int], num_samples: int
) -> list[str]:
    """The order of the weights until a source would be read once too often; then that of the
    weights in which the next of its chain has its share."""
    drawn: list[str] = []
    while len(drawn) < num_samples:
        spilled = Counter[str]()
        for name, weight in weights.items():
            while drawn.count(name) == caps.get(name):
                name = spill_to[name]
            spilled[name] += weight  # type: ignore[assignment]  # a sum of shares
        free = Mixture(plan_mixture(phase(num_samples, {"weights": dict(spilled)})))
        for sample in range(num_samples - len(drawn)):
            name = free.source_names[free.locate(sample)[0]]
            if drawn.count(name) == caps.get(name):
                break
            drawn.append(name)
    return drawn


def test_a_chain_is_as_exact_within_a_schedule() -> None:
    config = phase(
        2000,
        {"kind": "linear", "start": {"a": 0.5, "b": 0.5}, "end": {"c": 1}},
        sources={
            "a": {"max_epochs": 1, "spill_to": ["b"]},
            "b": {"max_epochs": 2, "spill_to": ["d"]},
        },
    )
    plan = plan_mixture(config, states(a=(200, 0), b=(150, 0)))
    # c is asked for 1000 samples of 2000, and stays within the order's bound of that.
    found = counts_in(Mixture(plan), 0, 2000)
    assert (found["a"], found["b"]) == (200, 300)
    assert abs(found["c"] - 1000) <= MAX_ERROR * len(plan.segments)
    assert_within_bounds(plan, 2000)


def test_a_circle_of_caps_is_refused_once_all_of_it_has_run_out() -> None:
    sources = {
        "a": {"max_epochs": 1, "spill_to": ["b"]},
        "b": {"max_epochs": 1, "spill_to": ["a"]},
    }
    config = phase(100, {"weights": {"a": 0.5, "c": 0.5}}, sources=sources)
    plan = plan_mixture(config, states(a=(30, 0), b=(30, 0)))
    assert counts_in(Mixture(plan), 0, 100) == {"a": 30, "b": 20, "c": 50}
    with pytest.raises(ConfigError) as caught:
        plan_mixture(config, states(a=(30, 0), b=(10, 0)))
    [problem] = caught.value.problems
    assert problem.startswith("data.sources.a.max_epochs: 1 epochs are 30 samples")
    assert "all that take over from it (b) have reached theirs too" in problem


@settings(max_examples=80, deadline=None)
@given(
    RAW,
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.tuples(st.integers(0, 60), st.lists(st.sampled_from("abcdefg"), max_size=3)),
        max_size=6,
    ),
)
def test_any_web_of_spills_keeps_the_caps_or_is_refused(raw, capped) -> None:
    sources = {
        name: {"max_epochs": 1, "spill_to": sorted({*targets} - {name})}
        for name, (_, targets) in capped.items()
    }
    known = states(**{name: (100, 100 - cap) for name, (cap, _) in capped.items()})
    config = phase(150, any_mixture(raw), sources=sources)
    try:
        plan = plan_mixture(config, known)
    except ConfigError as error:
        # The one that is named cannot reach a source without a cap.
        name = error.problems[0].split(".")[2]
        reached = {name}
        for _ in capped:
            reached |= {t for n in reached & sources.keys() for t in sources[n]["spill_to"]}
        assert reached <= sources.keys()
        return
    assert_within_bounds(plan, 150)
    found = counts_in(Mixture(plan), 0, 150)
    assert sum(found.values()) == 150
    assert all(found.get(name, 0) <= cap for name, (cap, _) in capped.items())
