"""Colours of the page: text that can be read on its ground, by the formula of WCAG 2.2 (relative
luminance), in light, in dark and on paper."""

import itertools
import re
from importlib import resources

import pytest

ENOUGH_FOR_TEXT = 4.5
"""WCAG 2.2, success criterion 1.4.3."""

ENOUGH_FOR_LINES = 3.0
"""The same, 1.4.11: what is needed to understand a figure."""


def style(*names: str) -> str:
    folder = resources.files("megatron_codemix.report") / "templates"
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def colours(kind: str) -> dict[str, str]:
    """Name -> colour, for `screen`, `dark` or `print`."""
    found: dict[str, str] = {}
    text = style("style.css.j2", "report/page.css.j2")
    starts = {
        "screen": r"^:root \{",
        "dark": r"dark\) \{\s*:root \{",
        "print": r"print \{\s*:root \{",
    }
    for name in ("screen", kind):
        for block in re.finditer(starts[name] + r"([^}]*)\}", text, re.MULTILINE):
            found |= dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", block[1]))
    return found


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_formula() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("kind", ["screen", "dark", "print"])
def test_text_can_be_read(kind: str) -> None:
    found = colours(kind)
    texts = ("ink", "soft", "good", "bad", "link")
    for text, ground in itertools.product(texts, ("paper", "tint")):
        assert contrast(found[text], found[ground]) >= ENOUGH_FOR_TEXT, (text, ground)
    assert found["paper"] == ("#16181c" if kind == "dark" else "#ffffff")


@pytest.mark.parametrize("kind", ["screen", "dark", "print"])
def test_lines_can_be_seen(kind: str) -> None:
    found = colours(kind)
    for number in range(7):
        assert contrast(found[f"s{number}"], found["paper"]) >= ENOUGH_FOR_LINES, number
    for mark in ("good", "bad", "soft"):
        assert contrast(found[mark], found["band"]) >= ENOUGH_FOR_LINES, mark
