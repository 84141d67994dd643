import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

ORDER = np.array([2, 0, 2, 1, 2], np.int16)
DRAWS = np.array([0, 0, 1, 0, 2], np.int32)
PER_PERIOD = np.array([1, 1, 3])


@given(st.lists(st.integers(0, 60) | st.integers(0, 2**61), max_size=40))
def test_equals_division_in_numpy(samples):
    asked = np.array(samples, np.int64)
    result = ops.locate_in_period(ORDER, DRAWS, PER_PERIOD, asked)
    expected = reference.locate_in_period(ORDER, DRAWS, PER_PERIOD, asked)
    for ours, oracles in zip(result, expected, strict=True):
        assert ours.dtype == oracles.dtype
        np.testing.assert_array_equal(ours, oracles)


@pytest.mark.parametrize(
    ("order", "draws", "samples", "message"),
    [
        (ORDER, DRAWS, [3, -1], "sample -1 is negative"),
        (ORDER, DRAWS[:4], [0], "4 draws for 5 positions"),
        (ORDER[:0], DRAWS[:0], [0], "the table is empty"),
        (ORDER + np.int16(1), DRAWS, [0], "source 3 in the table of 3"),
    ],
)
def test_refuses_bad_arguments(order, draws, samples, message):
    with pytest.raises(ValueError, match=message):
        ops.locate_in_period(order, draws, PER_PERIOD, np.array(samples))
