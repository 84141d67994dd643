import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

WEIGHTS = st.lists(st.floats(1e-6, 1), min_size=1, max_size=40)


def normalised(weights: list[float]) -> np.ndarray:
    return np.array(weights) / np.sum(weights)


@given(weights=WEIGHTS, size=st.integers(0, 500))
def test_equals_numpy(weights, size):
    result = ops.build_blending_index(normalised(weights), size)
    expected = reference.build_blending_index(normalised(weights), size)
    for ours, oracles in zip(result, expected, strict=True):
        assert ours.dtype == oracles.dtype
        np.testing.assert_array_equal(ours, oracles)


@given(weights=WEIGHTS, size=st.integers(1, 3000))
def test_equals_megatron(helpers, weights, size):
    dataset_index = np.zeros(size, np.int16)
    dataset_sample_index = np.zeros(size, np.int64)
    helpers.build_blending_indices(
        dataset_index, dataset_sample_index, normalised(weights), len(weights), size, False
    )
    result = ops.build_blending_index(normalised(weights), size)
    np.testing.assert_array_equal(result[0], dataset_index)
    np.testing.assert_array_equal(result[1], dataset_sample_index)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([], "0 datasets"),
        ([0.5, -0.5], "a weight is -0.5"),
        ([0.5, float("nan")], "a weight is -?nan"),
        ([float("inf")], "a weight is inf"),
        (np.full(2**15, 2.0**-15), "32768 datasets"),
    ],
)
def test_refuses_bad_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        ops.build_blending_index(np.array(weights, np.float64), 10)


def test_refuses_a_negative_size():
    with pytest.raises(ValueError, match="size is -1"):
        ops.build_blending_index(np.array([1.0]), -1)
