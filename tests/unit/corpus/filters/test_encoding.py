import sys

import pytest

from megatron_codemix.corpus.filters import encoding
from megatron_codemix.corpus.filters.encoding import RepairEncoding
from megatron_codemix.corpus.filters.rule import Changed
from megatron_codemix.errors import UnavailableError
from tests.helpers.filter_documents import document, real_texts

pytest.importorskip("ftfy", reason="ftfy is in the extra `curate`")

SENTENCES = [
    "Über den Wolken muß die Freiheit wohl grenzenlos sein.",
    "“Il était là…” — l\u2019été, voilà où naît la forêt.",
    "El niño comió piñas en la montaña más alta de España.",
    "Съешь же ещё этих мягких французских булок.",
]


def garbled(text: str, encoding: str) -> str:
    """The text written as UTF-8, read in another encoding; where it has no such characters, as
    Latin-1 has them."""
    return "".join(
        bytes([byte]).decode(encoding, errors="ignore") or bytes([byte]).decode("latin-1")
        for byte in text.encode()
    )


@pytest.mark.parametrize("encoding", ["latin-1", "windows-1252"])
@pytest.mark.parametrize("sentence", SENTENCES)
def test_repairs_what_was_read_in_the_wrong_encoding(sentence, encoding):
    whole = f"First line.\n{sentence}\nA fine line: naïve café.\n"
    broken = whole.replace(sentence, garbled(sentence, encoding))
    assert broken != whole
    verdict = RepairEncoding()(document(broken))
    assert isinstance(verdict, Changed)
    assert verdict.document.text == whole
    assert verdict.counts == {"lines repaired": 1}
    assert verdict.document.metadata == {"encoding_repaired": 1}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_leaves_alone_what_is_right(sentence):
    assert RepairEncoding()(document(sentence)) is None


def test_leaves_alone_nearly_all_that_people_write():
    """ftfy's own documentation, and texts like it, hold garbled text on purpose."""
    texts = real_texts()
    changed = [text[:80] for text in texts if RepairEncoding()(document(text)) is not None]
    assert len(changed) <= 0.005 * len(texts), changed


def test_a_repaired_document_is_not_repaired_again():
    verdict = RepairEncoding()(document(garbled("\n".join(SENTENCES), "windows-1252")))
    assert isinstance(verdict, Changed)
    assert RepairEncoding()(verdict.document) is None


def test_without_ftfy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    monkeypatch.setattr(encoding, "_ftfy", encoding._ftfy.__wrapped__)
    with pytest.raises(UnavailableError, match=r"pip install 'megatron_codemix\[curate\]'"):
        RepairEncoding().load()
