"""The tokenizer: reversible, deterministic, and no document can end itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.corpus.split import split_of
from megatron_codemix.data.preparation.fast_encoder import FastEncoder
from megatron_codemix.data.tokenizer import (
    END_OF_DOCUMENT,
    FILL_IN_THE_MIDDLE,
    Tokenizer,
    tokenizer_hash,
    train_tokenizer,
)
from megatron_codemix.data.transforms.fill_in_the_middle import find_sentinels
from megatron_codemix.errors import DataError

TEXTS = st.one_of(
    st.text(max_size=200),
    st.lists(
        st.sampled_from(
            [END_OF_DOCUMENT, "<|", "12345", " \t\n", "\r\n", "don't", "\u00e9", "\x00"]
        )
    ).map("".join),
)


def write_corpus(folder: Path, *, marker: str = "zyx") -> Path:
    """Two sources of 80 documents; held-out ones are full of `marker`."""
    folder.mkdir(parents=True, exist_ok=True)
    for source, word in (("code", "def value(x): return x\n"), ("text", "some words here\n")):
        lines = []
        for number in range(80):
            origin = f"{source}/{number}"
            held_out = split_of(origin, 0.2) == "validation"
            text = (marker * 50) if held_out else f"{word * (1 + number % 5)} {number}"
            lines.append(json.dumps({"id": origin, "origin": origin, "text": text}))
        (folder / f"{source}.jsonl").write_text("\n".join(lines) + "\n")
    return folder


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


@pytest.mark.parametrize("threads", ["1", "4"])
def test_the_same_corpus_gives_the_same_file(tmp_path: Path, tokenizer: Tokenizer, threads: str):
    corpus = write_corpus(tmp_path / "corpus")
    code = (
        "import sys; from pathlib import Path\n"
        "from megatron_codemix.data.tokenizer import train_tokenizer\n"
        "train_tokenizer(Path(sys.argv[1]), 300, Path(sys.argv[2]))\n"
    )
    out = tmp_path / "tokenizer.json"
    subprocess.run(
        [sys.executable, "-c", code, str(corpus), str(out)],
        env={**os.environ, "RAYON_NUM_THREADS": threads},
        cwd=Path(__file__).parents[3],
        check=True,
    )
    assert out.read_bytes() == tokenizer.path.read_bytes()
    assert tokenizer_hash(out) == tokenizer.hash


def test_held_out_text_does_not_shape_the_tokenizer(tmp_path: Path):
    hashes = []
    for marker in ("zyx", "qqq"):
        corpus = write_corpus(tmp_path / marker, marker=marker)
        trained = train_tokenizer(corpus, 300, tmp_path / f"{marker}.json", validation_fraction=0.2)
        hashes.append(trained.hash)
    assert hashes[0] == hashes[1]


def test_every_source_gives_the_same_bytes(tmp_path: Path):
    trained = train_tokenizer(
        write_corpus(tmp_path / "corpus"), 300, tmp_path / "t.json", max_bytes=2000
    )
    assert trained.bytes_per_source == {"code": 2000, "text": 2000}


def test_a_complete_tokenizer_is_left_alone(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    first = train_tokenizer(corpus, 300, tmp_path / "t.json")
    again = train_tokenizer(corpus, 300, tmp_path / "t.json")
    assert (first.was_complete, again.was_complete) == (False, True)
    assert again.hash == first.hash
    assert not train_tokenizer(corpus, 301, tmp_path / "t.json").was_complete
    (tmp_path / "t.json").write_text("{}")
    repaired = train_tokenizer(corpus, 301, tmp_path / "t.json")
    assert not repaired.was_complete


def test_too_small_a_vocabulary_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match="at least 257"):
        train_tokenizer(write_corpus(tmp_path / "corpus"), 256, tmp_path / "t.json")


def test_a_source_without_training_documents_is_refused(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / "markup.jsonl").write_text("")
    with pytest.raises(DataError, match="'markup'"):
        train_tokenizer(corpus, 300, tmp_path / "t.json")


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


def test_arguments_that_no_corpus_can_meet_are_refused(tmp_path: Path):
    corpus = write_corpus(tmp_path / "corpus")
    with pytest.raises(DataError, match=r"fraction 1.5: expected 0 <= fraction < 1"):
        train_tokenizer(corpus, 300, tmp_path / "tokenizer.json", validation_fraction=1.5)
    with pytest.raises(DataError, match="a folder is there, and a file is wanted"):
        train_tokenizer(corpus, 300, tmp_path)


def test_a_bad_record_is_named_in_one_of_the_two_passes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    corpus = write_corpus(tmp_path / "corpus")
    with open(corpus / "text.jsonl", "ab") as lines:
        lines.write(b'{"text": "caf\xe9"}\n')
    train_tokenizer(corpus, 300, tmp_path / "tokenizer.json")
    assert [text for text in caplog.messages if "UTF-8" in text] == [
        f"{corpus}/text.jsonl: line 81 is not UTF-8, skipped"
    ]


def test_tokens_of_fill_in_the_middle_are_added_when_asked_for(tmp_path: Path):
    corpus, path = write_corpus(tmp_path / "corpus"), tmp_path / "t.json"
    train_tokenizer(corpus, 280, path)
    with pytest.raises(DataError, match="fill-in-the-middle needs tokens of its own"):
        find_sentinels(Tokenizer.load(path))
    trained = train_tokenizer(corpus, 280, path, fill_in_the_middle=True)
    assert not trained.was_complete
    assert trained.vocabulary_size == 280
    tokenizer = Tokenizer.load(path)
    sentinels = find_sentinels(tokenizer)
    assert [tokenizer.decode([number]) for number in sentinels] == list(FILL_IN_THE_MIDDLE)
    (tokens,) = tokenizer.encode_batch(["".join(FILL_IN_THE_MIDDLE)])
    assert not set(tokens.tolist()) & set(sentinels), "a text cannot spell them"
    with pytest.raises(DataError, match="at least 260 "):
        train_tokenizer(corpus, 259, path, fill_in_the_middle=True)
