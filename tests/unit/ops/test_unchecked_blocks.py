import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference


@given(
    num_items=st.integers(0, 200),
    shift=st.integers(0, 5),
    num_ranges=st.integers(0, 8),
    seed=st.integers(0, 2**32 - 1),
)
def test_equals_a_walk_over_every_item(num_items, shift, num_ranges, seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, num_items + 1, num_ranges)
    length = rng.integers(0, num_items - first + 1)
    is_checked = rng.random(-(-num_items >> shift) + 1) < 0.6
    arguments = (first, length, shift, num_items, is_checked)
    result = ops.find_unchecked_blocks(*arguments)
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, reference.find_unchecked_blocks(*arguments))


def test_positions_are_not_cut_to_32_bits():
    first = np.array([2**40 + 5])
    is_checked = np.zeros(2**10 + 2, bool)
    found = ops.find_unchecked_blocks(first, np.array([2**30]), 30, 2**40 + 2**30 + 5, is_checked)
    assert found.tolist() == [1024, 1025]


@pytest.mark.parametrize(
    ("first", "length", "num_items"),
    [([-1], [1], 8), ([0], [-1], 8), ([7], [2], 8), ([9], [0], 8), ([1], [2**63 - 1], 8),
     ([0, 0], [1], 8), ([0], [1], 17)],
)  # fmt: skip
def test_what_lies_outside_is_refused(first, length, num_items):
    with pytest.raises(ValueError, match=r"outside|firsts|do not lie"):
        ops.find_unchecked_blocks(
            np.array(first), np.array(length), 3, num_items, np.zeros(2, bool)
        )


def test_other_types_are_not_converted():
    with pytest.raises(TypeError):
        ops.find_unchecked_blocks(np.array([0], np.int32), np.array([1]), 3, 8, np.zeros(2, bool))
