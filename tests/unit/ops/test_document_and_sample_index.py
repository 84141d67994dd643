import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference


def assert_equals_one_after_the_other(lengths, num_epochs, separate, seed, **layout):
    """The same arrays as from numpy's shuffle and a cumulative sum, and the same stream after."""
    ours, numpys = np.random.RandomState(seed), np.random.RandomState(seed)
    result = ops.build_document_and_sample_index(lengths, num_epochs, ours, separate, **layout)
    expected = reference.build_document_and_sample_index(
        lengths, num_epochs, numpys, separate, **layout
    )
    for mine, theirs in zip(result, expected, strict=True):
        assert mine.dtype == theirs.dtype == np.int32
        np.testing.assert_array_equal(mine, theirs)
    assert ours.randint(2**31) == numpys.randint(2**31)
    return result


@given(
    lengths=st.lists(st.integers(0, 40), min_size=1, max_size=60),
    num_epochs=st.integers(1, 4),
    separate=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    sequence_length=st.integers(1, 90),
    drop_last=st.booleans(),
    extra_token=st.booleans(),
)
def test_equals_numpy(lengths, num_epochs, separate, seed, sequence_length, drop_last, extra_token):
    # With the extra token, padding after an empty last document has nowhere to start.
    assume(sum(lengths) and (drop_last or not extra_token or min(lengths) > 0))
    assert_equals_one_after_the_other(
        np.array(lengths, np.int32),
        num_epochs,
        separate,
        seed,
        num_tokens=num_epochs * sum(lengths),
        sequence_length=sequence_length,
        drop_last=drop_last,
        extra_token=extra_token,
    )


@pytest.mark.parametrize("sequence_length", [100, 2048, 8192])
@pytest.mark.parametrize("num_epochs", [1, 3])
def test_equals_numpy_over_memory_that_goes_back(num_epochs, sequence_length):
    """Some of the working memory is given back after each 2^19 entries."""
    rng = np.random.default_rng(1)
    lengths = np.maximum(rng.lognormal(6, 1.2, 700_001), 2).astype(np.int32)
    _, sample_index = assert_equals_one_after_the_other(
        lengths,
        num_epochs,
        True,
        3,
        num_tokens=num_epochs * int(lengths.sum()),
        sequence_length=sequence_length,
    )
    # Samples start one sequence_length apart, across documents longer than that, too.
    assert len(sample_index) > lengths.sum() // sequence_length


def test_equals_megatron(gpt_dataset, helpers):
    lengths = np.random.default_rng(2).integers(1, 3000, 20_000, np.int32)
    rng, megatrons = np.random.RandomState(9), np.random.RandomState(9)
    num_tokens = int(lengths.sum())
    result = ops.build_document_and_sample_index(
        lengths, 2, rng, True, num_tokens=2 * num_tokens, sequence_length=1024
    )
    documents = gpt_dataset._build_document_index(
        np.arange(len(lengths), dtype=np.int32), 2, megatrons, True
    )
    samples = helpers.build_sample_idx(lengths, documents, 1024, 2, num_tokens, True, True)
    np.testing.assert_array_equal(result[0], documents)
    np.testing.assert_array_equal(result[1], samples)


def test_documents_as_long_as_int32_counts():
    lengths = np.array([2**31 - 1, 10, 2**31 - 1], np.int32)
    assert_equals_one_after_the_other(
        lengths, 3, True, 0, num_tokens=3 * int(lengths.sum(dtype=np.int64)), sequence_length=2**20
    )


@pytest.mark.parametrize(
    ("lengths", "arguments", "message"),
    [
        ([5, 5], {"num_tokens": 13}, "the documents hold 10 tokens, not 13"),
        ([5, -5], {}, "document 1 has length -5"),
        ([], {}, "the document index is empty"),
        ([5, 5], {"num_tokens": 0}, "num_tokens is 0"),
        ([5, 5], {"sequence_length": 0}, "sequence_length is 0"),
        ([5, 5], {"num_epochs": 0}, "num_epochs is 0"),
        ([0], {"num_tokens": 5, "drop_last": False}, "the last document in order is empty"),
    ],
)
def test_refuses_what_does_not_fit_together(lengths, arguments, message):
    options = {"num_epochs": 1, "num_tokens": 10, "sequence_length": 4, **arguments}
    with pytest.raises(ValueError, match=message):
        ops.build_document_and_sample_index(
            np.array(lengths, np.int32), rng=np.random.RandomState(0), **options
        )
