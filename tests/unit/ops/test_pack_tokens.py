"""Packing of encoded documents, and the characters that both encoders are proved equal on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

DOCUMENTS = st.lists(st.lists(st.integers(1, 999), max_size=40), min_size=1, max_size=30)


@pytest.mark.parametrize("end", [None, 0, 999])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@given(documents=DOCUMENTS)
def test_equals_the_definition(documents, end, dtype):
    tokens = np.array([token for document in documents for token in document], np.uint32)
    borders = np.cumsum([0, *map(len, documents)])
    packed, lengths = ops.pack_tokens(
        tokens, borders, end_of_document=end, vocabulary_size=1000, dtype=dtype
    )
    wanted = reference.pack_tokens(tokens, borders, end_of_document=end, dtype=dtype)
    for ours, oracles in zip((packed, lengths), wanted, strict=True):
        assert ours.dtype == oracles.dtype
        np.testing.assert_array_equal(ours, oracles)


@pytest.mark.parametrize(
    ("tokens", "borders", "message"),
    [
        ([1, 2], [0, 3], "from 0 to 2"),
        ([1, 2], [1, 2], "from 0 to 2"),
        ([1, 2], [0, 2, 1, 2], "wrong at 1"),
        ([1, 2], [0, -1, 2], "wrong at 0"),
        ([1, 2], [0, 9, 2], "wrong at 0"),
        ([1, 1000], [0, 2], "token 1000 of 1000"),
        ([1], [], "from 0 to 1"),
    ],
)
def test_what_is_no_encoding_is_refused(tokens, borders, message):
    with pytest.raises(ValueError, match=message):
        ops.pack_tokens(
            np.array(tokens, np.uint32),
            np.array(borders, np.int64),
            end_of_document=0,
            vocabulary_size=1000,
            dtype=np.uint16,
        )


@given(texts=st.lists(st.text(max_size=20), max_size=10))
def test_a_text_is_known_where_all_its_characters_are(texts):
    is_known = np.random.default_rng(3).random(0x3000) < 0.98
    wanted = [
        all(ord(char) < 128 or (ord(char) < 0x3000 and is_known[ord(char)]) for char in text)
        for text in texts
    ]
    assert ops.are_known_texts(texts, is_known).tolist() == wanted
