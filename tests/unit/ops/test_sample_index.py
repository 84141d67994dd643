import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference


@st.composite
def shuffled_documents(draw, min_length=0):
    """(document_lengths, document_index over some epochs, num_epochs, tokens per epoch)."""
    lengths = draw(st.lists(st.integers(min_length, 40), min_size=1, max_size=60))
    num_epochs = draw(st.integers(1, 4))
    rng = np.random.RandomState(draw(st.integers(0, 2**32 - 1)))
    documents = range(len(lengths))
    document_index = ops.build_document_index(documents, num_epochs, rng, draw(st.booleans()))
    return np.array(lengths, np.int32), document_index, num_epochs, sum(lengths)


@given(
    shuffled_documents(), st.integers(1, 90), st.booleans(), st.booleans(), st.sampled_from("iq")
)
def test_equals_numpy(documents, sequence_length, drop_last, extra_token, index_type):
    lengths, document_index, num_epochs, tokens_per_epoch = documents
    assume(tokens_per_epoch >= 1)
    # With the extra token, padding after an empty last document has nowhere to start.
    assume(drop_last or not extra_token or lengths[document_index[-1]] > 0)
    arguments = {
        "num_tokens": num_epochs * tokens_per_epoch,
        "sequence_length": sequence_length,
        "drop_last": drop_last,
        "extra_token": extra_token,
    }
    document_index = document_index.astype(index_type)
    result = ops.build_sample_index(lengths, document_index, **arguments)
    expected = reference.build_sample_index(lengths, document_index, **arguments)
    assert result.dtype == expected.dtype == document_index.dtype
    np.testing.assert_array_equal(result, expected)


@given(shuffled_documents(min_length=1), st.integers(2, 90), st.booleans(), st.booleans())
def test_equals_megatron(helpers, documents, sequence_length, drop_last, extra_token):
    lengths, document_index, num_epochs, tokens_per_epoch = documents
    assume(tokens_per_epoch >= 2)
    expected = helpers.build_sample_idx(
        lengths,
        document_index,
        sequence_length,
        num_epochs,
        tokens_per_epoch,
        drop_last,
        extra_token,
    )
    result = ops.build_sample_index(
        lengths,
        document_index,
        num_tokens=num_epochs * tokens_per_epoch,
        sequence_length=sequence_length,
        drop_last=drop_last,
        extra_token=extra_token,
    )
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


# megatron-core counts kept samples in 32-bit floats; here that is off by one, either way.
@pytest.mark.parametrize(("num_starts", "excess"), [(67_109_001, -1), (67_109_100, 1)])
def test_equals_megatron_past_the_precision_of_its_count(helpers, num_starts, excess):
    lengths = np.array([num_starts - 4, 5], np.int32)
    document_index = np.array([1, 0], np.int32)
    expected = helpers.build_sample_idx(
        lengths, document_index, 100, 1, num_starts + 1, False, True
    )
    result = ops.build_sample_index(
        lengths, document_index, num_tokens=num_starts + 1, sequence_length=100, drop_last=False
    )
    assert len(result) - 1 == -(-num_starts // 100) + excess
    np.testing.assert_array_equal(result, expected)


def test_offsets_past_int32_tokens():
    """The stream may be longer than int32 counts, though no document is."""
    lengths = np.array([2**31 - 1, 2**31 - 1, 10], np.int32)
    document_index = np.array([0, 1, 1, 0, 2], np.int32)
    arguments = {
        "num_tokens": int(lengths[document_index].sum(dtype=np.int64)),
        "sequence_length": 2**20,
    }
    result = ops.build_sample_index(lengths, document_index, **arguments)
    expected = reference.build_sample_index(lengths, document_index, **arguments)
    np.testing.assert_array_equal(result, expected)


def build(lengths=(5, 5), document_index=(0, 1), num_tokens=10, sequence_length=4, **options):
    return ops.build_sample_index(
        np.array(lengths, np.int32),
        np.array(document_index, np.int32),
        num_tokens=num_tokens,
        sequence_length=sequence_length,
        **options,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"document_index": [0, 2]}, r"document 2 is outside \[0, 2\)"),
        ({"document_index": [-1, 0]}, r"document -1 is outside \[0, 2\)"),
        ({"document_index": []}, "the document index is empty"),
        ({"lengths": [5, -5]}, "document 1 has length -5"),
        ({"num_tokens": 13}, "the documents hold 10 tokens, not 13"),
        ({"num_tokens": 0}, "num_tokens is 0"),
        ({"sequence_length": 0}, "sequence_length is 0"),
        (
            {"lengths": [5, 0], "num_tokens": 5, "sequence_length": 3, "drop_last": False},
            "the last document in order is empty",
        ),
    ],
)
def test_refuses_what_does_not_fit_together(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


@pytest.mark.parametrize(
    ("lengths", "document_index"),
    [
        (np.array([5, 5], np.int64), np.array([0, 1], np.int32)),
        (np.array([5, 5], np.int32), np.array([0, 1], np.uint32)),
        (np.array([5, 5], np.int32), np.array([0.0, 1.0])),
    ],
)
def test_never_converts_a_dtype(lengths, document_index):
    with pytest.raises(TypeError, match="incompatible function arguments"):
        ops.build_sample_index(lengths, document_index, num_tokens=10, sequence_length=4)


def test_refuses_two_dimensions():
    with pytest.raises(ValueError, match="document_index has 2 dimensions, not 1"):
        build(document_index=[[0, 1]])
