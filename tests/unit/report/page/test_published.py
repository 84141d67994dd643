"""Published values beside ours: what is shown of the report's `published`."""

from typing import Any

import pytest

from megatron_codemix.report.page.published import published_figures
from megatron_codemix.report.render import render_markdown
from tests.helpers.report_examples import paper_size_report


def change(place: float, paper: float, ours: float | None) -> dict[str, Any]:
    """A row of the proportion figure."""
    return {
        "row": f"{place:g}", "title": f"{place:g}% code", "model": "470M", "at": place,
        "variant": None if ours is None else f"{place:g}% code",
        "cell": None if ours is None else "single",
        "against": {
            "row": "0", "title": "0% code", "model": "470M", "variant": "0% code", "cell": "single"
        },
        "paper": {
            "value": paper, "printed": f"{100 * abs(paper):.1f}%", "source": "3.3", "note": None
        },
        "ours": None if ours is None else {
            "value": ours, "low": ours - 0.01, "high": ours + 0.01, "seeds": 1,
            "over": "1 seed, 9 items", "tasks": ["boolq"],
        },
        "why": "no variant of this study is this row" if ours is None else None,
    }  # fmt: skip


def proportion(rows: list[dict[str, Any]], measure: str = "reasoning") -> dict[str, Any]:
    return {
        "figure": "paper_a/proportion", "title": "Share of code", "paper": "To Code",
        "source": "section 3.3", "measure": f"average/{measure}", "measure_title": measure,
        "unit": "change", "lower_is_better": False,
        "axis": {"label": "code, %", "values": {row["row"]: row["at"] for row in rows}},
        "rows": rows, "note": None,
    }  # fmt: skip


def test_values_stand_side_by_side() -> None:
    rows = [change(25, 0.034, 0.021), change(100, -0.183, None)]
    [figure] = published_figures([proportion(rows)], {"single": ""})
    [table] = figure.tables
    assert (figure.against, table.measures) == ("0% code", ["reasoning, change"])
    first, second = (row.pairs[0] for row in table.rows)
    assert first is not None
    assert second is not None
    assert (first.paper, first.ours, first.bounds) == ("+3.4%", "+2.1%", "[+1.1%, +3.1%]")
    assert (second.paper, second.ours) == ("\u221218.3%", None)
    assert figure.remarks == ["no variant of this study is this row"]
    [chart] = figure.charts
    published, ours = chart.series
    assert (published.name, ours.name) == ("published", "here")
    assert (len(published.marks), len(ours.marks)) == (2, 1)
    assert ours.marks[0].x == published.marks[0].x
    # 3.4% and 2.1%, on an axis from -18.3% to 3.4%.
    width = (published.marks[1].y - published.marks[0].y) / (3.4 + 18.3)
    assert ours.marks[0].y - published.marks[0].y == pytest.approx(1.3 * width, abs=0.15)


def test_what_is_printed_as_another_number_is_told() -> None:
    row = change(100, 1.6, None)
    row["paper"]["printed"] = "2.6x"
    [figure] = published_figures([proportion([row])], {"single": ""})
    pair = figure.tables[0].rows[0].pairs[0]
    assert pair is not None
    assert pair.paper == "+160.0% (\u201c2.6x\u201d)"


def test_changes_from_another_row_are_not_on_the_same_line() -> None:
    rows = [change(25, 0.034, 0.02), change(50, 0.03, 0.02), change(100, -0.183, -0.1)]
    rows[2]["against"] = rows[2]["against"] | {"row": "25", "title": "25% code"}
    [figure] = published_figures([proportion(rows)], {"single": ""})
    assert [row.title for row in figure.tables[0].rows][2] == "100% code against 25% code"
    assert [len(line.marks) for line in figure.charts[0].series] == [2, 2]


def test_sizes_of_a_paper_are_told_apart() -> None:
    small, large = change(25, 0.03, None), change(25, 0.05, None)
    large |= {"model": "2.8B", "against": large["against"] | {"title": "25% code"}}
    [figure] = published_figures([proportion([small, large])], {"single": ""})
    assert [row.title for row in figure.tables[0].rows] == [
        "25% code, 470M against 0% code, 470M",
        "25% code, 2.8B against 25% code, 470M",
    ]


def test_changes_from_two_points_of_the_matrix_are_two_rows() -> None:
    rows = [change(25, 0.05, ours) for ours in (0.02, 0.04, 0.06)]
    for row, base in zip(rows, ("470m-wide", "470m-deep", "2.8b"), strict=True):
        row |= {"model": "2.8B", "cell": "2.8b", "against": row["against"] | {"cell": base}}
    entry = proportion(rows) | {"axis": None}
    [figure] = published_figures([entry], {"2.8b": "2.8b", "470m-wide": "wide"})
    found = [(row.cell, row.pairs[0].ours) for row in figure.tables[0].rows if row.pairs[0]]
    assert found == [
        ("2.8b against wide", "+2.0%"),
        ("2.8b against 470m-deep", "+4.0%"),
        ("2.8b", "+6.0%"),
    ]
    text = render_markdown(paper_size_report() | {"published": [entry]})
    title = "25% code, 2.8B against 0% code, 470M"
    assert f"| {title} | 2.8b against 470m-deep | +5.0% | +4.0% [+3.0%, +5.0%] |" in text
    assert f"| {title} | 2.8b | +5.0% | +6.0% [+5.0%, +7.0%] |" in text


def test_a_remark_stands_once_and_names_its_row_as_the_table_does() -> None:
    rows = [change(25, 0.03, 0.02), change(25, 0.03, 0.02), change(25, 0.05, None)]
    for row, cell in zip(rows, ("seen", "unseen", None), strict=True):
        row |= {"cell": cell, "paper": row["paper"] | {"note": "read from a picture"}}
    rows[2] |= {"model": "2.8B", "against": rows[2]["against"] | {"title": "25% code"}}
    [figure] = published_figures([proportion(rows)], {})
    assert figure.remarks == [
        "* 25% code, 470M against 0% code, 470M, reasoning: read from a picture",
        "* 25% code, 2.8B against 25% code, 470M, reasoning: read from a picture",
        "no variant of this study is this row",
    ]


def test_nothing_of_ours_is_no_figure_and_no_column() -> None:
    [figure] = published_figures([proportion([change(25, 0.034, None)])], {"single": ""})
    assert figure.charts == []
    assert not figure.tables[0].has_ours


def test_measures_of_one_figure_share_their_rows() -> None:
    names = ("reasoning", "knowledge", "code", "nl")
    entries = [proportion([change(25, 0.034, 0.021)], name) for name in names]
    [figure] = published_figures(entries, {"single": ""})
    assert [len(table.measures) for table in figure.tables] == [3, 1]
    assert [len(table.rows) for table in figure.tables] == [1, 1]


def test_points_of_the_matrix_are_rows_of_their_own() -> None:
    report = paper_size_report()
    [figure] = published_figures(report["published"], {"470m": "470m", "2.8b": "2.8b"})
    assert len(figure.tables[0].rows) == 20
    first = figure.tables[0].rows[0]
    assert (first.title, first.cell) == ("text-only", "470m")
    assert first.pairs[0] is not None
    assert (first.pairs[0].paper, first.pairs[0].ours) == ("49.0", "51.2")
