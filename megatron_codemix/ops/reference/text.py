"""Statistics of texts that filters decide by, and what is private in them."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import islice

from megatron_codemix.ops.text import (
    LineStatistics,
    Mark,
    MarkKind,
    Repetition,
    WordStatistics,
    is_symbol,
)


def count_lines(text: str) -> LineStatistics:
    """See ops.count_lines."""
    lines = text.splitlines()
    return LineStatistics(
        num_characters=len(text),
        num_lines=len(lines),
        line_characters=sum(map(len, lines)),
        longest_line=max(map(len, lines), default=0),
        num_alphabetic=sum(map(str.isalpha, text)),
        num_alphanumeric=sum(map(str.isalnum, text)),
    )


def count_words(text: str, common_words: Sequence[str] = ()) -> WordStatistics:
    """See ops.count_words."""
    words = text.split()
    spoken = [word for word in words if not all(map(is_symbol, word))]
    lines = text.splitlines()
    with_words = [line.split() for line in lines if line.split()]
    ends = [[_ends_sentence(word) for word in line] for line in with_words]
    return WordStatistics(
        num_characters=len(text),
        num_words=len(words),
        longest_word=max(map(len, words), default=0),
        num_spoken_words=len(spoken),
        spoken_characters=sum(map(len, spoken)),
        num_alphabetic_words=sum(any(map(str.isalpha, word)) for word in words),
        num_hashes=text.count("#"),
        num_ellipses=text.count("...") + text.count("\u2026"),
        num_lines=len(lines),
        num_bullet_lines=sum(line.lstrip().startswith(("-", "\u2022")) for line in lines),
        num_ellipsis_lines=sum(line.rstrip().endswith(("...", "\u2026")) for line in lines),
        num_sentences=sum(sum(line) + (not line[-1]) for line in ends),
        num_distinct_common=len(set(common_words) & set(words)),
    )


def _ends_sentence(word: str) -> bool:
    return word.rstrip("\"')]\u201d\u2019").endswith((".", "!", "?"))


def count_repetition(text: str) -> Repetition:
    """See ops.count_repetition."""
    lines = re.split(r"\n+", text)
    paragraphs = re.split(r"\n{2,}", text.strip())
    words = text.split()
    return Repetition(
        num_characters=len(text),
        num_lines=len(lines),
        num_duplicate_lines=len(_later_ones(lines)),
        duplicate_line_characters=sum(map(len, _later_ones(lines))),
        num_paragraphs=len(paragraphs),
        num_duplicate_paragraphs=len(_later_ones(paragraphs)),
        duplicate_paragraph_characters=sum(map(len, _later_ones(paragraphs))),
        top_ngram_characters=tuple(_top_ngram(words, n) for n in (2, 3, 4)),  # type: ignore[arg-type]  # three
        duplicate_ngram_characters=tuple(_duplicate_ngrams(words, n) for n in range(5, 11)),  # type: ignore[arg-type]  # six
    )


def _later_ones(pieces: list[str]) -> list[str]:
    return [piece for i, piece in enumerate(pieces) if piece in pieces[:i]]


def _top_ngram(words: list[str], n: int) -> int:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    if not counts:
        return 0
    ngram, count = counts.most_common(1)[0]
    return len(" ".join(ngram)) * count


def _duplicate_ngrams(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    place = characters = 0
    while place + n <= len(words):
        ngram = tuple(words[place : place + n])
        if ngram in seen:
            characters += len("".join(ngram))
            place += n
        else:
            seen.add(ngram)
            place += 1
    return characters


_AT = re.compile(r"(?<=[A-Za-z0-9+/_.%-])@(?=[A-Za-z0-9])")
_ADDRESS_START = r"(?<![A-Za-z0-9_.\u0080-\U0010ffff])"
_FOUR_NUMBERS = re.compile(_ADDRESS_START + r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])(?!\.[0-9])")
_COLONS = re.compile(
    _ADDRESS_START + r"(?<!:)(?=(?:[0-9A-Fa-f]*:){2})[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]*"
)
_KEY_CHARACTERS = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_CHANGE = re.compile(r"(?=[a-z][A-Z0-9]|[A-Z][a-z0-9]|[0-9][A-Za-z])")


def find_private_marks(text: str, literals: Sequence[str] = ()) -> list[Mark]:
    """See ops.find_private_marks; marks that begin at one place in any order."""
    marks = [Mark(MarkKind.AT, -1, *match.span()) for match in _AT.finditer(text)]
    marks += [
        Mark(MarkKind.FOUR_NUMBERS, -1, *match.span()) for match in _FOUR_NUMBERS.finditer(text)
    ]
    marks += [Mark(MarkKind.COLONS, -1, *match.span()) for match in _COLONS.finditer(text)]
    for match in _KEY_CHARACTERS.finditer(text):
        run = match.group()
        is_mixed = re.search("[0-9]", run) and re.search("[A-Za-z]", run)
        if is_mixed and 4 * len(_CHANGE.findall(run)) >= len(run):
            marks.append(Mark(MarkKind.RANDOM, -1, *match.span()))
    for begin in range(len(text)):
        found = (i for i, literal in enumerate(literals) if text.startswith(literal, begin))
        marks += [Mark(MarkKind.LITERAL, i, begin, begin + 1) for i in islice(found, 1)]
    return sorted(marks, key=lambda mark: mark.begin)
