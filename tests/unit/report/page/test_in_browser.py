"""The page in a real browser: as wide as a screen, a phone and paper, in light and in dark."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.files import write_text
from megatron_codemix.report.page.chart import Chart, Point, Series, draw
from megatron_codemix.report.page.html import render_html
from tests.helpers.browser import Browser, View, browser_program, open_browser, open_page
from tests.helpers.report_examples import paper_size_report

pytestmark = pytest.mark.skipif(browser_program() is None, reason="no Chromium on this machine")

PHONE, PAPER, SCREEN = 390, 688, 1280
"""CSS pixels. Paper: A4 without its margins, (210 - 2 x 14) mm at 96 pixels an inch."""

SMALLEST_TEXT = 10.0
"""CSS pixels, on a screen."""

WIDER_THAN_ITS_PLACE = """
[...document.querySelectorAll('table, figure, ul, p, h2, .strip, .plotbox, .plotbox span, .axis *')]
  .filter(one => !one.closest('.scroll') || %s)
  .map(one => [one.tagName + '.' + (one.getAttribute('class') || ''), one.getBoundingClientRect()])
  .filter(([name, box]) => box.width > 0 && (box.right > %d + 0.5 || box.left < -0.5))
  .map(([name, box]) => `${name} ${box.left} to ${box.right}`)
"""


def losses() -> list[Chart]:
    lines = [
        Series(
            name=name,
            number=number,
            points=[Point(x=x, y=4 - 0.01 * x - number) for x in range(100)],
            has_marks=False,
            starts=[50.0],
        )
        for number, name in enumerate(("text-only", "code->text"))
    ]
    return [
        draw(lines, title=source, x_label="training tokens", y_label="nats per token")
        for source in ("code", "text")
    ]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_text(path, render_html(paper_size_report(), losses()))
    return path


def cut(view: View, width: int, *, in_boxes: bool) -> Any:
    """What reaches over the edges of the window. in_boxes: also what may scroll by itself."""
    return view.value(WIDER_THAN_ITS_PLACE % ("true" if in_boxes else "false", width))


@pytest.mark.parametrize("width", [SCREEN, PHONE])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_and_says_nothing(
    browser: Browser, page: Path, width: int, scheme: Any
) -> None:
    view = open_page(browser, page, width=width, scheme=scheme)
    assert view.value("document.documentElement.scrollWidth") == width
    assert cut(view, width, in_boxes=False) == []
    assert view.messages == []
    assert view.requests == [page.resolve().as_uri()]
    ground = "rgb(22, 24, 28)" if scheme == "dark" else "rgb(255, 255, 255)"
    assert view.value("getComputedStyle(document.body).backgroundColor") == ground


def test_wide_tables_scroll_in_their_boxes(browser: Browser, page: Path) -> None:
    view = open_page(browser, page, width=PHONE)
    boxes = view.value(
        "[...document.querySelectorAll('.scroll')].map(one => "
        "[one.scrollWidth > one.clientWidth, one.getBoundingClientRect().right])"
    )
    assert any(is_scrolled for is_scrolled, _ in boxes)
    assert all(right <= PHONE for _, right in boxes)
    # Each can be reached by the keyboard, and the last column comes into sight.
    assert view.value("document.querySelectorAll('.scroll:not([tabindex])').length") == 0
    name, last = view.value(
        "(() => { const box = document.querySelector('.scroll'); box.scrollLeft = 1e6;"
        "return [box.querySelector('td.name').getBoundingClientRect().left,"
        "box.querySelector('thead th:last-child').getBoundingClientRect().right] })()"
    )
    assert last <= PHONE
    assert 0 <= name < 20, "what the row is about is out of sight"


@pytest.mark.parametrize("width", [SCREEN, PHONE])
def test_text_is_large_enough(browser: Browser, page: Path, width: int) -> None:
    view = open_page(browser, page, width=width)
    smallest = view.value(
        "Math.min(...[...document.querySelectorAll('body *')].filter(one => "
        "[...one.childNodes].some(n => n.nodeType == 3 && n.data.trim()))"
        ".map(one => parseFloat(getComputedStyle(one).fontSize)))"
    )
    assert smallest >= SMALLEST_TEXT


@pytest.mark.parametrize("width", [SCREEN, PHONE])
def test_figures_are_drawn(browser: Browser, page: Path, width: int) -> None:
    view = open_page(browser, page, width=width)
    sizes = view.value(
        "[...document.querySelectorAll('.plotbox, .strip')].map(one => "
        "[one.getBoundingClientRect().width, one.getBoundingClientRect().height])"
    )
    assert len(sizes) == 8 * 18 + 8 + 2
    assert all(wide > 120 and high > 20 for wide, high in sizes)
    # A mark stands where its place says: between the axis' ends, at its percentage.
    places = view.value(
        "[...document.querySelectorAll('.strip')].map(strip => { const mark ="
        "strip.querySelector('svg'), box = strip.getBoundingClientRect(), own ="
        "mark.querySelector('path').getBoundingClientRect(); return [mark.getAttribute('x'),"
        "100 * ((own.left + own.right) / 2 - box.left) / box.width] })"
    )
    for stated, drawn in places:
        assert drawn == pytest.approx(float(stated.removesuffix("%")), abs=0.5)
    touching = view.value(
        "[...document.querySelectorAll('.axis, .plotbox')].flatMap(axis => {"
        "const boxes = [...axis.querySelectorAll('span:not(.y)')].map(one =>"
        "one.getBoundingClientRect()); return boxes.slice(1).map((box, i) =>"
        "boxes[i].right > box.left ? axis.textContent : null) }).filter(x => x)"
    )
    assert touching == [], "words of an axis lie on one another"


def test_nothing_is_cut_on_paper(browser: Browser, page: Path) -> None:
    view = open_page(browser, page, width=PAPER, media="print", scheme="dark")
    assert cut(view, PAPER, in_boxes=True) == []
    assert view.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert view.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    spelled = "getComputedStyle(document.querySelector('a[href^=http]'), '::after').content"
    assert "arxiv.org" in view.value(spelled)
    pdf = view.paper()
    assert pdf.startswith(b"%PDF-")
    boxes = {tuple(map(float, box.split())) for box in re.findall(rb"/MediaBox \[([^\]]*)\]", pdf)}
    assert {tuple(map(round, box)) for box in boxes} == {(0, 0, 595, 842)}  # A4, in points
    pages = len(re.findall(rb"/Type /Page\b", pdf))
    assert 5 < pages < 60
    assert view.messages == []


def test_links_of_the_contents_lead_to_sections(browser: Browser, page: Path) -> None:
    view = open_page(browser, page, width=SCREEN)
    lost = view.value(
        "[...document.querySelectorAll('nav a')].filter(one => "
        "!document.getElementById(one.hash.slice(1))?.querySelector('h2')).length"
    )
    assert lost == 0
    assert view.value("document.querySelectorAll('nav a').length") == view.value(
        "document.querySelectorAll('main > section').length"
    )
