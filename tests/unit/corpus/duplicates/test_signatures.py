"""Shingles and signatures are datatrove's, number by number."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.ops import MinHash, draw_minhash_functions, hash_ngrams
from tests.helpers.datatrove_steps import signature_step

TEXTS = st.lists(st.text("abcdef\u00e9\u4e2d", max_size=8), max_size=40).map(" ".join)


@pytest.mark.parametrize(("num_buckets", "per_bucket"), [(14, 8), (20, 8), (3, 5)])
def test_signatures_are_those_of_datatrove(num_buckets: int, per_bucket: int) -> None:
    pytest.importorskip("datatrove")
    peer = signature_step("/nowhere", num_buckets, per_bucket, seed=7)
    shingles = np.random.default_rng(0).integers(0, 2**64, (500, 1), np.uint64, endpoint=False)
    functions = draw_minhash_functions(num_buckets * per_bucket, seed=7)
    found = MinHash(functions).sign_shingles(shingles.ravel())
    assert found.reshape(num_buckets, per_bucket).tolist() == peer.get_signature(shingles)


@given(TEXTS)
@settings(max_examples=100)
def test_shingles_are_those_of_datatrove_on_the_same_words(text: str) -> None:
    pytest.importorskip("datatrove")
    # Where lower case depends on the neighbours, ours does not.
    text = text.lower().replace("\u03c2", "\u03c3")
    peer = signature_step("/nowhere", 1, 1, seed=1)
    assert hash_ngrams(text, 5).tolist() == peer.get_shingles(text).ravel().tolist()
