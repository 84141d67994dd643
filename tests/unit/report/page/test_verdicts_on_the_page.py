"""What is coloured on the page: verdicts, whatever the sign of a difference."""

import re
from collections import Counter
from typing import Any

import pytest

from megatron_codemix.report.page.html import render_html
from megatron_codemix.report.page.summary import summary_rows
from tests.helpers.report_examples import paper_size_report

MARKED = re.compile(r'class="verdict (better|worse|cannot-tell)"')


def section(html: str, name: str) -> str:
    return html.split(f'<section id="{name}"')[1].split("</section>")[0]


def verdicts(report: dict[str, Any], kind: str) -> Counter[str]:
    return Counter(
        row["verdict"].replace(" ", "-")
        for row in report["comparisons"]
        if row["metric"].startswith(f"{kind}/")
    )


@pytest.mark.parametrize(
    ("name", "kind"), [("heldout", "heldout"), ("benchmarks", "average"), ("tasks", "task")]
)
@pytest.mark.parametrize("seeds", [("1",), ("1", "2", "3")])
def test_tables_show_verdicts(name: str, kind: str, seeds: tuple[str, ...]) -> None:
    report = paper_size_report(seeds)
    found = Counter(MARKED.findall(section(render_html(report, []), name)))
    assert found == verdicts(report, kind)
    assert (set(found) == {"cannot-tell"}) == (len(seeds) == 1)


def test_one_sign_has_one_meaning_in_a_table() -> None:
    report = paper_size_report(("1", "2"))
    single = ("470m.seed2", "code")
    report["variants"] = [row for row in report["variants"] if (row["cell"], row["name"]) != single]
    html = render_html(report, [])
    [row] = [row for row in summary_rows(report) if (row.cell, row.variant) == ("470m", "code")]
    assert row.values["average/total"].error is not None
    assert row.values["heldout/text"].low is not None
    for name in ("benchmarks", "heldout", "tasks"):
        [caption] = re.findall("Means over.*?[.]", section(html, name))
        assert caption == (
            "Means over up to 2 seeds &plusmn; their standard deviation; "
            "a value without one is of a single seed."
        )
        lines = section(html, name).split("<tbody>")[1].splitlines()  # of the first size
        signs = {
            re.findall('class="name">([^<]*)', line)[0].strip(): line.count("&plusmn;")
            for line in lines
            if 'class="name"' in line
        }
        assert signs["code"] == 0
        assert min(number for variant, number in signs.items() if variant != "code") > 0
        assert 'class="bounds"' not in section(html, name)
    assert "Bars are 95% intervals" in section(html, "axis1")
    assert "Bars are" not in section(render_html(paper_size_report(("1", "2")), []), "axis1")


def test_signs_do_not_colour() -> None:
    report = paper_size_report()
    for row in report["comparisons"]:
        row["verdict"] = "worse" if row["difference"] > 0 else "cannot tell"
    html = section(render_html(report, []), "heldout")
    for verdict, sign in re.findall(r'class="verdict ([a-z-]+)">\S+ ([+\u2212])', html):
        assert verdict == ("worse" if sign == "+" else "cannot-tell")


def test_marks_and_words_say_the_same() -> None:
    report = paper_size_report()
    for row in report["comparisons"]:
        row["models_verdict"] = "worse" if row["verdict"] == "better" else "better"
    html = section(render_html(report, []), "differences")
    strips = re.findall(r'<svg class="strip ([a-z-]+)"', html)
    words = re.findall(r'<td class="verdicts"><span class="verdict ([a-z-]+)">', html)
    assert strips == words
    assert set(strips) == {"better", "worse", "cannot-tell"}


def test_one_seed_is_said_and_the_models_verdicts_stand_below() -> None:
    report = paper_size_report(("1",))
    html = render_html(report, [])
    assert "No seed is repeated" in html
    told = Counter(re.findall(r'these models: <span class="verdict (better|worse)">', html))
    main = [row for row in report["comparisons"] if not row["metric"].startswith("task/")]
    assert told == Counter(
        row["models_verdict"] for row in main if row["models_verdict"] != "cannot tell"
    )
