"""The tokenizer: reversible, and no document can end itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.tokenizer import END_OF_DOCUMENT, Tokenizer, tokenizer_hash
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.errors import DataError
from tests.helpers.corpora import write_corpus

TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            [END_OF_DOCUMENT, "<|", "12345", " \t\n", "\r\n", "don't", "\u00e9", "\x00"]
        )
    ).map("".join),
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    trained = train_tokenizer(write_corpus(folder / "corpus"), 300, folder / "tokenizer.json")
    return Tokenizer.load(trained.path)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_decoding_undoes_encoding(tokenizer: Tokenizer, text: str):
    (tokens,) = tokenizer.encode_batch([text])
    assert tokens.dtype == np.int32
    assert tokenizer.decode(tokens) == text
    assert tokenizer.token_byte_lengths[tokens].sum() == len(text.encode())
    assert tokenizer.end_of_document_id not in tokens


def test_digits_stand_alone(tokenizer: Tokenizer):
    (tokens,) = tokenizer.encode_batch(["2024"])
    assert [tokenizer.decode([token]) for token in tokens] == ["2", "0", "2", "4"]


def test_end_of_document_stands_for_no_bytes(tokenizer: Tokenizer):
    assert tokenizer.token_byte_lengths[tokenizer.end_of_document_id] == 0
    assert tokenizer.decode([tokenizer.end_of_document_id]) == END_OF_DOCUMENT
    assert (np.delete(tokenizer.token_byte_lengths, tokenizer.end_of_document_id) > 0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not a tokenizer.json"),
        ("{}", "not a tokenizer.json"),
        ("[1]", "not a tokenizer.json"),
    ],
)
def test_what_is_not_a_tokenizer_is_refused(tmp_path: Path, content: str, message: str):
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(DataError, match=message):
        Tokenizer.load(tmp_path / "t.json")


def test_an_absent_tokenizer_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"t\.json: cannot be read"):
        Tokenizer.load(tmp_path / "t.json")
    with pytest.raises(DataError, match=r"t\.json: cannot be read"):
        tokenizer_hash(tmp_path / "t.json")


def test_a_tokenizer_without_end_of_document_is_refused(tmp_path: Path, tokenizer: Tokenizer):
    record = json.loads(tokenizer.content)
    record["added_tokens"] = []
    record["model"]["vocab"]["other"] = record["model"]["vocab"].pop(END_OF_DOCUMENT)
    (tmp_path / "t.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="no end-of-document token"):
        Tokenizer.load(tmp_path / "t.json")


def test_a_tokenizer_that_is_not_byte_level_is_refused(tmp_path: Path, tokenizer: Tokenizer):
    record = json.loads(tokenizer.content) | {"decoder": None}
    (tmp_path / "t.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="not a byte-level tokenizer"):
        Tokenizer.load(tmp_path / "t.json")
