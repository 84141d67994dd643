import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference, text

STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
# Few characters, so that lines, words and n-grams repeat; and those that Python treats specially.
small_texts = st.text("ab.\n #-", max_size=200)
special_texts = st.text(
    "a\u00e9\u4e2d\U0001d400 \t\n\r\v\f\x1c\x1e\x1f\x85\xa0\u2028\u2029\u3000\u200b"
    ".!?\"')]\u201d\u2019\u2022\u2026#-\u00b2\u0661\ufffd\x00",
    max_size=120,
)
any_texts = st.text(max_size=120)
texts = small_texts | special_texts | any_texts
repetitive_texts = st.lists(
    st.sampled_from(["a", "b", "cc", "a b", "\n", "\n\n"]), max_size=120
).map(" ".join)
_FRAGMENTS = [
    "a@b.com", "@", "1.2.3.4", "255.1.22.333", "1.2.3.4.5", ".", ":", "2001:db8::1", "3f::", "::",
    "ghp_", "AKIA", "aB3" * 8, "abc" * 8, "0a" * 12, "-", "_", "/", " ", "\n", "x", "7", "\u00e9",
    "\U0001d400", "1234.1.1.1",
]  # fmt: skip
marked_texts = st.lists(st.sampled_from(_FRAGMENTS), max_size=30).map("".join)


@given(texts)
@example("")
@example("\r\n")
@example("a\r\nb\r\rc\n")
@example("no break at the end")
def test_counts_the_lines_of_python(one):
    assert ops.count_lines(one) == reference.count_lines(one)


@given(texts)
@example('- a...\n\u2022 b.\u2026 \n  -\n.... ..\n(She said "no!") Then (what?)')
@example("the be of the and,")
def test_counts_the_words_of_python(one):
    assert ops.count_words(one, STOP_WORDS) == reference.count_words(one, STOP_WORDS)


@given(small_texts | special_texts | repetitive_texts)
@example("")
@example("\n\n")
@example("a\n\nb\n\na\n")
@example("a b c d e f g h i j a b c d e f g h i j k a b c d e")
def test_counts_repetition_as_defined(one):
    assert ops.count_repetition(one) == reference.count_repetition(one)


@pytest.mark.parametrize("num_words", [3, 40])
def test_counts_repetition_of_long_texts_as_defined(num_words):
    """More words than any first table of hashes holds."""
    rng = random.Random(7)
    words = [
        rng.choice(["x", "yy", "zzz", ".\n", "w\n\n"]) + str(rng.randrange(num_words))
        for _ in range(3000)
    ]
    one = " ".join(words)
    assert ops.count_repetition(one) == reference.count_repetition(one)


@given(marked_texts | any_texts)
@example("a@b" + "1.2.3.4")
@example("\u00e91.2.3.4 x\u4e2d@y 1.2.3.4.")
def test_finds_private_marks_as_defined(one):
    literals = ("ghp_", "AKIA", "AK", "db8")
    found = ops.find_private_marks(one, literals)
    assert [mark.begin for mark in found] == sorted(mark.begin for mark in found)
    assert sorted(found) == sorted(reference.find_private_marks(one, literals))


def test_class_table_is_that_of_every_character():
    """Planes that the table leaves out hold nothing."""
    table = text._class_table()
    wrong = [code for code in range(0x110000) if table[code] != text.class_of(chr(code))]
    assert wrong == []


@pytest.mark.parametrize(
    "function", [ops.count_lines, ops.count_words, ops.count_repetition, ops.find_private_marks]
)
def test_refuses_what_is_no_unicode(function):
    with pytest.raises(UnicodeEncodeError):
        function("a\ud800")


def test_refuses_literals_and_common_words_it_cannot_look_for():
    with pytest.raises(ValueError, match="less than two characters"):
        ops.find_private_marks("a", ("x",))
    with pytest.raises(ValueError, match="65 common words, more than 64"):
        ops.count_words("a", [str(number) for number in range(65)])
