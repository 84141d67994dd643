import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference


@given(size=st.integers(0, 3000), part=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_equals_numpy(size, part, seed):
    num_samples = round(size * part)
    ours, numpys = np.random.RandomState(seed), np.random.RandomState(seed)
    result = ops.build_shuffle_index(num_samples, size, ours)
    expected = reference.build_shuffle_index(num_samples, size, numpys)
    assert result.dtype == expected.dtype == np.uint32
    np.testing.assert_array_equal(result, expected)
    assert ours.randint(2**31) == numpys.randint(2**31)


@given(size=st.integers(1, 3000), part=st.floats(0, 1), seed=st.integers(0, 2**32 - 1))
def test_equals_megatron(gpt_dataset, size, part, seed):
    num_samples = round(size * part)
    result = ops.build_shuffle_index(num_samples, size, np.random.RandomState(seed))
    expected = gpt_dataset._build_shuffle_index(num_samples, size, np.random.RandomState(seed))
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("num_samples", [-1, 11])
def test_refuses_a_part_larger_than_the_whole(num_samples):
    with pytest.raises(ValueError, match=r"num_samples must be in \[0, 10\]"):
        ops.build_shuffle_index(num_samples, 10, np.random.RandomState(0))
