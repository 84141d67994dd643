"""Figures by axis: which there are, and where their points stand."""

from typing import Any

import pytest

from megatron_codemix.report.page.axes import axis_figures, numbered
from megatron_codemix.report.page.summary import SummaryRow, summary_rows
from tests.helpers.report_examples import paper_size_report

Cells = dict[str, dict[str, Any]]


@pytest.mark.parametrize(
    ("name", "template", "number"),
    [
        ("25% code", "#% code", 25),
        ("no code", "#% code", 0),
        ("1 - sqrt, 20% code", "1 - sqrt, #% code", 20),
        ("balanced, 50B text", "balanced, # text", 50e9),
        ("470m", "#", 470e6),
        ("2.8b", "#", 2.8e9),
        ("code100", "code#", 100),
        ("13 mixed", "# mixed", 13),
    ],
)
def test_names_with_numbers(name: str, template: str, number: float) -> None:
    found = numbered(name)
    assert found is not None
    assert (found.template, found.number) == (template, number)


def test_names_without_numbers() -> None:
    assert numbered("balanced->text") is None


def rows_of(names: dict[str, float], cells: Cells) -> tuple[dict[str, Any], list[SummaryRow]]:
    """Held-out code of each variant, the same in all cells but for the cell's place."""
    report = {
        "baseline": next(iter(names)),
        "cells": cells,
        "comparisons": [],
        "phases": [{"cell": cell, "name": "p", "sources": {}} for cell in cells],
        "variants": [
            {
                "name": name, "cell": cell, "phases": ["p"], "tokens": 1, "tasks": {},
                "averages": {},
                "heldout": {
                    "code": {"bits_per_byte": value + place, "low": value - 1, "high": value + 1}
                },
            }
            for place, cell in enumerate(cells)
            for name, value in names.items()
        ],
    }  # fmt: skip
    return report, summary_rows(report)


def test_proportions_are_an_axis() -> None:
    shares = {f"{share}% code": 3 - share / 100 for share in (0, 25, 50, 75, 90, 100)}
    [figures] = axis_figures(*rows_of(shares, {"single": {"group": "single", "point": {}}}))
    assert figures.label == "code, %"
    [chart] = figures.charts
    [line] = chart.series
    assert len(line.marks) == 6
    # Linear on both axes: equal steps of x and y are equal distances.
    first, second, third, fourth, fifth, sixth = line.marks
    assert second.x - first.x == pytest.approx(fourth.x - third.x, abs=0.15)
    assert (fifth.x - fourth.x) / (fourth.x - third.x) == pytest.approx(15 / 25, abs=0.01)
    assert first.y < sixth.y, "lower values stand lower"
    assert first.low is not None
    assert first.high is not None
    assert first.high < first.y < first.low
    assert [word for _, word in chart.x_ticks] == ["0", "25", "50", "75", "100"]


def test_families_of_variants_are_lines_and_the_baseline_a_level() -> None:
    names = {"text": 3.0}
    names |= {
        f"{kind} {share}%": 2.0 for kind in ("competitive", "additive") for share in (10, 20, 30)
    }
    [figures] = axis_figures(*rows_of(names, {"single": {"group": "single", "point": {}}}))
    assert figures.label == "number in the variant's name, %"
    names_of_lines = [line.name for line in figures.charts[0].series]
    assert names_of_lines == ["competitive", "additive", "text (baseline)"]
    level = figures.charts[0].series[-1]
    assert level.marks == []
    assert len(level.lines) == 1


@pytest.mark.parametrize("first", ["0B text", "10B text"])
def test_counts_in_names_keep_their_unit(first: str) -> None:
    names = {f"code, {one}": 1.0 for one in (first, "50B text", "400B text")}
    [figures] = axis_figures(*rows_of(names, {"single": {"group": "single", "point": {}}}))
    assert figures.label == "text"
    [chart] = figures.charts
    is_log = first == "10B text"
    assert [word for _, word in chart.x_ticks] == ["10B" if is_log else "0", "50B", "400B"]
    left, middle, right = (mark.x for mark in chart.series[0].marks)
    # ln(50 / 10) of ln(400 / 10), or 50 of 400.
    share = 1.6094 / 3.6889 if is_log else 50 / 400
    assert (middle - left) / (right - left) == pytest.approx(share, abs=0.002)


def test_two_variants_are_no_axis() -> None:
    cells = {"single": {"group": "single", "point": {}}}
    assert axis_figures(*rows_of({"no cooldown": 1.0, "cooldown with 20% code": 2.0}, cells)) == []


def test_sizes_are_logarithmic_and_seeds_are_dots() -> None:
    cells = {
        f"{size}.seed{seed}": {"group": size, "point": {"size": size}}
        for size in ("470m", "1.4b", "2.8b")
        for seed in ("1", "2")
    }
    [figures] = axis_figures(*rows_of({"text": 1.0, "code": 2.0}, cells))
    assert figures.label == "size"
    text = figures.charts[0].series[0]
    small, middle, large = (mark.x for mark in text.marks)
    # ln(1.4 / 0.47) and ln(2.8 / 1.4)
    assert (middle - small) / (large - middle) == pytest.approx(1.0914 / 0.6931, abs=0.01)
    assert len(text.scattered) == 6


def test_an_axis_without_numbers_is_even() -> None:
    cells = {name: {"group": name, "point": {"size": name}} for name in ("tiny", "wide", "deep")}
    [figures] = axis_figures(*rows_of({"text": 1.0}, cells))
    [line] = figures.charts[0].series
    first, second, third = (mark.x for mark in line.marks)
    assert second - first == pytest.approx(third - second, abs=0.15)
    assert [word for _, word in figures.charts[0].x_ticks] == ["tiny", "wide", "deep"]


def test_a_study_of_the_papers_size_has_its_sizes() -> None:
    report = paper_size_report()
    [figures] = axis_figures(report, summary_rows(report))
    assert figures.label == "size"
    assert len(figures.charts) == 5 + 3
    assert all(len(chart.series) == 10 for chart in figures.charts)
    looks = [(line.look, line.mark) for line in figures.charts[0].series]
    assert len(set(looks)) == 10, "two lines look the same"
