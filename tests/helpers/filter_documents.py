"""Documents to judge, and texts that somebody wrote: those of Python and of the packages here."""

import pydoc_data.topics
import sysconfig
import warnings
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType

import pytest

from megatron_codemix.corpus.document import Document


def document(text: str, path: str = "package/module.py", **others: object) -> Document:
    """A document with this text."""
    fields = {"id": "a", "source": "code", "path": path, "origin": "a", "licence": "MIT", **others}
    return Document(text=text, **fields)


def peer(module: str) -> ModuleType:
    """A module of datatrove, which warns of much at its import."""
    pytest.importorskip("datatrove", reason="the peer is in the extra `curate`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(module)


def whitespace_words(text: str, language: str = "") -> list[str]:
    """In place of datatrove's word tokenizers, which are not installed or would download models."""
    return text.split()


@cache
def real_texts() -> list[str]:
    """Prose, code and what is between them; and some of it again and again, for repetition."""
    prose = [text for _, text in sorted(pydoc_data.topics.topics.items())]
    library = Path(sysconfig.get_path("stdlib"))
    code = [path.read_text(encoding="utf-8") for path in sorted(library.glob("[a-h]*.py"))]
    names = sorted({one.metadata["Name"]: one for one in metadata.distributions()}.items())
    readmes = [one.metadata.get_payload() for _, one in names[:150]]
    texts = [text for text in (*prose, *code, *readmes) if text and text.strip()]
    texts = [text for text in texts if text.isascii() or _is_unicode(text)]
    pieces = [
        "\n\n".join(text.split("\n\n")[at : at + 5]) for text in prose for at in range(0, 40, 5)
    ]
    repeated = [text[:400] * 3 + text[400:2000] for text in prose]
    repeated += [
        text[:300] + "\n\n" + text[:300].replace("\n", " ") + text[300:1500] for text in prose
    ]
    return texts + [piece for piece in pieces if piece.strip()] + repeated


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
