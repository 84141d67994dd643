"""The question has the paper's parts; a verdict is read, or said not to be there."""

import pytest

from megatron_codemix.evaluation.judge.question import PREAMBLE, question, read_verdict


def test_question_shows_both_answers_as_they_are() -> None:
    text = question("Say {hello}", "", " one {0}\n", "two %s")
    assert "Instruction: Say {hello}\n\nAnswer (A): one {0}\n\nAnswer (B): two %s\n" in text
    assert text.index("FIRST") < text.index("SECOND")
    assert PREAMBLE.endswith("select the preferred (least wrong) output for a given instruction.")


def test_question_has_the_context_behind_the_instruction() -> None:
    assert "Instruction: Sum up.\n\nA long text.\n\nAnswer (A)" in question(
        "Sum up.", "A long text.", "x", "y"
    )


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Comparison: A is right.\nPreferred: Answer (A)", "first"),
        ("Comparison: B is right.\nPreferred: Answer (B)", "second"),
        ("Comparison: Answer (B) is worse.\n\n  preferred : answer A. \n", "first"),
        ("**Comparison:** x\n**Preferred:** `Answer (B)`", "second"),
        ('Preferred: "Answer (A)"', "first"),
        ("Preferred: (B)", "second"),
        ("Preferred:\nAnswer (A)", "first"),
        ("Preferred: B", "second"),
        ("Preferred: Neither", "tie"),
        ("Preferred: both are equal", "tie"),
        # The form, and then the answer in it.
        ('Preferred: "Answer (A)" or "Answer (B)"\nPreferred: Answer (B)', "second"),
        ("Preferred: Answer (A)\nPreferred: Answer (A)", "first"),
        ("Preferred: Answer (A)\nPreferred: Answer (B)", None),
        ("Preferred: Answer (A) or Answer (B)", None),
        ("I prefer Answer (A).", None),
        ("Preferred: a good one", None),
        ("Preferred: Answer (C)", None),
        ("Preferred:", None),
        ("", None),
    ],
)
def test_verdict(text: str, verdict: str | None) -> None:
    assert read_verdict(text) == verdict
