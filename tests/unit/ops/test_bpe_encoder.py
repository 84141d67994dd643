"""The encoder of byte-level BPE gives the tokens that `tokenizers` gives."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.ops import AddedToken, AddedTokenRole, BpeEncoder, CharacterClass, WordPattern

tokenizers = pytest.importorskip("tokenizers")
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split  # noqa: E402

GPT4 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
PATTERNS = {
    "gpt2": WordPattern(is_gpt4=False, numbers_at_once=1, isolates_digits=False),
    "gpt2, digits": WordPattern(is_gpt4=False, numbers_at_once=1, isolates_digits=True),
    "gpt4": WordPattern(is_gpt4=True, numbers_at_once=3, isolates_digits=False),
    "qwen2": WordPattern(is_gpt4=True, numbers_at_once=1, isolates_digits=False),
    "gpt4, digits": WordPattern(is_gpt4=True, numbers_at_once=3, isolates_digits=True),
}
CLASSES = {
    "\u00e9": CharacterClass.LETTER,
    "\u4e2d": CharacterClass.LETTER,
    "\U0001d518": CharacterClass.LETTER,
    "\u00bd": CharacterClass.NUMBER,
    "\u00a0": CharacterClass.SPACE,
    "\u2003": CharacterClass.SPACE,
    "\u2019": CharacterClass.OTHER,
    "\U0001f600": CharacterClass.OTHER,
}
PIECES = [
    *("a", "B", "don't", "'LL", "'s", "''s", " 've", "it'st", "word", "internationalisation"),
    *(" ", "  ", "\t", "\n", "\r\n", " \n", "\n    ", "\x0b", "\x00", "\x1c", " " * 70, "\n" * 70),
    *("1", "12", "123456", "(", ")", "();", "->", "'", '"', ".\n", "=" * 80, "x" * 90, "7" * 90),
    *CLASSES,
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


def split(regex: str) -> list[Any]:
    return [
        Split(tokenizers.Regex(regex), "isolated"),
        ByteLevel(add_prefix_space=False, use_regex=False),
    ]


PRE_TOKENIZERS = {
    "gpt2": [ByteLevel(add_prefix_space=False)],
    "gpt2, digits": [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)],
    "gpt4": split(GPT4),
    "qwen2": split(GPT4.replace("{1,3}", "")),
    "gpt4, digits": [Digits(individual_digits=True), *split(GPT4)],
}


def trained(kind: str, vocabulary_size: int, **model: Any) -> tuple[Any, dict[str, Any]]:
    """A tokenizer of `tokenizers`, and its model in JSON."""
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(**model))
    backend.pre_tokenizer = Sequence(PRE_TOKENIZERS[kind])
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )
    text = "".join(f"{first}{second}" for first in PIECES for second in PIECES)
    backend.train_from_iterator([text, "don't we've all 12345 words\n" * 9], trainer)
    return backend, json.loads(backend.to_str())["model"]


def encoder_of(
    kind: str, model: dict[str, Any], dtype: Any = np.uint16, **options: Any
) -> BpeEncoder:
    encoder = BpeEncoder(
        model["vocab"],
        model["merges"],
        **{
            "pattern": PATTERNS[kind],
            "keeps_known_words": False,
            "early_tokens": [],
            "late_tokens": [],
        }
        | options,
        dtype=dtype,
    )
    numbers = CharacterClass.DIGIT if PATTERNS[kind].isolates_digits else CharacterClass.NUMBER
    classes = [numbers if found == CharacterClass.NUMBER else found for found in CLASSES.values()]
    encoder.set_classes(np.array([*map(ord, CLASSES)], np.uint32), np.array(classes, np.uint8))
    return encoder


@pytest.fixture(scope="module", params=PATTERNS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[256, 300, 1000])
def both(request: pytest.FixtureRequest, kind: str) -> tuple[Any, BpeEncoder]:
    backend, model = trained(kind, request.param)
    return backend, encoder_of(kind, model)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(texts=st.lists(TEXTS, max_size=4))
def test_tokens_are_those_of_tokenizers(both: tuple[Any, BpeEncoder], texts: list[str]):
    backend, encoder = both
    tokens, lengths = encoder.encode(texts, end_of_document=7)
    wanted = [found.ids + [7] * bool(found.ids) for found in backend.encode_batch(texts)]
    assert lengths.tolist() == [len(ids) for ids in wanted]
    assert tokens.tolist() == [token for ids in wanted for token in ids]


@pytest.mark.parametrize("piece", ["a", " ", "\n", "7", "=", "\u4e2d", " \n", "'s", "ab "])
def test_words_and_texts_of_every_length(both: tuple[Any, BpeEncoder], piece: str):
    backend, encoder = both
    for size in (1, 15, 16, 31, 32, 47, 48, 49, 63, 64, 65, 255, 256, 287, 288, 289, 5000):
        row = piece * size
        texts = [row, f"x{row}", f"{row}x", " " * 63 + row]
        tokens, lengths = encoder.encode(texts, end_of_document=None)
        wanted = [found.ids for found in backend.encode_batch(texts)]
        assert lengths.tolist() == [len(ids) for ids in wanted]
        assert tokens.tolist() == [token for ids in wanted for token in ids]


def test_more_words_than_are_remembered(kind: str):
    backend, model = trained(kind, 1000)
    encoder = encoder_of(kind, model, np.int32)
    words = np.random.default_rng(0).integers(0, 26**4, 400_000)
    letters = [chr(97 + n) for n in range(26)]
    spelled = [
        letters[n % 26] + letters[n // 26 % 26] * 2 + letters[n // 676 % 26] + letters[n // 17576]
        for n in words.tolist()
    ]
    text = " ".join(word * (1 + len(word) % 5) for word in spelled)
    for _ in range(2):
        tokens, _ = encoder.encode([text], end_of_document=None)
    assert tokens.dtype == np.int32
    assert tokens.tolist() == backend.encode(text).ids


def test_known_words_are_kept(kind: str):
    backend, model = trained(kind, 400)
    vocabulary = model["vocab"] | {"bqzw": 400}  # no merges lead to it
    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(vocabulary, [tuple(p) for p in model["merges"]], ignore_merges=True)
    )
    made.pre_tokenizer = backend.pre_tokenizer
    encoder = encoder_of(kind, model | {"vocab": vocabulary}, keeps_known_words=True)
    text = "bqzw\nbqzws bqzw\nabc\nbqzw"
    tokens, _ = encoder.encode([text], end_of_document=None)
    assert 400 in tokens
    assert tokens.tolist() == made.encode(text).ids


def test_added_tokens_are_found_from_left_to_right_the_longest_first(kind: str):
    _, model = trained(kind, 300)
    added = {"<a>": 300, "<a>b": 301, "a>b": 302, "zz": 303, "<q>": 304}
    roles = dict.fromkeys(added, AddedTokenRole.TOKEN) | {"<q>": AddedTokenRole.TEXT}
    tokens = {name: AddedToken(name, number, roles[name]) for name, number in added.items()}
    encoder = encoder_of(
        kind,
        model,
        early_tokens=[tokens[name] for name in ("<a>", "<a>b", "a>b", "<q>")],
        late_tokens=[tokens["zz"]],
    )

    def found(text: str) -> list[int]:
        return [token for token in encoder.encode([text], end_of_document=None)[0] if token >= 300]

    assert found("<a>") == [300]
    assert found("x<a>b<a>cza>bzz<a><a>") == [301, 300, 302, 303, 300, 300]
    assert found("zzz<a>zz") == [303, 300, 303]
    assert found("<q>") == []
    assert found("<") == []
    plain, _ = encoder.encode(["x y"], end_of_document=None)
    around, _ = encoder.encode(["x y<a>x y"], end_of_document=None)
    assert around.tolist() == [*plain, 300, *plain]


def test_what_is_left_to_the_reference(kind: str):
    _, model = trained(kind, 300)
    refused = AddedToken("<mask>", 300, AddedTokenRole.REFUSED)
    encoder = encoder_of(kind, model, early_tokens=[refused])
    encoder.set_classes(np.array([0x17F], np.uint32), np.array([CharacterClass.REFUSED], np.uint8))
    texts = [
        "plain",
        "a <mask>",
        "never told of: \u0416",
        "refused: \u017f" + "x" * 80,
        "",
        "plain",
    ]
    tokens, lengths = encoder.encode(texts, end_of_document=0)
    assert lengths.tolist() == [lengths[0], -1, -1, -1, 0, lengths[0]]
    assert tokens[: lengths[0]].tolist() == tokens[lengths[0] :].tolist()


def test_bad_arguments_are_refused():
    _, model = trained("gpt4", 300)
    vocabulary, merges = model["vocab"], model["merges"]
    encoder_of("gpt4", model)
    with pytest.raises(ValueError, match="byte 97 is no entry"):
        encoder_of(
            "gpt4", {"vocab": {k: v for k, v in vocabulary.items() if k != "a"}} | {"merges": []}
        )
    with pytest.raises(ValueError, match="needs nothing, which is no entry"):
        encoder_of("gpt4", {"vocab": vocabulary, "merges": [*merges, ["nothing", "a"]]})
    with pytest.raises(ValueError, match="merge is no pair"):
        encoder_of("gpt4", {"vocab": vocabulary, "merges": [["a"]]})
    with pytest.raises(ValueError, match="does not fit uint16"):
        encoder_of("gpt4", {"vocab": vocabulary | {"far": 65536}, "merges": merges})
    short = AddedToken("x", 300, AddedTokenRole.TOKEN)
    with pytest.raises(ValueError, match="less than two bytes"):
        encoder_of("gpt4", model, early_tokens=[short])
    encoder = encoder_of("gpt4", model)
    with pytest.raises(ValueError, match="ASCII or none"):
        encoder.set_classes(np.array([65], np.uint32), np.array([1], np.uint8))
    with pytest.raises(ValueError, match="class is 9"):
        encoder.set_classes(np.array([200], np.uint32), np.array([9], np.uint8))
    with pytest.raises(ValueError, match="end is 65536"):
        encoder.encode(["x"], end_of_document=65536)
    with pytest.raises(TypeError, match="a str is needed"):
        encoder.encode([b"x"], end_of_document=None)  # type: ignore[list-item] # what is tested
