"""What the judge is asked, and how its answer is read.

The question is that of *To Code, or Not To Code?* (arXiv 2408.10914, appendix B): its preamble and
the form of the answer are the paper's, the four rules say the same in other words.
"""

import re
from typing import Literal

Verdict = Literal["first", "second", "tie"]
"""Which answer the judge prefers, by its place in the question."""

PREAMBLE = (
    "You are a helpful following assistant whose goal is to select the preferred (least wrong) "
    "output for a given instruction."
)
_QUESTION = """Which of the two answers below is the better one for the instruction? A good answer

1. reasons correctly;
2. does what the instruction asks for;
3. states correct facts and can be understood;
4. is grammatical and fluent.

Instruction: {instruction}

Answer (A): {first}

Answer (B): {second}

FIRST compare the two answers concisely, in one sentence: which do you prefer, and why?
SECOND, on a new line, state only "Preferred: Answer (A)" or "Preferred: Answer (B)". Answer in this
form:

Comparison: <one sentence that compares the answers>
Preferred: <"Answer (A)" or "Answer (B)">"""

OPENING = "Comparison:"
"""What the answer begins with."""

_MARKS = re.compile(r"[*_`#>\"']")
_PREFERRED = re.compile(r"^\s*preferred\s*:\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)
_ANSWER = re.compile(r"\banswer\s*\(?([ab])\b|^\(?([ab])\)?\.?$", re.IGNORECASE)
_TIE = re.compile(r"\b(neither|tie|tied|equal|equally|both)\b", re.IGNORECASE)


def question(instruction: str, context: str, first: str, second: str) -> str:
    """What follows the preamble. The answers stand in it without white space around them."""
    asked = f"{instruction}\n\n{context}" if context else instruction
    return _QUESTION.format(instruction=asked.strip(), first=first.strip(), second=second.strip())


def read_verdict(text: str) -> Verdict | None:
    """What the lines `Preferred: ...` say; None where there is none, or where they disagree.

    A line that names both answers is none (a repeated form); one that says `neither`, `tie`,
    `equal` or `both` is a tie. Marks of Markdown are looked through.
    """
    said = {_verdict_of(line) for line in _PREFERRED.findall(_MARKS.sub("", text))}
    said.discard(None)
    return said.pop() if len(said) == 1 else None


def _verdict_of(said: str) -> Verdict | None:
    if _TIE.search(said):
        return "tie"
    named = {(one or other).lower() for one, other in _ANSWER.findall(said)}
    if len(named) != 1:
        return None
    return "first" if named == {"a"} else "second"
