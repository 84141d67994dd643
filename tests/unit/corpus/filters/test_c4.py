import re

import pytest

from megatron_codemix.corpus.filters.c4 import C4
from megatron_codemix.corpus.filters.rule import Changed, Drop
from tests.helpers.filter_documents import document, peer, real_texts

_REASONS = {
    "few sentences": "too_few_sentences",
    "curly bracket": "curly_bracket",
    "lorem ipsum": "lorem_ipsum",
}
# As in FineWeb and in the policy of prose.
LENIENT = C4(lines_end_sentences=False, min_words_in_line=0)


def regular_sentences(text: str, language: str = "") -> list[str]:
    """In place of datatrove's sentence tokenizers, which are models to download."""
    return [one for one in re.split(r"(?<=[.!?])[\"')\]\u201d\u2019]*\s+", text) if one]


def untrained_sentences(text: str, language: str = "") -> list[str]:
    """Punkt, which needs no model, only knows fewer abbreviations without."""
    punkt = pytest.importorskip("nltk.tokenize.punkt", reason="nltk is not installed")
    return punkt.PunktSentenceTokenizer().tokenize(text) or [text]


def verdict_of_peer(filters, text, is_lenient):
    """datatrove's reason, and the lines that it keeps."""
    strict = {"filter_no_terminal_punct": False, "min_words_per_line": -1} if is_lenient else {}
    one = peer("datatrove.data").Document(text=text, id="")
    verdict = filters.C4QualityFilter(**strict).filter(one)
    return verdict[1] if verdict is not True else stripped(one.text)


def stripped(text: str) -> list[str]:
    return [line.strip() for line in text.strip().split("\n")]


def verdict_of_ours(rule, text):
    verdict = rule(document(text))
    if isinstance(verdict, Drop):
        return _REASONS[verdict.reason]
    return stripped(verdict.document.text if isinstance(verdict, Changed) else text)


def without_citations_at_ends(text: str) -> str:
    """Where the two differ on purpose: "... an end. [1]" keeps its line here and loses it there."""
    return re.sub(r"[ \t]+(\[[0-9]*\][ \t]*)+$", "", text, flags=re.MULTILINE)


@pytest.mark.parametrize("is_lenient", [False, True])
def test_has_the_verdicts_reasons_and_lines_of_datatrove(is_lenient, monkeypatch):
    filters = peer("datatrove.pipeline.filters.c4_filters")
    monkeypatch.setattr(filters, "split_into_sentences", regular_sentences)
    texts = [without_citations_at_ends(text) for text in [*real_texts(), *made_up()]]
    rule = LENIENT if is_lenient else C4()
    found = [verdict_of_ours(rule, text) for text in texts]
    expected = [verdict_of_peer(filters, text, is_lenient) for text in texts]
    assert found == expected
    assert {*_REASONS.values()} <= {str(one) for one in expected}


def made_up() -> list[str]:
    lines = [
        "This is the first line.",
        "It has a second one!",
        "Is there a third?",
        "Yes, there is.",
    ]
    lines += ["And a fifth, too."]
    whole = "\n".join(lines)
    return [
        whole,
        whole + "\nPlease turn JavaScript on now.",
        whole + "\nWe use cookies on this site.\nRead our privacy policy here.",
        whole + "\nlorem ipsum dolor sit amet.",
        whole + "\nA word of " + "w" * 1001 + " letters.",
        whole.replace("second", "second[2]").replace("third", "third [citation needed]"),
        whole + "\nPlease turn JavaScript on { now.",
        "\n".join(lines[:4]),
    ]


def test_counts_sentences_nearly_as_punkt_does(monkeypatch):
    filters = peer("datatrove.pipeline.filters.c4_filters")
    monkeypatch.setattr(filters, "split_into_sentences", untrained_sentences)
    texts = real_texts()[::7]
    verdicts = [
        (LENIENT(document(text)), verdict_of_peer(filters, text, is_lenient=True)) for text in texts
    ]
    same = sum(isinstance(ours, Drop) == isinstance(theirs, str) for ours, theirs in verdicts)
    assert same >= 0.99 * len(texts)


def test_kept_lines_keep_their_indentation_and_the_end_of_the_text():
    text = "A first line that stays.\n    - A second line that stays.\nshort\nMore. Of. Them.\n"
    verdict = C4(min_sentences=1)(document(text))
    assert isinstance(verdict, Changed)
    expected = "A first line that stays.\n    - A second line that stays.\nMore. Of. Them.\n"
    assert verdict.document.text == expected
    assert verdict.counts == {"lines left out": 1}


def test_a_line_that_ends_in_a_citation_is_judged_without_it():
    text = "\n".join(f"This is line number {n}. [{n}]" for n in range(5))
    verdict = C4()(document(text))
    assert isinstance(verdict, Changed)
    assert verdict.document.text == "\n".join(f"This is line number {n}." for n in range(5))
    assert verdict.counts == {"citations left out": 5}


def test_what_may_stay_stays():
    text = "Use { and } in JavaScript. We use cookies. See [1]. Lines are long. It is all here."
    rule = LENIENT.model_copy(
        update={
            "curly_brackets": True,
            "lines_of_javascript": True,
            "lines_of_policies": True,
            "citations": True,
        }
    )
    assert rule(document(text)) is None
    assert LENIENT(document(text)) == Drop("few sentences", "0")
