import pytest

from megatron_codemix.corpus.filters.programming_languages import (
    CODE_LANGUAGES,
    MARKUP_LANGUAGES,
    ProgrammingLanguages,
    programming_language,
)
from megatron_codemix.corpus.filters.rule import Drop
from tests.helpers.filter_documents import document


@pytest.mark.parametrize(
    ("path", "language", "expected"),
    [
        ("src/main.CPP", None, "cpp"),
        ("src/Makefile", None, "makefile"),
        ("no/suffix", None, None),
        ("archive.tar.gz", None, None),
        ("a.py", "C#", "c-sharp"),
        ("a.py", "Jupyter Notebook", "jupyter-notebook"),
        ("a.py", "", "python"),
    ],
)
def test_metadata_tell_the_language_else_the_path(path, language, expected):
    metadata = {} if language is None else {"language": language}
    assert programming_language(document("", path, metadata=metadata)) == expected


def test_tables_of_the_paper():
    """Sizes and sums of sections A.2 and A.3."""
    assert (len(CODE_LANGUAGES), len(MARKUP_LANGUAGES)) == (25, 10)
    assert sum(CODE_LANGUAGES.values()) == pytest.approx(99.99)
    assert sum(MARKUP_LANGUAGES.values()) == pytest.approx(99.99)


def test_keeps_the_languages_asked_for():
    rule = ProgrammingLanguages(keep=("markup", "python"))
    kept = [rule(document("", path)) is None for path in ("a.py", "a.md", "a.java", "a")]
    assert kept == [True, True, False, False]
    assert rule(document("", "a.java")) == Drop("programming language", "java")
    assert rule(document("", "a")) == Drop("programming language", "unknown")
