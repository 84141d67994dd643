"""The split tree against its definition in exact fractions."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

TOTAL = 2**20


def random_units(rng: np.random.Generator, num_knots: int, num_sources: int) -> np.ndarray:
    """Sources come, go, dominate and starve."""
    rows = []
    for _ in range(num_knots):
        share = rng.dirichlet(np.full(num_sources, rng.choice([0.1, 0.5, 3.0])))
        share[rng.random(num_sources) < 0.2] = 0
        row = np.floor(share * TOTAL).astype(np.int64)
        row[rng.integers(num_sources)] += TOTAL - row.sum()
        rows.append(row)
    units = np.array(rows)
    unused = np.flatnonzero(~units.any(axis=0))
    units[0, unused] = 1
    units[0, units[0].argmax()] -= len(unused)
    return units


def random_tree(rng: np.random.Generator, num_sources: int) -> np.ndarray:
    """Children of each inner node, the root first."""
    roots: list[object] = [~source for source in range(num_sources)]
    while len(roots) > 1:
        left, right = (roots.pop(rng.integers(len(roots))) for _ in range(2))
        roots.append((left, right))
    inner = [roots[0]] if num_sources > 1 else []
    rows = []
    for node in inner:  # grows while it is read
        row = []
        for side in node:
            if isinstance(side, tuple):
                inner.append(side)
            row.append(len(inner) - 1 if isinstance(side, tuple) else side)
        rows.append(row)
    return np.array(rows, np.int32).reshape(-1, 2)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(0, 5), st.integers(1, 5))
def test_equals_the_definition_in_fractions(seed, num_sources, log2_spacing, num_knots):
    rng = np.random.default_rng(seed)
    units, children = (
        random_units(rng, num_knots, num_sources),
        random_tree(rng, num_sources),
    )
    num_samples = (num_knots - 1) * 2**log2_spacing + 12  # the weights stay after the last knot
    tree = ops.SplitTree(units, log2_spacing, children)
    oracle = reference.SplitTree(units, log2_spacing, children, num_samples)
    sources, draws = tree.locate(np.arange(num_samples))
    counts = np.zeros(num_sources, np.int64)
    for sample in range(num_samples):
        assert tree.counts(sample).tolist() == oracle.counts(sample) == counts.tolist()
        assert draws[sample] == counts[sources[sample]]  # no draw is skipped or repeated
        counts[sources[sample]] += 1


def test_any_access_equals_sequential_access_over_a_million_samples():
    rng = np.random.default_rng(1)
    tree = ops.SplitTree(random_units(rng, 9, 20), 17, random_tree(rng, 20))
    samples = np.arange(2**20 + 1000)
    sources, draws = tree.locate(samples)
    shuffled = rng.permutation(samples)
    some_sources, some_draws = tree.locate(shuffled)
    np.testing.assert_array_equal(some_sources, sources[shuffled])
    np.testing.assert_array_equal(some_draws, draws[shuffled])
    for source in range(20):
        np.testing.assert_array_equal(
            draws[sources == source], np.arange(np.count_nonzero(sources == source))
        )
    for n in [0, 1, 12345, 2**19, len(samples)]:
        np.testing.assert_array_equal(tree.counts(n), np.bincount(sources[:n], minlength=20))


@pytest.mark.parametrize("log2_spacing", [0, 20, 34, 40])
def test_far_samples_are_counted_without_overflow(log2_spacing):
    """Counts are sums over leaves, so they are exact only if every node is; planned to the last
    sample, in Python's integers."""
    units = np.array([[1, TOTAL - 1, 0], [TOTAL // 2, 0, TOTAL // 2]])
    tree = ops.SplitTree(units, log2_spacing, np.array([[1, ~0], [~1, ~2]], np.int32))
    last = min(2**log2_spacing, 2**41 - 2)
    before, after = tree.counts(last), tree.counts(last + 1)
    [source], [draw] = tree.locate(np.array([last]))
    assert (draw, after[source]) == (before[source], before[source] + 1)
    assert before.sum() == last
    for weight, count in zip(units.T.tolist(), before.tolist(), strict=True):
        # On a straight line the mean of the ends, over the whole piece.
        twice_units = sum(weight) * last
        assert abs(2 * TOTAL * count - twice_units) <= 2 * 2 * TOTAL


def test_constant_weights_divide_exactly_far_out():
    """Where a multiplication stands for a division: ties and the largest numbers."""
    rng = np.random.default_rng(5)
    for left in [1, 2, 3, 349525, 2**19, 699051, TOTAL - 1]:
        tree = ops.SplitTree(np.array([[left, TOTAL - left]]), 0, np.array([[~0, ~1]], np.int32))
        for n in [*rng.integers(0, 2**41, 200).tolist(), 0, 1, 2**40, 2**41]:
            assert tree.counts(n)[0] == (2 * n * left + TOTAL) // (2 * TOTAL)


def test_a_tree_that_was_pickled_is_the_same():
    rng = np.random.default_rng(3)
    tree = ops.SplitTree(random_units(rng, 4, 5), 4, random_tree(rng, 5))
    again = pickle.loads(pickle.dumps(tree))
    np.testing.assert_array_equal(again.locate(np.arange(90)), tree.locate(np.arange(90)))


EVEN = [[TOTAL // 2, TOTAL // 2]]


@pytest.mark.parametrize(
    ("units", "log2_spacing", "children", "message"),
    [
        ([[1, TOTAL]], 0, [[-1, -2]], "the units at knot 0 sum to 1048577, not to 2"),
        ([[-1, TOTAL + 1]], 0, [[-1, -2]], "units -1 of source 0 at knot 0 are outside"),
        ([[TOTAL, 0]], 0, [[-1, -2]], "source 1 never has a weight"),
        (EVEN, 41, [[-1, -2]], r"knots every 2\^41 samples"),
        (EVEN, 0, [[-1, -1]], "child -1 has two parents"),
        (EVEN, 0, [[-1, 0]], "child 0 of node 0 does not come later"),
        (EVEN, 0, [[-1, -3]], "child -3 of node 0 does not exist"),
        (EVEN, 0, [[-1, -2], [-1, -2]], "2 sources need 1 inner nodes, not 2"),
    ],
)
def test_refuses_bad_arguments(units, log2_spacing, children, message):
    with pytest.raises(ValueError, match=message):
        ops.SplitTree(np.array(units), log2_spacing, np.array(children, np.int32))


@pytest.mark.parametrize("sample", [-1, 2**41])
def test_refuses_samples_out_of_range(sample):
    tree = ops.SplitTree(np.array(EVEN), 0, np.array([[~0, ~1]], np.int32))
    with pytest.raises(ValueError, match=f"sample {sample} is outside"):
        tree.locate(np.array([sample]))
