import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

some_lengths = st.lists(st.integers(0, 50), max_size=80).map(lambda n: np.array(n, np.int32))


@given(some_lengths, st.integers(1, 40))
@example(np.array([0], np.int32), 5)
@example(np.array([5, 10, 3, 2], np.int32), 5)
@example(np.array([5, 10, 3, 2], np.int32), 2**31 - 1)
@example(np.array([7, 0], np.int32), 7)
@example(np.array([7, 0], np.int32), 8)
def test_equals_the_plain_definition(lengths, row_length):
    found = ops.pack_best_fit(lengths, row_length)
    expected = reference.pack_best_fit(lengths, row_length)
    for name, ours, plain in zip(found._fields, found, expected, strict=True):
        assert ours.dtype == plain.dtype, name
        np.testing.assert_array_equal(ours, plain, name)


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 2, 63, 64, 65, 100, 4096, 5000]))
def test_every_token_is_in_one_row_and_no_row_overflows(seed, row_length):
    rng = np.random.default_rng(seed)
    lengths = rng.geometric(3 / row_length if row_length > 3 else 0.5, 300).astype(np.int32)
    packed = ops.pack_best_fit(lengths, row_length)
    used = np.add.reduceat(packed.length, packed.row_start[:-1])
    assert used.max() <= row_length
    seen = [np.zeros(length, int) for length in lengths]
    for document, offset, length in zip(*packed[1:], strict=True):
        seen[document][offset : offset + length] += 1
    assert all((counts == 1).all() for counts in seen)
    # Only a document longer than a row is cut.
    assert (np.bincount(packed.document) == -(-lengths // row_length)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_needs_at_most_11_ninths_of_the_fewest_rows_and_4(seed, pieces_in_a_row):
    """Johnson 1973's bound for best fit decreasing, on full rows cut into pieces."""
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, 1001, (150, pieces_in_a_row - 1)), axis=1)
    lengths = np.diff(cuts, prepend=0, append=1000).flatten().astype(np.int32)
    num_rows = len(ops.pack_best_fit(rng.permutation(lengths), 1000).row_start) - 1
    assert 150 <= num_rows <= 11 / 9 * 150 + 4


@pytest.mark.parametrize(
    ("lengths", "row_length", "message"),
    [([3, -1], 4, "document 1 has length -1"), ([3], 0, "row_length is 0, less than 1")],
)
def test_refuses_what_cannot_be_packed(lengths, row_length, message):
    with pytest.raises(ValueError, match=message):
        ops.pack_best_fit(np.array(lengths, np.int32), row_length)


def test_never_converts_a_dtype():
    with pytest.raises(TypeError, match="incompatible function arguments"):
        ops.pack_best_fit(np.array([3, 4], np.int64), 4)
