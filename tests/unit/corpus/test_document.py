"""Texts that are the same but for white space."""

import hashlib
import random

import pytest

from megatron_codemix.corpus import document
from megatron_codemix.corpus.document import digest, normalise


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1 << 20])
def test_normalised_text_is_its_words_with_a_space_between(
    monkeypatch: pytest.MonkeyPatch, piece: int
) -> None:
    """Whatever the size of the pieces that it is gone through in."""
    monkeypatch.setattr(document, "_PIECE_CHARACTERS", piece)
    rng = random.Random(1)
    for _ in range(2000):
        text = "".join(rng.choices("ab\u00e9 \n\t\u2003\x1c\u200b", k=rng.randrange(30)))
        wanted = " ".join(text.split())
        assert normalise(text) == wanted
        assert digest(text) == hashlib.blake2b(wanted.encode(), digest_size=16).digest()
