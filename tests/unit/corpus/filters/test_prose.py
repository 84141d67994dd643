import numpy as np
import pytest

from megatron_codemix.corpus.filters.prose import GopherQuality, GopherRepetition
from megatron_codemix.corpus.filters.rule import Drop
from megatron_codemix.ops.text import is_symbol
from tests.helpers.filter_documents import document, peer, real_texts, whitespace_words

_QUALITY = {
    "few words": "gopher_short_doc",
    "many words": "gopher_long_doc",
    "short words": "gopher_below_avg_threshold",
    "long words": "gopher_above_avg_threshold",
    "hashes": "gopher_too_many_hashes",
    "ellipses": "gopher_too_many_ellipsis",
    "bullet lines": "gopher_too_many_bullets",
    "ellipsis lines": "gopher_too_many_end_ellipsis",
    "few words with letters": "gopher_below_alpha_threshold",
    "few stop words": "gopher_enough_stop_words",
}
_REPETITION = {
    "duplicate paragraphs": "dup_para_frac",
    "duplicate paragraph characters": "dup_para_char_frac",
    "duplicate lines": "dup_line_frac",
    "duplicate line characters": "dup_line_char_frac",
    **{f"top {n}-gram": f"top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicate {n}-grams": f"duplicated_{n}_n_grams" for n in range(5, 11)},
}


def verdicts_of_peer(module, name, texts, monkeypatch):
    """datatrove's reasons, True where it keeps a text. Its words are split at white space: its own
    word tokenizers are models to download."""
    filters = peer(f"datatrove.pipeline.filters.{module}")
    monkeypatch.setattr(filters, "split_into_words", whitespace_words)
    judge = getattr(filters, name)()
    document_of_peer = peer("datatrove.data").Document
    verdicts = [judge.filter(document_of_peer(text=text, id="")) for text in texts]
    return [True if verdict is True else verdict[1] for verdict in verdicts]


def test_quality_has_the_verdicts_and_reasons_of_datatrove(monkeypatch):
    """Of texts in which both take the same words for symbols; of nearly all others too."""
    texts = [*real_texts(), *made_up()]
    ours = [GopherQuality()(document(text)) for text in texts]
    theirs = verdicts_of_peer("gopher_quality_filter", "GopherQualityFilter", texts, monkeypatch)
    named = [_QUALITY[verdict.reason] if isinstance(verdict, Drop) else True for verdict in ours]
    same_symbols = [i for i, text in enumerate(texts) if have_same_symbols(text)]
    assert len(same_symbols) >= 0.8 * len(texts)
    assert [named[i] for i in same_symbols] == [theirs[i] for i in same_symbols]
    assert {named[i] for i in same_symbols} == {True, *_QUALITY.values()}
    same = sum((one is True) == (other is True) for one, other in zip(named, theirs, strict=True))
    assert same >= 0.998 * len(texts)


def have_same_symbols(text: str) -> bool:
    """Whether datatrove's list of symbols has the same words for symbols as ours."""
    theirs = peer("datatrove.utils.text").PUNCTUATION_SET
    return all(
        all(map(is_symbol, word)) == all(character in theirs for character in word)
        for word in set(text.split())
    )


def made_up() -> list[str]:
    """Texts for the reasons that nobody's texts give."""
    plain = "the cat and the dog have of it to that with a be in out "
    return [
        "it was " * 50_001,
        "a b to of " * 20,
        plain * 5 + "- x\n" * 3,
        "- the cat and dog have milk\n" * 20,
        "the cat and dog have some more milk than that ...\n" * 4 + plain * 4 + "\n" + plain,
        "the cat and dog have milk than that \u2026\n" * 8 + "the cat and dog have milk\n" * 15,
        "cat ... dog ... " * 30,
    ]


def test_repetition_has_the_verdicts_and_reasons_of_datatrove(monkeypatch):
    texts = real_texts()
    ours = [GopherRepetition()(document(text)) for text in texts]
    theirs = verdicts_of_peer(
        "gopher_repetition_filter", "GopherRepetitionFilter", texts, monkeypatch
    )
    named = [_REPETITION[verdict.reason] if isinstance(verdict, Drop) else True for verdict in ours]
    assert named == theirs
    assert len(set(named)) >= 8  # most reasons, and True


def test_symbols_are_no_words_and_datatrove_has_fewer_of_them(monkeypatch):
    """Where the two differ on purpose: an arrow is a symbol here, and a word there."""
    text = "the horse and mouse have water " * 8 + "\u2192 " * 4
    (theirs,) = verdicts_of_peer(
        "gopher_quality_filter", "GopherQualityFilter", [text], monkeypatch
    )
    assert theirs is True
    assert GopherQuality()(document(text)) == Drop("few words", "48")


def test_numbers_of_the_reason_are_those_of_the_text():
    rng = np.random.default_rng(0)
    words = rng.choice(["the", "and", "alpha", "beta", "gamma"], 60)
    assert GopherQuality(min_words=61)(document(" ".join(words))) == Drop("few words", "60")
    lines = "one two three\n" * 4 + "four five six\n"
    verdict = GopherRepetition()(document(lines))
    assert verdict == Drop("duplicate lines", "50.0%")  # 3 of 6: the last is empty


@pytest.mark.parametrize("rule", [GopherQuality(min_words=0), GopherRepetition()])
@pytest.mark.parametrize("text", ["", "\n", " \n \n", "word"])
def test_next_to_nothing_is_no_division_by_zero(rule, text):
    rule(document(text))
