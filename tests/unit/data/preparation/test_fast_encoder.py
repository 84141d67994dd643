"""Our own encoder stands in for `tokenizers` only where it gives the same tokens."""

import json
import logging
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.preparation import fast_encoder
from megatron_codemix.data.preparation.character_classes import classify_characters
from megatron_codemix.data.preparation.fast_encoder import EncodedTexts, FastEncoder
from megatron_codemix.data.tokenizer import END_OF_DOCUMENT, Tokenizer
from megatron_codemix.data.tokenizer_training import train_tokenizer
from megatron_codemix.ops import CharacterClass
from tests.helpers.corpora import write_corpus

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
DIGITS = {"type": "Digits", "individual_digits": True}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
GPT2 = BYTES | {"use_regex": True}


def split(regex: str) -> dict[str, Any]:
    return {
        "type": "Split",
        "pattern": {"Regex": regex},
        "behavior": "Isolated",
        "invert": False,
    }


def sequence(*steps: dict[str, Any]) -> dict[str, Any]:
    return {"type": "Sequence", "pretokenizers": list(steps)}


# As the tokenizer.json of these models have them.
READ = {
    "ours": {},
    "gpt2": {"pre_tokenizer": GPT2},
    "gpt-neox": {"pre_tokenizer": GPT2, "normalizer": {"type": "NFC"}},
    "starcoder": {"pre_tokenizer": sequence(DIGITS, GPT2)},
    "llama3": {"pre_tokenizer": sequence(split(GPT4), BYTES), "model": {"ignore_merges": True}},
    "qwen2": {
        "pre_tokenizer": sequence(split(GPT4.replace("{1,3}", "")), BYTES),
        "normalizer": {"type": "NFC"},
    },
}
NOT_READ = {
    "another pattern": {"pre_tokenizer": sequence(split(r"\w+|\W+"), BYTES)},
    "a prefix": {"pre_tokenizer": GPT2 | {"add_prefix_space": True}},
    "merged with the next": {
        "pre_tokenizer": sequence(split(GPT4) | {"behavior": "MergedWithNext"}, BYTES)
    },
    "another normalizer": {"normalizer": {"type": "NFKC"}},
    "none": {"pre_tokenizer": None},
    "dropout": {"model": {"dropout": 0.5}},
    "truncation": {
        "truncation": {
            "direction": "Right",
            "max_length": 4,
            "strategy": "LongestFirst",
            "stride": 0,
        }
    },
}
ADDED = [
    ("<think>", {}),
    ("<th", {}),
    ("<|tool|>", {"normalized": True}),
    ("     ", {"normalized": True}),
    ("<mask>", {"lstrip": True}),
    ("<|word|>", {"single_word": True}),
    ("<|special|>", {"special": True}),
]
PIECES = [
    *(name for name, _ in ADDED),
    *(
        END_OF_DOCUMENT,
        "<|",
        "12345",
        " \t\n",
        "\r\n",
        "don't",
        "DON'T",
        "\u00e9",
        "e\u0301",
        "\x00",
    ),
    *(
        "\u017f",
        "'\u017f",
        "\u1100\u1161",
        "\u4e2d",
        "\ua7cf",
        "\U0001f600",
        "\u00bd",
        "\u0665",
        "\xa0",
    ),
    *("some words ", "def value(x): return x\n", "def" * 40, " " * 80),
]
TEXTS = st.one_of(st.text(max_size=200), st.lists(st.sampled_from(PIECES)).map("".join))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    found = train_tokenizer(write_corpus(folder / "corpus"), 300, folder / "tokenizer.json")
    return Tokenizer.load(found.path)


def changed(tokenizer: Tokenizer, fields: dict[str, Any], **options: Any) -> Tokenizer:
    """The tokenizer with other fields in its tokenizer.json, and added tokens of every kind."""
    record = json.loads(tokenizer.content)
    model = record["model"] | fields.get("model", {})
    flags = ("single_word", "lstrip", "rstrip", "normalized", "special")
    size = len(model["vocab"])
    added = [
        {"id": size + number, "content": name} | dict.fromkeys(flags, False) | given
        for number, (name, given) in enumerate(ADDED)
    ]
    added_tokens = [*record["added_tokens"], *added]
    record |= fields | {"model": model, "added_tokens": added_tokens}
    return Tokenizer(json.dumps(record), tokenizer.path, **options)


def encoder_of(tokenizer: Tokenizer, end: int | None = None) -> FastEncoder:
    encoder = FastEncoder(tokenizer, dtype=np.uint16, end_of_document=end)
    encoder.prove("text", ["a sample", "another"])
    return encoder


def assert_equal(found: EncodedTexts, tokenizer: Tokenizer, texts: list[str], end: int | None):
    ends = [] if end is None else [end]
    wanted = [[*ids, *ends] if len(ids) else [] for ids in tokenizer.encode_batch(texts)]
    assert found.tokens.dtype == np.uint16
    assert found.lengths.tolist() == [len(ids) for ids in wanted]
    assert found.tokens.tolist() == [token for ids in wanted for token in ids]


@pytest.fixture(scope="module", params=[False, True])
def matches(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module", params=READ)
def both(
    request: pytest.FixtureRequest, trained: Tokenizer, matches: bool
) -> tuple[Tokenizer, FastEncoder]:
    tokenizer = changed(trained, READ[request.param], matches_special_tokens=matches)
    encoder = encoder_of(tokenizer, 0)
    assert encoder.is_fast
    return tokenizer, encoder


@settings(max_examples=200, deadline=None, derandomize=True)
@given(texts=st.lists(TEXTS, max_size=5))
def test_the_same_tokens(both: tuple[Tokenizer, FastEncoder], texts: list[str]):
    tokenizer, encoder = both
    assert_equal(encoder.encode(texts), tokenizer, texts, 0)


def test_the_same_tokens_of_real_files(both: tuple[Tokenizer, FastEncoder]):
    tokenizer, encoder = both
    paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[::8]
    texts = [path.read_text(encoding="utf-8", errors="ignore") for path in paths]
    assert len(texts) > 10
    assert_equal(encoder.encode(texts), tokenizer, texts, 0)


def test_every_character_is_taken_for_what_it_is(both: tuple[Tokenizer, FastEncoder]):
    tokenizer, encoder = both
    # Every character below U+3000, and some of the many alike above.
    codes = [*range(0x3000), *range(0x3000, 0xD800, 97), *range(0xE000, 0x110000, 613)]
    texts = [f"a{c}b {c}1{c}{c}\n{c} .{c}. '{c} 'l{c} '{c}l \t{c}" for c in map(chr, codes)]
    before = encoder.num_fallbacks
    assert_equal(encoder.encode(texts), tokenizer, texts, 0)
    if json.loads(tokenizer.content)["normalizer"] is None:
        assert encoder.num_fallbacks - before == 1  # U+017F
    else:  # marks, which NFC may join, and what Python has as unassigned
        assert encoder.num_fallbacks - before < len(texts) // 3


@pytest.mark.parametrize("name", NOT_READ)
def test_other_tokenizers_go_to_the_reference(
    trained: Tokenizer, name: str, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.INFO)
    record = json.loads(trained.content)
    fields = NOT_READ[name] | {"model": record["model"] | NOT_READ[name].get("model", {})}
    tokenizer = Tokenizer(json.dumps(record | fields), trained.path)
    encoder = encoder_of(tokenizer, 0)
    assert not encoder.is_fast
    assert "our own encoder does not read it" in caplog.text
    if name != "dropout":  # which is random
        texts = ["some words, 12", "", "two"]
        assert_equal(encoder.encode(texts), tokenizer, texts, 0)


@pytest.mark.parametrize("end", [None, 0])
def test_texts_that_are_left_out_take_their_place(trained: Tokenizer, end: int | None):
    tokenizer = changed(trained, {})
    encoder = encoder_of(tokenizer, end)
    texts = ["\u017f", "plain", "a <mask> b", "", "words", "\u017f\u017f", "x"]
    assert_equal(encoder.encode(texts), tokenizer, texts, end)
    assert encoder.num_fallbacks == 3


@pytest.mark.parametrize("matches", [False, True])
def test_a_special_token_in_a_text_is_read_as_was_asked(trained: Tokenizer, matches: bool):
    tokenizer = Tokenizer(trained.content, trained.path, matches_special_tokens=matches)
    encoder = encoder_of(tokenizer)
    text = f"before {END_OF_DOCUMENT} after"
    tokens, _ = encoder.encode([text])
    assert (tokenizer.end_of_document_id in tokens) == matches
    assert np.array_equal(tokens, tokenizer.encode_batch([text])[0])
    assert encoder.num_fallbacks == 0


def test_an_encoder_that_differs_is_not_used(
    trained: Tokenizer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    class Wrong:
        def __init__(self, *arguments: Any, **options: Any) -> None: ...

        def set_classes(self, *arguments: Any) -> None: ...

        def encode(self, texts: list[str], **options: Any) -> tuple[Any, Any]:
            return np.zeros(len(texts), np.uint16), np.ones(len(texts), np.int32)

    monkeypatch.setattr(fast_encoder, "BpeEncoder", Wrong)
    encoder = encoder_of(trained, 0)
    assert "our own encoder differs from tokenizers" in caplog.text
    texts = ["some words", ""]
    assert_equal(encoder.encode(texts), trained, texts, 0)


def test_characters_are_asked_of_tokenizers():
    characters = "\u00e9\u4e2d\u00bd\u0665\u2003\u2019\u0301\u017f\u1161"
    found = classify_characters(characters, isolates_digits=False, composes=False).tolist()
    letter, other = CharacterClass.LETTER, CharacterClass.OTHER
    number, refused = CharacterClass.NUMBER, CharacterClass.REFUSED
    space = CharacterClass.SPACE
    assert found == [letter, letter, number, number, space, other, other, refused, letter]
    digits = classify_characters(characters, isolates_digits=True, composes=False).tolist()
    assert digits[2:4] == [CharacterClass.DIGIT] * 2
    composed = classify_characters(characters, isolates_digits=False, composes=True).tolist()
    assert composed == [*found[:6], refused, refused, refused]
    assert classify_characters("", isolates_digits=True, composes=True).tolist() == []
