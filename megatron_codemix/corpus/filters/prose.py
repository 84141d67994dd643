"""Rules for prose: those of Gopher for quality and repetition. C4's are in c4.py."""

from collections.abc import Iterable
from typing import ClassVar

from pydantic import Field

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.rule import Drop, Kind, Rule, Verdict
from megatron_codemix.ops.text import Repetition, WordStatistics, count_repetition, count_words

_GOPHER = "arXiv 2112.11446, section A.1.1"


class GopherQuality(Rule):
    """Gopher's tests of document quality.

    Same verdicts as datatrove's GopherQualityFilter where that one, too, takes what white space
    parts for a word. It has a fixed list of what is no word but a symbol; here that is any word of
    punctuation, signs and control characters (Unicode's P, S and C).
    """

    name: ClassVar[str] = "gopher_quality"
    kind: ClassVar[Kind] = "prose"
    source: ClassVar[str] = _GOPHER

    min_words: int = Field(default=50, ge=0)
    """Symbols do not count as words here."""
    max_words: int = Field(default=100_000, ge=1)
    min_mean_word: float = Field(default=3, ge=0)
    """Characters of a word on average."""
    max_mean_word: float = Field(default=10, gt=0)
    max_hashes: float = Field(default=0.1, ge=0)
    """`#` for each word, symbols among them."""
    max_ellipses: float = Field(default=0.1, ge=0)
    """`...` for each word, symbols among them."""
    max_bullet_lines: float = Field(default=0.9, ge=0, le=1)
    """Share of the lines that begin with a bullet point."""
    max_ellipsis_lines: float = Field(default=0.3, ge=0, le=1)
    """Share of the lines that end with an ellipsis."""
    min_alphabetic_words: float = Field(default=0.8, ge=0, le=1)
    """Share of the words, symbols among them, with a letter in them."""
    min_stop_words: int = Field(default=2, ge=0)
    """How many different ones of `stop_words` are words of the document."""
    stop_words: tuple[str, ...] = Field(
        default=("the", "be", "to", "of", "and", "that", "have", "with"), max_length=64
    )

    def __call__(self, document: Document) -> Verdict:
        words = count_words(document.text, self.stop_words)
        if words.num_spoken_words < self.min_words:
            return Drop("few words", f"{words.num_spoken_words}")
        if words.num_spoken_words > self.max_words:
            return Drop("many words", f"{words.num_spoken_words}")
        return self._of_words(words) or self._of_lines(words)

    def _of_words(self, words: WordStatistics) -> Verdict:
        mean = words.spoken_characters / max(1, words.num_spoken_words)
        if mean < self.min_mean_word:
            return Drop("short words", f"{mean:.2f} characters")
        if mean > self.max_mean_word:
            return Drop("long words", f"{mean:.2f} characters")
        num_words = max(1, words.num_words)
        if words.num_hashes / num_words > self.max_hashes:
            return Drop("hashes", f"{words.num_hashes} for {num_words} words")
        if words.num_ellipses / num_words > self.max_ellipses:
            return Drop("ellipses", f"{words.num_ellipses} for {num_words} words")
        return None

    def _of_lines(self, words: WordStatistics) -> Verdict:
        """And what the paper names behind the lines: the reason is the first that holds."""
        num_lines, num_words = max(1, words.num_lines), max(1, words.num_words)
        if words.num_bullet_lines / num_lines > self.max_bullet_lines:
            return Drop("bullet lines", f"{words.num_bullet_lines} of {num_lines}")
        if words.num_ellipsis_lines / num_lines > self.max_ellipsis_lines:
            return Drop("ellipsis lines", f"{words.num_ellipsis_lines} of {num_lines}")
        if words.num_alphabetic_words / num_words < self.min_alphabetic_words:
            return Drop("few words with letters", f"{words.num_alphabetic_words} of {num_words}")
        if words.num_distinct_common < self.min_stop_words:
            return Drop("few stop words", f"{words.num_distinct_common}")
        return None


class GopherRepetition(Rule):
    """Gopher's tests of repetition, with the thresholds of its table A1.

    Same verdicts as datatrove's GopherRepetitionFilter where that one, too, takes what white space
    parts for a word. It compares n-grams of five words and more by their letters alone, so that
    `a bc` is `ab c`; here n-grams are the same where their words are.
    """

    name: ClassVar[str] = "gopher_repetition"
    kind: ClassVar[Kind] = "prose"
    source: ClassVar[str] = f"{_GOPHER}, table A1"

    max_duplicate_lines: float = Field(default=0.3, ge=0, le=1)
    """Share of the lines that stood before."""
    max_duplicate_paragraphs: float = Field(default=0.3, ge=0, le=1)
    max_duplicate_line_characters: float = Field(default=0.2, ge=0, le=1)
    """Share of the characters that are in such lines."""
    max_duplicate_paragraph_characters: float = Field(default=0.2, ge=0, le=1)
    max_top_ngrams: tuple[float, float, float] = (0.20, 0.18, 0.16)
    """n = 2, 3, 4: share of the characters that are in the most frequent n-gram."""
    max_duplicate_ngrams: tuple[float, float, float, float, float, float] = (
        0.15, 0.14, 0.13, 0.12, 0.11, 0.10,
    )  # fmt: skip
    """n = 5 to 10: share of the characters that are in n-grams which stood before."""

    def __call__(self, document: Document) -> Verdict:
        found = count_repetition(document.text)
        return self._of_pieces(found) or self._of_ngrams(found)

    def _of_pieces(self, found: Repetition) -> Verdict:
        size = max(1, found.num_characters)
        shares = (
            ("duplicate paragraphs", found.num_duplicate_paragraphs / found.num_paragraphs,
             self.max_duplicate_paragraphs),
            ("duplicate paragraph characters", found.duplicate_paragraph_characters / size,
             self.max_duplicate_paragraph_characters),
            ("duplicate lines", found.num_duplicate_lines / found.num_lines,
             self.max_duplicate_lines),
            ("duplicate line characters", found.duplicate_line_characters / size,
             self.max_duplicate_line_characters),
        )  # fmt: skip
        return _first_above(shares)

    def _of_ngrams(self, found: Repetition) -> Verdict:
        size = max(1, found.num_characters)
        top = zip((2, 3, 4), found.top_ngram_characters, self.max_top_ngrams, strict=True)
        duplicate = zip(
            range(5, 11), found.duplicate_ngram_characters, self.max_duplicate_ngrams, strict=True
        )
        return _first_above(
            [(f"top {n}-gram", characters / size, most) for n, characters, most in top]
            + [
                (f"duplicate {n}-grams", characters / size, most)
                for n, characters, most in duplicate
            ]
        )


def _first_above(shares: Iterable[tuple[str, float, float]]) -> Verdict:
    """shares: reason, what was found, what may be."""
    for reason, share, most in shares:
        if share > most:
            return Drop(reason, f"{share:.1%}")
    return None
