"""The page as HTML: one file that needs no other file, no script and no network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from megatron_codemix.files import Json
from megatron_codemix.report.environment import (
    agreed_words,
    hours_words,
    linked,
    page_environment,
    short_count,
)
from megatron_codemix.report.page.axes import axis_figures
from megatron_codemix.report.page.chart import Chart
from megatron_codemix.report.page.costs import variant_costs
from megatron_codemix.report.page.findings import find
from megatron_codemix.report.page.forest import forests
from megatron_codemix.report.page.published import published_figures
from megatron_codemix.report.page.summary import (
    SummaryRow,
    cell_titles,
    metrics_of,
    summary_rows,
)
from megatron_codemix.report.page.verdicts import GLYPHS, change_words, verdict_class

_COLUMNS = 5
"""Of values in a table: more would be cut on paper."""

_MOST_TASK_ROWS = 60
"""Of differences by single tasks, of which a study of the paper's size has hundreds."""


@dataclass(frozen=True, kw_only=True)
class CellRows:
    """Variants at one point of the matrix."""

    title: str
    rows: list[SummaryRow]


def render_html(report: Mapping[str, Json], losses: Sequence[Chart]) -> str:
    """report: `report.json`. losses: curves, which are not in it."""
    environment = page_environment(is_html=True)
    environment.filters |= {
        "agreed": agreed_words,
        "change": change_words,
        "chunks": _chunks,
        "class_of": verdict_class,
        "hours": hours_words,
        "linked": linked,
        "short": short_count,
    }
    return environment.get_template("report.html.j2").render(**_context(report, losses))


def _context(report: Mapping[str, Json], losses: Sequence[Chart]) -> dict[str, Any]:
    """Any: whatever the templates take."""
    rows, titles = summary_rows(report), cell_titles(report)
    task_rows = [row for row in report["comparisons"] if row["metric"].startswith("task/")]
    kinds = ["average", "heldout"] + (["task"] if len(task_rows) <= _MOST_TASK_ROWS else [])
    metrics = {kind: metrics_of(rows, kind) for kind in ("average", "heldout", "task")}
    num_seeds = max((row.num_runs for row in rows), default=0)
    runs_of_scores = (len(value.runs) for row in rows for value in row.values.values())
    return {
        "report": report,
        "rows": rows,
        "cells": _by_cell(rows, titles),
        "titles": titles,
        "num_seeds": num_seeds,
        "has_all_seeds": len({row.num_runs for row in rows}) == 1,
        "seeds_of_scores": sorted({num_seeds, *runs_of_scores}),
        "averages": metrics["average"],
        "heldout": metrics["heldout"],
        "tasks": metrics["task"],
        "sources": _held_out_sources(report),
        "findings": find(report, rows),
        "forests": forests(report["comparisons"], [one for kind in kinds for one in metrics[kind]]),
        "has_task_forests": "task" in kinds,
        "axes": axis_figures(report, rows),
        "losses": losses,
        "published": published_figures(report["published"], titles),
        "not_run": report["not_run"],
        "cost": report["cost"],
        "variant_costs": variant_costs(report["cost"], report["cells"]),
        "layouts": report["layouts"],
        "has_cells": len({phase["cell"] for phase in report["phases"]}) > 1,
        "glyphs": GLYPHS,
        "num_columns": _COLUMNS,
    }


def _by_cell(rows: Sequence[SummaryRow], titles: Mapping[str, str]) -> list[CellRows]:
    return [
        CellRows(title=titles[cell], rows=[row for row in rows if row.cell == cell])
        for cell in dict.fromkeys(row.cell for row in rows)
    ]


def _held_out_sources(report: Mapping[str, Json]) -> list[str]:
    """That some phase was evaluated on."""
    return sorted({source for phase in report["phases"] for source in phase["heldout"]})


def _chunks(values: Sequence[str], most: int) -> list[Sequence[str]]:
    """Of nearly equal length, at most `most` long."""
    number = -(-len(values) // most)
    return [
        values[len(values) * i // number : len(values) * (i + 1) // number] for i in range(number)
    ]
