"""Rows over seeds, against the report's own numbers."""

import statistics

import pytest

from megatron_codemix.report.page.summary import cell_titles, metrics_of, summary_rows
from tests.helpers.report_examples import SIZES, VARIANTS, paper_size_report


def test_seeds_of_a_variant_are_one_row() -> None:
    report = paper_size_report()
    rows = summary_rows(report)
    assert [(row.cell, row.variant) for row in rows] == [(s, v) for s in SIZES for v in VARIANTS]
    row = next(row for row in rows if (row.cell, row.variant) == ("2.8b", "code->text"))
    runs = [
        one["heldout"]["code"]["bits_per_byte"]
        for one in report["variants"]
        if one["name"] == "code->text" and one["cell"].startswith("2.8b")
    ]
    value = row.values["heldout/code"]
    assert (row.num_runs, value.runs) == (3, runs)
    assert value.mean == pytest.approx(statistics.fmean(runs))
    assert value.deviation == pytest.approx(statistics.stdev(runs))
    assert value.low is None, "an interval of one run is not that of three"
    assert value.comparison is not None
    assert value.comparison["value"] == pytest.approx(value.mean)


def test_one_run_keeps_its_interval() -> None:
    row = summary_rows(paper_size_report(seeds=("1",)))[0]
    value = row.values["heldout/text"]
    assert value.deviation is None
    assert value.low is not None
    assert value.low < value.mean < (value.high or 0)
    assert row.values["average/total"].error is not None


def test_averages_stand_as_in_the_paper() -> None:
    rows = summary_rows(paper_size_report())
    order = ("reasoning", "knowledge", "nl", "code", "total")
    assert metrics_of(rows, "average") == [f"average/{name}" for name in order]
    assert metrics_of(rows, "heldout") == ["heldout/code", "heldout/markup", "heldout/text"]


def test_points_of_the_matrix_have_names_for_people() -> None:
    cells = {
        "seed1": {"group": "single", "point": {}},
        "num_layers2.seed1": {"group": "2", "point": {"model.num_layers": "2"}},
        "470m": {"group": "470m", "point": {"size": "470m"}},
    }
    titles = cell_titles({"cells": cells})
    assert titles == {"single": "", "2": "num_layers 2", "470m": "470m"}
