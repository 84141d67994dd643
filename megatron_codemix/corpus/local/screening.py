"""Cheap tests of what a text is: English prose, or data in disguise."""

import re

MAX_LINE_CHARS = 5_000
_COMMON_WORDS = """
    a about after all also an and any are as at be been before but by can do does each for from
    given has have if in into is it its may more must no not of on only or other should so such
    than that the their then there these they this to two use used using was we when where which
    while will with you your
"""
_STOPWORDS = frozenset(_COMMON_WORDS.split())
_GENERATED = re.compile(
    r"(?im)^[ \t]*(#|//|<!--|\.\.|\*|\"\"\")"
    r".*(auto(matically)?[- ]?generated|generated (by|from|file)|do not edit)"
)
_ENCODED_CHARS = 80
_ENCODED_RUN = re.compile(rf"[A-Za-z0-9+/=\\]{{{_ENCODED_CHARS},}}")


def is_english_prose(text: str) -> bool:
    """Judged on the first 8,000 characters: mostly letters, and one word in six is a common one."""
    head = text[:8000]
    words = re.findall(r"[A-Za-z']+", head)
    if len(words) < 20:
        return False
    letters = sum(map(len, words))
    visible = sum(map(len, head.split()))
    common = sum(1 for word in words if word.lower() in _STOPWORDS)
    return letters >= 0.7 * visible and common >= len(words) / 6


def data_like(text: str) -> str | None:
    """Why a code or markup file is not worth learning from, or None: minified, generated, numbers,
    encoded.
    """
    if _GENERATED.search(text[:2000]):
        return "generated"
    lines = text.split("\n")
    if max(map(len, lines)) > MAX_LINE_CHARS or len(text) > 200 * len(lines):
        return "minified"
    sample = text[:100_000]
    words = sample.split()
    visible = sum(map(len, words))
    digits = sum(map(sample.count, "0123456789"))
    if digits > 0.3 * visible:
        return "numbers"
    long_words = [word for word in words if len(word) >= _ENCODED_CHARS]
    if sum(len(run) for word in long_words for run in _ENCODED_RUN.findall(word)) > 0.2 * visible:
        return "encoded"
    return None
