import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

# Both sides of the 128-element blocks in which the C++ shuffle draws, and of powers of two, where
# the mask of the bounded draw changes.
SIZES = [0, 1, 2, 3, 31, 32, 33, 127, 128, 129, 255, 256, 257, 5000, 70_000, 1_000_003]


def states_are_equal(a: np.random.RandomState, b: np.random.RandomState) -> bool:
    left, right = a.get_state(), b.get_state()
    return left[2:] == right[2:] and np.array_equal(left[1], right[1])


@pytest.mark.parametrize("num_documents", SIZES)
@pytest.mark.parametrize("num_epochs", [1, 3])
def test_equals_numpy_and_advances_its_generator(num_documents, num_epochs):
    ours, numpys = np.random.RandomState(7), np.random.RandomState(7)
    documents = range(num_documents)
    for separate in (False, True):
        result = ops.build_document_index(documents, num_epochs, ours, separate)
        expected = reference.build_document_index(documents, num_epochs, numpys, separate)
        assert result.dtype == expected.dtype == np.int32
        np.testing.assert_array_equal(result, expected)
        assert states_are_equal(ours, numpys)


@given(
    first=st.integers(0, 2**31 - 81),
    num_documents=st.integers(0, 80),
    num_epochs=st.integers(1, 5),
    separate=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    used_up=st.integers(0, 1300),
)
def test_equals_megatron_from_any_generator_state(
    gpt_dataset, first, num_documents, num_epochs, separate, seed, used_up
):
    ours, megatrons = np.random.RandomState(seed), np.random.RandomState(seed)
    for rng in (ours, megatrons):
        rng.randint(2**31, size=used_up)
    documents = range(first, first + num_documents)
    result = ops.build_document_index(documents, num_epochs, ours, separate)
    expected = gpt_dataset._build_document_index(
        np.array(documents, np.int32), num_epochs, megatrons, separate
    )
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)
    assert states_are_equal(ours, megatrons)


def test_document_numbers_past_int32_give_int64():
    documents = range(2**31 - 3, 2**31 + 50)
    result = ops.build_document_index(documents, 2, np.random.RandomState(1))
    expected = reference.build_document_index(documents, 2, np.random.RandomState(1))
    assert result.dtype == np.int64
    np.testing.assert_array_equal(result, expected)


def test_largest_int32_document_number_stays_int32():
    result = ops.build_document_index(range(2**31 - 2, 2**31), 1, np.random.RandomState(1))
    assert result.dtype == np.int32
    assert sorted(result) == [2**31 - 2, 2**31 - 1]


@pytest.mark.parametrize("documents", [range(-1, 3), range(0, 9, 2)])
def test_refuses_gaps_and_negative_numbers(documents):
    with pytest.raises(ValueError, match="documents must be numbers >= 0 without gaps"):
        ops.build_document_index(documents, 1, np.random.RandomState(0))


def test_refuses_no_epochs():
    with pytest.raises(ValueError, match="num_epochs must be at least 1, got 0"):
        ops.build_document_index(range(3), 0, np.random.RandomState(0))


def test_refuses_another_generator():
    rng = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(ValueError, match="MT19937"):
        ops.build_document_index(range(3), 1, rng)
