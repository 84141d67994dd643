import difflib
import html.parser
import pydoc
import textwrap

import pytest

from megatron_codemix.corpus.filters.html import VisibleText, visible_text
from megatron_codemix.corpus.filters.rule import Drop
from tests.helpers.filter_documents import document


class Reader(html.parser.HTMLParser):
    """The text of a page as Python's own parser has it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.text = ""
        self._unseen = 0

    def handle_starttag(self, tag, attrs):
        self._unseen += tag in ("script", "style")

    def handle_endtag(self, tag):
        self._unseen -= tag in ("script", "style")

    def handle_data(self, data):
        if not self._unseen:
            self.text += data


def read(page: str) -> str:
    reader = Reader()
    reader.feed(page)
    reader.close()
    return reader.text


@pytest.mark.parametrize("module", [difflib, html.parser, pydoc, textwrap])
def test_sees_of_a_page_what_a_parser_sees(module):
    page = pydoc.HTMLDoc().page(module.__name__, pydoc.HTMLDoc().document(module))
    assert len(page) > 5_000
    assert visible_text(page) == read(page)
    table = difflib.HtmlDiff().make_file(["a & b", "<c>"], ["a", "<c> &lt;"])
    assert visible_text(table) == read(table)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("a<script>if (a < b) {'<p>'}</script>b<STYLE type='x'>p{}</Style >c", "abc"),
        ("a<!-- <p> -->b<!doctype html>c<br/>d&amp;&#65;", "abcd&A"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a<script>never ends", "a"),
        ("a<!-- never ends", "a"),
    ],
)
def test_sees_no_scripts_styles_comments_or_tags(page, expected):
    assert visible_text(page) == expected


@pytest.mark.parametrize("beginning", ["<a", "<script", "<script>", "<!--", "</script ", "<a '"])
def test_what_never_ends_is_read_in_linear_time(beginning):
    """Else this takes hours."""
    visible_text(beginning * 100_000)


@pytest.mark.parametrize(
    ("text", "tags", "expected"),
    [
        ("a" * 100, 400, None),
        ("a" * 100, 401, "little visible text"),
        ("a" * 99, 20, "little visible text"),
    ],
)
def test_pages_need_text(text, tags, expected):
    page = text + "<" + "b" * (tags - 2) + ">"
    verdict = VisibleText()(document(page, "a.html"))
    assert (verdict.reason if isinstance(verdict, Drop) else verdict) == expected
    assert VisibleText()(document(page, "a.md")) is None
