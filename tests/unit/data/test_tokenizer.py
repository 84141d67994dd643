"""The tokenizer: reversible, and no document can end itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.preparation.fast_encoder import FastEncoder
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


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer) -> FastEncoder:
    return FastEncoder(tokenizer, "text", ["a sample"])


@settings(max_examples=300, deadline=None, derandomize=True)
@given(text=TEXTS)
def test_decoding_undoes_encoding(tokenizer: Tokenizer, text: str):
    (tokens,) = tokenizer.encode_batch([text])
    assert tokens.dtype == np.int32
    assert tokenizer.decode(tokens) == text
    assert tokenizer.token_byte_lengths[tokens].sum() == len(text.encode())
    assert tokenizer.end_of_document_id not in tokens


@settings(max_examples=200, deadline=None, derandomize=True)
@given(texts=st.lists(TEXTS, min_size=1, max_size=5))
def test_the_fast_encoder_gives_the_same_tokens(
    tokenizer: Tokenizer, encoder: FastEncoder, texts: list[str]
):
    tokens, borders = encoder.encode(texts)
    fast = np.split(tokens, borders[1:-1])
    for ours, reference in zip(fast, tokenizer.encode_batch(texts), strict=True):
        assert np.array_equal(ours, reference)


def test_characters_that_unicode_tables_may_differ_on_go_to_the_reference(tokenizer: Tokenizer):
    pytest.importorskip("fastokens")
    encoder = FastEncoder(tokenizer, "text", ["a sample"])
    # The letters U+A7CF and U+1E9E are younger than Unicode 3.2; U+00E9 and U+4E2D are not. U+1F600
    # is, but no letter in any table.
    texts = ["plain", "\ua7cf", "\u00e9 \u4e2d", "", "\u1e9e", "\U0001f600", "\ua7cf"]
    tokens, borders = encoder.encode(texts)
    assert encoder.num_fallbacks == 3
    for ours, reference in zip(
        np.split(tokens, borders[1:-1]), tokenizer.encode_batch(texts), strict=True
    ):
        assert np.array_equal(ours, reference)


def test_all_characters_that_are_believed_to_be_split_alike_are(
    tokenizer: Tokenizer, encoder: FastEncoder
):
    pytest.importorskip("fastokens")
    # Every character below U+3000, and a few of the many alike above.
    codes = [*range(0x3000), *range(0x3000, 0xD800, 97), *range(0xE000, 0x20000, 17)]
    texts = [f"a{char}b {char}1{char}{char}\n{char} .{char}." for char in map(chr, codes)]
    before = encoder.num_fallbacks
    tokens, borders = encoder.encode(texts)
    assert encoder.num_fallbacks - before < len(texts) // 2
    for ours, reference in zip(
        np.split(tokens, borders[1:-1]), tokenizer.encode_batch(texts), strict=True
    ):
        assert np.array_equal(ours, reference)


@pytest.mark.parametrize("matches", [False, True])
def test_a_special_token_in_a_text_is_read_as_was_asked(tokenizer: Tokenizer, matches: bool):
    asked = Tokenizer(tokenizer.content, tokenizer.path, matches_special_tokens=matches)
    encoder = FastEncoder(asked, "text", ["a sample"])
    tokens, _ = encoder.encode([f"before {END_OF_DOCUMENT} after"])
    assert (asked.end_of_document_id in tokens) == matches
    assert np.array_equal(tokens, asked.encode_batch([f"before {END_OF_DOCUMENT} after"])[0])
    assert encoder.num_fallbacks == 0


def test_the_fast_encoder_is_not_used_where_it_differs(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
):
    fastokens = pytest.importorskip("fastokens")

    class Wrong:
        def encode_batch_flat(self, texts: list[str], **options: bool) -> tuple[bytes, bytes]:
            counts = np.arange(len(texts) + 1, dtype=np.uint64)
            return np.zeros(len(texts), np.uint32).tobytes(), counts.tobytes()

    class Package:
        from_json_str = staticmethod(lambda content: Wrong())

    monkeypatch.setattr(fastokens, "Tokenizer", Package)
    encoder = FastEncoder(tokenizer, "text", ["a sample"])
    tokens, _ = encoder.encode(["some words"])
    assert np.array_equal(tokens, tokenizer.encode_batch(["some words"])[0])


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
