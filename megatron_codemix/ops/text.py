"""Counts over one text that say what kind of text it is: its lines, words, repetitions, and the
places where something private may stand."""

import sys
import unicodedata
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.extension import _C


class LineStatistics(NamedTuple):
    """Of the lines of `str.splitlines()`; lengths in characters, without the line breaks."""

    num_characters: int
    num_lines: int
    line_characters: int
    longest_line: int
    num_alphabetic: int
    """Characters for which `str.isalpha()` holds."""
    num_alphanumeric: int


class WordStatistics(NamedTuple):
    """Of the words of `str.split()`. A word is spoken where one of its characters is no symbol."""

    num_characters: int
    num_words: int
    longest_word: int
    """In characters, as the next but one."""
    num_spoken_words: int
    spoken_characters: int
    num_alphabetic_words: int
    """Words with an alphabetic character."""
    num_hashes: int
    num_ellipses: int
    """Of "...", none overlapping, and of U+2026."""
    num_lines: int
    """Of `str.splitlines()`."""
    num_bullet_lines: int
    """Whose first character, white space aside, is "-" or U+2022."""
    num_ellipsis_lines: int
    """Whose last characters, white space aside, are an ellipsis."""
    num_sentences: int
    """Words that end in one of . ! ? (closing quotes and brackets aside), and lines with words of
    which the last does not."""
    num_distinct_common: int
    """How many of the common words are words of the text, in this spelling."""


class Repetition(NamedTuple):
    """See csrc/text/text_repetition.h for what lines, paragraphs and repeated n-grams are."""

    num_characters: int
    num_lines: int
    num_duplicate_lines: int
    duplicate_line_characters: int
    num_paragraphs: int
    num_duplicate_paragraphs: int
    duplicate_paragraph_characters: int
    top_ngram_characters: tuple[int, int, int]
    """n = 2, 3, 4: of the most frequent n-gram, times how often it stands there."""
    duplicate_ngram_characters: tuple[int, int, int, int, int, int]
    """n = 5 to 10: of the n-grams that stood before."""


class MarkKind(IntEnum):
    """See csrc/text/private_marks.h."""

    AT = 0
    FOUR_NUMBERS = 1
    COLONS = 2
    RANDOM = 3
    LITERAL = 4


class Mark(NamedTuple):
    """Characters [begin, end) of a text. literal: which one of those asked for, or -1."""

    kind: int
    literal: int
    begin: int
    end: int


# The bits of csrc/text/character_table.h.
_SPACE, _LINE_BREAK, _ALPHABETIC, _ALPHANUMERIC, _SYMBOL = 1, 2, 4, 8, 16
_LINE_BREAKS = "\n\v\f\r\x1c\x1d\x1e\x85\u2028\u2029"


def is_symbol(character: str) -> bool:
    """Punctuation, a sign (of mathematics, of a currency, ...) or a control character: Unicode's
    categories P, S and C."""
    return unicodedata.category(character)[0] in "PSC"


def class_of(character: str) -> int:
    """The bits that the extension's table holds for a character."""
    return (
        _SPACE * character.isspace()
        | _LINE_BREAK * (character in _LINE_BREAKS)
        | _ALPHABETIC * character.isalpha()
        | _ALPHANUMERIC * character.isalnum()
        | _SYMBOL * is_symbol(character)
    )


def _class_table() -> npt.NDArray[np.uint8]:
    """[0x110000] Planes where nothing is assigned, four in five, are not looked at one by one."""
    table = np.full(sys.maxunicode + 1, class_of(chr(sys.maxunicode)), np.uint8)
    for start in range(0, len(table), 0x10000):
        if start < 0x40000 or start == 0xE0000:
            plane = map(class_of, map(chr, range(start, start + 0x10000)))
            table[start : start + 0x10000] = np.fromiter(plane, np.uint8, 0x10000)
    return table


@cache
def _classes() -> "_C.CharacterTable":
    return _C.CharacterTable(_class_table())


def count_lines(text: str) -> LineStatistics:
    """Raises UnicodeEncodeError, as the functions below, where the text has a lone surrogate."""
    return LineStatistics(*_C.count_lines(text, _classes()))


def count_words(text: str, common_words: Sequence[str] = ()) -> WordStatistics:
    """common_words: at most 64, else ValueError."""
    return WordStatistics(*_C.count_words(text, _classes(), common_words))


def count_repetition(text: str) -> Repetition:
    """Raises UnicodeEncodeError as `count_lines`."""
    return Repetition(*_C.count_repetition(text, _classes()))


def find_private_marks(text: str, literals: tuple[str, ...] = ()) -> list[Mark]:
    """Where an e-mail or a network address or a secret may stand, in the order of where they begin.

    literals: ASCII of at least two characters, else ValueError; of those that begin at one place
    the first counts.
    """
    return [Mark(*mark) for mark in _mark_finder(literals).find(text)]


@cache
def _mark_finder(literals: tuple[str, ...]) -> "_C.MarkFinder":
    return _C.MarkFinder(literals)


class TextClassifier:
    """Labels of texts by a quantised fastText model (.ftz), such as lid.176, which knows 176
    languages: the same as fastText's own, ten times as fast (csrc/text/text_classifier.h)."""

    def __init__(self, file: bytes) -> None:
        """file: the model's bytes. Raises ValueError where they are none, or one of another
        kind."""
        self._classifier = _C.TextClassifier(file)

    @property
    def labels(self) -> list[str]:
        """Without fastText's prefix."""
        return self._classifier.labels

    def classify(self, text: str) -> tuple[str, float] | None:
        """The most probable label and its probability; None where there is nothing to go by.

        The text counts as one line. Raises UnicodeEncodeError as `count_lines`.
        """
        return self._classifier.classify(text)
