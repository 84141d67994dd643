"""Scores of answers in words: QuAC's and DuReader's. Free of torch and of the harness."""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from statistics import fmean
from typing import Any

_CANNOT_ANSWER = "CANNOTANSWER"
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def quac(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """`acc` is HEQ-Q of QuAC's script (Choi et al. 2018, section 5.1): whether the answer's F1 is
    at least that of people on the same question. `f1` is that F1, `exact_match` whether the answer
    is one of the references."""
    references = _answerable(document["references"])
    answer = results[0]
    f1 = _f1_with_one_left_out(answer, references)
    return {
        "acc": float(f1 >= human_f1(document["references"])),
        "f1": f1,
        "exact_match": float(any(_words(answer) == _words(one) for one in references)),
    }


def human_f1(references: Sequence[str]) -> float:
    """How well each reference answers the question, judged by the others; 1 for a single one."""
    kept = _answerable(references)
    if len(kept) == 1:
        return 1.0
    return fmean(
        max(_word_f1(one, other) for j, other in enumerate(kept) if j != i)
        for i, one in enumerate(kept)
    )


def du_reader(document: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """`exact_match` and `f1` of DuReader-robust's script, for the best reference: F1 over the
    longest run of characters (pieces, of what is not Chinese) that answer and reference share."""
    answer = results[0].strip()
    return {
        "exact_match": float(
            any(_without_marks(answer) == _without_marks(one) for one in document["references"])
        ),
        "f1": max(_run_f1(answer, one) for one in document["references"]),
    }


def _answerable(references: Sequence[str]) -> list[str]:
    """Either that there is no answer, where most say so, or the answers of the others."""
    answers = [one for one in references if one != _CANNOT_ANSWER]
    return [_CANNOT_ANSWER] if 2 * len(answers) <= len(references) else answers


def _f1_with_one_left_out(answer: str, references: Sequence[str]) -> float:
    """Mean over the references of the best F1 against the others: what people are judged by."""
    scores = [_word_f1(answer, one) for one in references]
    if len(scores) == 1:
        return scores[0]
    return fmean(max(scores[:left_out] + scores[left_out + 1 :]) for left_out in range(len(scores)))


def _words(text: str) -> list[str]:
    """Lower-cased, without punctuation and articles."""
    kept = "".join(one for one in text.lower() if one not in string.punctuation)
    return _ARTICLES.sub(" ", kept).split()


def _word_f1(answer: str, reference: str) -> float:
    given, wanted = _words(answer), _words(reference)
    return _f1(sum((Counter(given) & Counter(wanted)).values()), len(given), len(wanted))


def _f1(shared: int, given: int, wanted: int) -> float:
    return 2 * shared / (given + wanted) if shared else 0.0


_MARKS = set(":_`，。：？！()“”；’《》·、,「」（）－～『』|")  # noqa: RUF001  # full-width ones


def _without_marks(text: str) -> str:
    return "".join(one for one in text.lower() if one not in _MARKS)


def _segments(text: str) -> list[str]:
    """Each Chinese character by itself; what stands between them in one piece."""
    pieces: list[str] = []
    is_open = False
    for one in _without_marks(text):
        is_alone = one == "=" or unicodedata.name(one, "").startswith("CJK ")
        if is_open and not is_alone:
            pieces[-1] += one
        else:
            pieces.append(one)
        is_open = not is_alone
    return pieces


def _run_f1(answer: str, reference: str) -> float:
    given, wanted = _segments(answer), _segments(reference)
    longest = SequenceMatcher(None, given, wanted, autojunk=False).find_longest_match()
    return _f1(longest.size, len(given), len(wanted))
