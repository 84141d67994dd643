"""A judge on loopback: what it reads out of its question, and its judgements."""

import re

from tests.helpers.endpoint_server import Question, Reply


def answers_of(question: Question) -> tuple[str, str]:
    """A and B as the judge is shown them."""
    found = re.search(
        r"Answer \(A\): (.*?)\n\nAnswer \(B\): (.*?)\n\nFIRST", question.text, re.DOTALL
    )
    assert found is not None, question.text
    return found[1], found[2]


def prefer(letter: str) -> Reply:
    return Reply(f"Comparison: it is clearer.\nPreferred: Answer ({letter})")


def prefer_longer(question: Question) -> Reply:
    first, second = answers_of(question)
    return prefer("A" if len(first) > len(second) else "B")
