import itertools
from math import isqrt, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

KEYS = [0, 1, 0x9E3779B97F4A7C15, 2**64 - 1]
MAX_TABLE_SIZE = 65_536
JUST_ABOVE_TABLES = range(MAX_TABLE_SIZE + 1, MAX_TABLE_SIZE + 25)
AROUND_SQUARES = [257**2 - 1, 257**2, 257**2 + 1, 300**2, 300 * 301, 2**17, 99_991]
HUGE = [2**32 + 7, 10**11, 2**61 - 1, 2**62 - 1, 2**62]


def whole(size: int, key: int) -> np.ndarray:
    return ops.permute(np.arange(size), size, key)


def assert_is_a_permutation(size: int, key: int) -> None:
    values = whole(size, key)
    assert np.array_equal(np.sort(values), np.arange(size)), (size, key)
    assert np.array_equal(ops.invert_permutation(values, size, key), np.arange(size)), (size, key)


@pytest.mark.parametrize("key", KEYS)
def test_every_small_size_is_a_permutation_with_its_inverse(key):
    for size in range(1, 2001):
        assert_is_a_permutation(size, key)


@pytest.mark.parametrize(
    "size", [MAX_TABLE_SIZE - 1, MAX_TABLE_SIZE, *JUST_ABOVE_TABLES, *AROUND_SQUARES, 1_000_003]
)
def test_larger_sizes_are_permutations_with_their_inverses(size):
    for key in KEYS[1:3]:
        assert_is_a_permutation(size, key)


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("key", KEYS)
def test_sizes_that_no_memory_holds_are_inverted_and_stay_inside(size, key):
    rng = np.random.default_rng(1)
    edges = [0, 1, isqrt(size), size // 2, size - 2, size - 1]
    positions = np.unique(np.append(rng.integers(0, size, 20_000), edges))
    values = ops.permute(positions, size, key)
    assert values.min() >= 0
    assert values.max() < size
    assert len(np.unique(values)) == len(positions)
    assert np.array_equal(ops.invert_permutation(values, size, key), positions)


@given(size=st.integers(1, 2000), key=st.integers(0, 2**64 - 1))
def test_tables_equal_the_oracle(size, key):
    positions = np.arange(0, size, 1 + size // 50)
    expected = reference.permute(positions, size, key)
    assert np.array_equal(ops.permute(positions, size, key), expected)


@given(
    size=st.one_of(st.integers(MAX_TABLE_SIZE + 1, 10**6), st.integers(10**6, 2**62)),
    key=st.integers(0, 2**64 - 1),
    data=st.data(),
)
def test_networks_equal_the_oracle(size, key, data):
    places = st.integers(0, size - 1)
    positions = np.array([0, size - 1, *data.draw(st.lists(places, max_size=20))])
    expected = reference.permute(positions, size, key)
    assert np.array_equal(ops.permute(positions, size, key), expected)


# Statistics. Every key and seed is fixed, so that a test passes always or never; thresholds are
# those that a perfect shuffle breaks once in thousands of runs, and numpy's own permutation is put
# through the same tests with the same thresholds. That they can fail is shown on a network of two
# rounds, which is not enough for a shuffle.

SIZE = 100_003
NUM_KEYS = 60
NUM_BINS = 16


def statistics(permutation: np.ndarray) -> dict[str, float]:
    """Each has mean 0 and standard deviation 1 over uniform permutations, nearly."""
    size = len(permutation)
    centred = permutation - (size - 1) / 2
    variance = (size**2 - 1) / 12

    def correlation(left: np.ndarray, right: np.ndarray) -> float:
        # The sum of n products of independent centred entries has deviation sqrt(n) * variance.
        return float(left @ right) / (sqrt(len(left)) * variance)

    root = isqrt(size)  # where a network on a square could repeat itself
    results = {
        f"lag {lag}": correlation(centred[:-lag], centred[lag:])
        for lag in (1, 2, 3, 64, root, root + 1, 2 * root, size // 2)
    }
    places = np.arange(size)
    results["value on place"] = correlation(centred, places - (size - 1) / 2)
    for name, left, right in [
        ("value bins by place bins", places, permutation),
        ("value bins by next value's bins", permutation[:-1], permutation[1:]),
    ]:
        cells = (left * NUM_BINS // size) * NUM_BINS + right * NUM_BINS // size
        expected = len(left) / NUM_BINS**2
        counts = np.bincount(cells, minlength=NUM_BINS**2)
        chi_square = float(((counts - expected) ** 2).sum()) / expected
        # Rows and columns of the table are nearly fixed: (bins - 1)^2 degrees of freedom.
        freedom = (NUM_BINS - 1) ** 2
        results[name] = (chi_square - freedom) / sqrt(2 * freedom)
    # Poisson with mean 1: entries that stay in place; with mean 2: neighbours that stay neighbours.
    results["fixed points"] = int((permutation == places).sum()) - 1
    results["neighbours"] = (int((np.abs(np.diff(permutation)) == 1).sum()) - 2) / sqrt(2)
    return results


def verdicts(permutations) -> dict[str, float]:
    """By statistic, its mean over the permutations in standard errors (the worst of two measures).

    The second measure is the mean square, which for a perfect shuffle is 1: it sees a statistic
    that strays to both sides. Its standard error is sqrt((kurtosis - 1) / n), with the largest
    kurtosis here, that of a Poisson number of mean 1: 4.
    """
    table = [statistics(permutation) for permutation in permutations]
    results = {}
    for name in table[0]:
        values = np.array([row[name] for row in table])
        mean = abs(values.mean()) * sqrt(len(values))
        spread = abs((values**2).mean() - 1) / sqrt(3 / len(values))
        results[name] = float(max(mean, spread))
    return results


# Thirteen statistics, each with two measures: a normal variable is beyond 4.5 standard errors once
# in 147,000, so one of 26 once in 5,600 runs; the mean squares are somewhat heavier in the tail.
LIMIT = 4.5


def test_the_network_shuffles_as_numpy_does():
    ours = verdicts(whole(SIZE, key) for key in range(NUM_KEYS))
    numpys = verdicts(np.random.default_rng(seed).permutation(SIZE) for seed in range(NUM_KEYS))
    assert max(numpys.values()) < LIMIT, numpys
    assert max(ours.values()) < LIMIT, ours


def test_keys_that_differ_in_one_bit_are_unrelated():
    centred = whole(SIZE, 12345) - (SIZE - 1) / 2
    variance = (SIZE**2 - 1) / 12
    for bit in range(64):
        other = whole(SIZE, 12345 ^ (1 << bit)) - (SIZE - 1) / 2
        assert abs(float(centred @ other)) / (sqrt(SIZE) * variance) < LIMIT, bit


def test_two_rounds_are_told_from_a_shuffle():
    size = 10_007  # the oracle is slow
    weak = verdicts(
        reference.permute(np.arange(size), size, key, rounds=2, max_table_size=0)
        for key in range(4)
    )
    assert weak["value bins by next value's bins"] > 10 * LIMIT


NUM_DRAWS = 12_000
PERMUTATIONS_OF_5 = {order: n for n, order in enumerate(itertools.permutations(range(5)))}
# Chi-square of 119 degrees of freedom: above 186 once in 12,000 (Wilson and Hilferty 1931).
CHI_SQUARE_LIMIT = 186


def chi_square_of_permutations(permutations) -> float:
    counts = np.zeros(len(PERMUTATIONS_OF_5))
    for permutation in permutations:
        counts[PERMUTATIONS_OF_5[tuple(permutation.tolist())]] += 1
    expected = NUM_DRAWS / len(counts)
    return float(((counts - expected) ** 2).sum() / expected)


def test_all_permutations_of_five_are_equally_likely():
    assert chi_square_of_permutations(whole(5, key) for key in range(NUM_DRAWS)) < CHI_SQUARE_LIMIT


def test_a_network_on_five_entries_is_not_and_needs_the_table():
    places = np.arange(5)
    weak = chi_square_of_permutations(
        reference.permute(places, 5, key, max_table_size=0) for key in range(NUM_DRAWS)
    )
    assert weak > 1.5 * CHI_SQUARE_LIMIT


@pytest.mark.parametrize("size", [100, MAX_TABLE_SIZE + 1, 2**62])
def test_refuses_what_is_outside(size):
    for number in (-1, size):
        with pytest.raises(ValueError, match=rf"position {number} is outside \[0, {size}\)"):
            ops.permute(np.array([0, number]), size, 1)
        with pytest.raises(ValueError, match=rf"value {number} is outside \[0, {size}\)"):
            ops.invert_permutation(np.array([0, number]), size, 1)


@pytest.mark.parametrize("size", [0, -1, 2**62 + 1])
def test_refuses_sizes_without_a_permutation(size):
    with pytest.raises(ValueError, match="entries; from 1 to 2"):
        ops.permute(np.empty(0, np.int64), size, 1)
