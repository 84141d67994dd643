import pytest

from megatron_codemix.corpus.filters.licences import (
    Licences,
    is_allowed,
    is_expression,
    permissive_licences,
)
from megatron_codemix.corpus.filters.rule import Drop
from tests.helpers.filter_documents import document


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", True),
        ("mit", True),
        ("MIT License", True),
        ("Apache License, Version 2.0", True),
        ("Apache 2.0 License", True),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-2.0-only OR MIT", True),
        ("GPL-2.0-only AND MIT", False),
        ("(GPL-2.0-only OR MIT) AND (Apache-2.0 or LGPL-3.0)", True),
        ("MIT AND (GPL-2.0-only OR LGPL-3.0)", False),
        ("MIT OR GPL-2.0-only AND LGPL-3.0", True),  # AND binds closer
        ("GPL-3.0-or-later WITH GCC-exception-3.1", False),
        ("Mozilla Public License 2.0 (MPL 2.0)", False),
        ("GNU General Public License v3", False),
        ("MIT AND", False),
        ("(GPL-2.0-only OR MIT", False),
        ("MIT Apache-2.0", False),  # no expression
        ("Proprietary", False),
        ("MIT License (MIT)", True),
        ("Apache Software License (Apache 2.0)", True),
        ("MIT License (non-commercial)", False),
        ("MIT (GPL-3.0 for commercial use)", False),
        ("BSD (GPL)", False),
        ("MIT WITH Commons-Clause", False),
        ("MIT WITH", False),
        ("MIT/Apache-2.0", True),
        ("GPL-2.0/LGPL-2.1", False),
        ("(MIT License) AND (Apache License 2.0)", True),
        ("(MIT License) AND (GPL-3.0-only)", False),
    ],
)
def test_an_expression_leaves_an_allowed_choice_or_not(licence, expected):
    assert is_allowed(licence, permissive_licences()) is expected


def test_what_is_unknown_is_kept_where_asked_for():
    for unknown in (None, "", "UNKNOWN", "NOASSERTION"):
        assert Licences()(document("", licence=unknown)) == Drop("licence", "unknown")
        assert Licences(keep_unknown=True)(document("", licence=unknown)) is None


def test_allows_what_is_named():
    rule = Licences(allow=("GPL-2.0-only",))
    assert rule(document("", licence="GPL-2.0-only")) is None
    assert rule(document("", licence="MIT")) == Drop("licence", "MIT")
    assert Licences(allow=("permissive", "GPL-2.0-only"))(document("", licence="MIT")) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("MIT", True),
        ("unknown", True),
        ("Made-Up-1.0 OR (MIT AND CC-BY-4.0)", True),
        ("Apache License, Version 2.0", False),  # as it is written there, words
        ("Apache License 2.0", True),
        ("that of each package, in its record", False),
        ("permissive, of repositories in The Stack", False),
        ("each file's own", False),
        ("", False),
    ],
)
def test_words_about_licences_are_no_expression(text: str, expected: bool):
    assert is_expression(text) is expected
