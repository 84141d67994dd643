"""Words are those of Python's `re`, hashes of n-grams xxhash's, signatures exact."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.ops import (
    Instructions,
    MinHash,
    MinHashFunctions,
    NgramIndex,
    draw_minhash_functions,
    find_words,
    hash_gates,
    hash_ngrams,
    join_words,
    reference,
)

TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    st.text("aZ_9 .\n\x00\u00c9\u00df\u0130\u01c5\u023a\u1e9e\u2160\u4e2d\U0001d518\U0001f600"),
    st.text("ab c", max_size=300),
    st.text("a \u4e2d\u023a\u023e", max_size=60),
    st.text("a1 \u4e2d\u6587\u3001\u3042\u30fc\u0e01\u0e31\u1000\U00020000", max_size=40),
)
SHINGLES = st.lists(
    st.one_of(st.integers(0, 2**64 - 1), st.sampled_from([0, 1, 2**61 - 1, 2**61, 2**64 - 1])),
    min_size=1,
    max_size=40,
)
AVAILABLE = [one for one in Instructions if one.is_available]


@given(TEXTS)
@settings(max_examples=500)
def test_words_are_those_of_python(text: str) -> None:
    assert join_words(text) == reference.join_words(text)
    assert find_words(text).tolist() == reference.find_words(text).tolist()


def test_every_character_is_taken_as_python_takes_it() -> None:
    every = "".join(
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) != "Cs"
    )
    assert join_words(every) == reference.join_words(every)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 50, 1000, 20_000])
@pytest.mark.parametrize("pair", ["\u4e2d\u023a", "\u0e01\u023e", "\u4e2d\u023aa", "\u023a "])
def test_lower_cases_longer_than_the_text_have_room(pair: str, count: int) -> None:
    """A word of one character ends without a space; the lower case of the next is longer."""
    assert join_words(pair * count) == reference.join_words(pair * count)


def test_every_character_has_room_between_words_of_one_character() -> None:
    every = [chr(code) for code in range(0x110000) if chr(code).lower() != chr(code)]
    text = "\u4e2d".join(every)
    assert join_words(text) == reference.join_words(text)


@given(TEXTS, st.integers(1, 15))
@settings(max_examples=300)
def test_hashes_are_those_of_xxhash(text: str, n: int) -> None:
    xxhash = pytest.importorskip("xxhash")
    expected = reference.hash_ngrams(text, n, xxhash.xxh64_intdigest)
    assert hash_ngrams(text, n).tolist() == expected.tolist()
    gates = reference.hash_gates(text, n, xxhash.xxh64_intdigest)
    assert hash_gates(text, n).tolist() == gates.tolist()


def test_hashes_of_words_of_every_length_are_those_of_xxhash() -> None:
    xxhash = pytest.importorskip("xxhash")
    words = [
        "".join(chr(ord("a") + (i * i + size) % 26) for i in range(size)) for size in range(200)
    ]
    for word in words[1:]:
        assert hash_ngrams(f"({word})", 1).tolist() == [xxhash.xxh64_intdigest(word.encode())]


@given(
    st.lists(st.text("abc", min_size=1, max_size=2), max_size=60),
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9), st.integers(1, 9)), max_size=20),
    st.lists(st.text("abc", min_size=1, max_size=2), min_size=60, max_size=70),
)
@settings(max_examples=200)
def test_an_index_finds_all_of_its_ngrams_and_no_others(
    words: list[str], chosen: list[tuple[int, int, int]], others: list[str]
) -> None:
    ngrams: dict[tuple[str, ...], int] = {}
    for first, length, gate in chosen:
        ngrams.setdefault(tuple(others[first : first + length]), min(gate, length))
    index = NgramIndex(
        np.array([len(one) for one in ngrams], np.int32),
        np.array([hash_ngrams(" ".join(one), len(one))[0] for one in ngrams], np.uint64),
        np.array(list(ngrams.values()), np.int32),
        np.array([hash_gates(" ".join(one), gate)[0] for one, gate in ngrams.items()], np.uint64),
    )
    for text in (words, others, words + others):
        expected = {
            (place, number)
            for number, one in enumerate(ngrams)
            for place in range(len(text) - len(one) + 1)
            if tuple(text[place : place + len(one)]) == one
        }
        found = [tuple(match) for match in index.find(" ".join(text)).tolist()]
        assert len(found) == len(set(found))
        assert set(found) == expected
        assert [place for place, _ in found] == sorted(place for place, _ in found)


def test_an_index_with_a_gate_longer_than_its_ngram_is_refused() -> None:
    one, hashes = np.ones(1, np.int32), np.ones(1, np.uint64)
    with pytest.raises(ValueError, match="n-gram 0 of 1 words has a gate of 2"):
        NgramIndex(one, hashes, 2 * one, hashes)


def test_scripts_without_spaces_have_words_of_one_character() -> None:
    text = "\u6211\u7231Python3\u3001\u3068\u30c6\u30b9\u30c8 abc\u0e01d"
    expected = ["\u6211", "\u7231", "python3", "\u3068", "\u30c6", "\u30b9", "\u30c8"]
    assert join_words(text).split() == [*expected, "abc", "\u0e01", "d"]
    assert [text[begin:end].lower() for begin, end in find_words(text)] == join_words(text).split()


@pytest.mark.parametrize("text", ["", "  \n", "a b c d"])
def test_a_text_with_fewer_words_has_no_ngrams(text: str) -> None:
    assert hash_ngrams(text, 5).shape == (0,)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="n is 0"):
        hash_ngrams("a", 0)
    with pytest.raises(UnicodeEncodeError):
        hash_ngrams("a \ud800 b", 1)
    functions = draw_minhash_functions(4, seed=1)
    with pytest.raises(ValueError, match="3 summands for 4 multipliers"):
        MinHash(MinHashFunctions(functions.multipliers, functions.summands[:3]))
    with pytest.raises(ValueError, match="no hash function"):
        MinHash(draw_minhash_functions(0, seed=1))


@pytest.mark.parametrize("instructions", AVAILABLE)
@given(shingles=SHINGLES, num_hashes=st.integers(1, 40))
@settings(max_examples=100)
def test_signatures_are_exact_with_all_instructions(
    instructions: Instructions, shingles: list[int], num_hashes: int
) -> None:
    values = np.array(shingles, np.uint64)
    functions = draw_minhash_functions(num_hashes, seed=num_hashes)
    found = MinHash(functions, instructions).sign_shingles(values)
    assert found.tolist() == reference.sign_shingles(values, functions).tolist()


@pytest.mark.parametrize("instructions", AVAILABLE)
def test_words_just_at_the_modulus_are_reduced(instructions: Instructions) -> None:
    """With a = 1 and b = 0 a function gives its shingle modulo 2^61 - 1."""
    around = [k * (2**61 - 1) + step for k in range(1, 9) for step in (-1, 0, 1, 7)]
    shingles = [value for value in around if value < 2**64]
    functions = MinHashFunctions(np.ones(1, np.uint64), np.zeros(1, np.uint64))
    minhash = MinHash(functions, instructions)
    for shingle in shingles:
        assert minhash.sign_shingles(np.array([shingle], np.uint64)) == shingle % (2**61 - 1)


def test_instructions_that_the_processor_lacks_are_refused() -> None:
    assert Instructions.PLAIN in AVAILABLE
    for one in set(Instructions) - set(AVAILABLE):
        with pytest.raises(ValueError, match="lacks instructions"):
            MinHash(draw_minhash_functions(4, seed=1), one)


def test_texts_are_signed_as_their_shingles_are() -> None:
    functions = draw_minhash_functions(20, seed=3)
    minhash = MinHash(functions)
    texts = ["one two three four five six", "", "one two", "a_b 1 2 3 4 5 6 7 8 9 " * 50]
    signatures, num_shingles = minhash.sign_texts(texts, 5)
    assert num_shingles.tolist() == [2, 0, 0, 496]
    expected = [minhash.sign_shingles(hash_ngrams(text, 5)) for text in texts]
    assert signatures.tolist() == np.stack(expected).tolist()
    assert signatures[1].tolist() == [2**64 - 1] * 20
