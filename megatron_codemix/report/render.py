"""The report as files: `report.json`, `report.md`, `report.html` that needs no other file or
network, and tables in `report/*.csv`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from megatron_codemix.files import Json, write_text
from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.report.collect import collect
from megatron_codemix.report.comparison_words import (
    bounds_words,
    difference_words,
    floor_words,
    over_words,
    verdict_table,
    why_words,
)
from megatron_codemix.report.csv_files import write_tables
from megatron_codemix.report.environment import (
    agreed_words,
    hours_words,
    page_environment,
    percent,
    score_words,
)
from megatron_codemix.report.page.html import render_html
from megatron_codemix.report.page.losses import loss_charts
from megatron_codemix.report.page.published import (
    cell_words,
    entry_remarks,
    measured_words,
    paper_words,
    place_words,
)
from megatron_codemix.report.page.summary import AVERAGES
from megatron_codemix.report.tables import Report, build_report
from megatron_codemix.report.warnings import layout_words
from megatron_codemix.study.tree import StudyTree


@dataclass(frozen=True)
class WrittenReport:
    """A report and where it lies."""

    report: Report
    html: Path
    markdown: Path
    json: Path
    tables: Path
    """Folder of the CSV files."""


def write_report(tree: StudyTree, out: Path) -> WrittenReport:
    """Writes the files into `out`, from the run directories there. Raises RunError if nothing was
    run."""
    records = collect(tree, out)
    report = build_report(records)
    html, markdown, as_json = (out / f"report.{suffix}" for suffix in ("html", "md", "json"))
    written = WrittenReport(report, html, markdown, as_json, tables=out / "report")
    write_text(written.html, render_html(report, loss_charts(records, report["cells"])))
    write_text(written.markdown, render_markdown(report))
    write_tables(report, tree, written.tables)
    # The last one: by its date a study is known to be reported. In insertion order, which is the
    # study's order, not sorted: the file is read by people too.
    write_text(written.json, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return written


def render_markdown(report: Report) -> str:
    """The tables as text, for a repository or a message."""
    environment = page_environment(is_html=False)
    environment.filters |= {
        "percent": percent,
        "hours": hours_words,
        "layout": layout_words,
        "measured": measured_words,
        "place": place_words,
        "published": paper_words,
        "agreed": agreed_words,
        "remarks": entry_remarks,
        "cell": cell_words,
        "score": score_words,
        "bounds": bounds_words,
        "difference": difference_words,
        "floor": floor_words,
        "over": over_words,
        "why": why_words,
    }
    return environment.get_template("report.md.j2").render(
        report=report,
        sources=held_out_sources(report),
        tasks=task_names(report),
        averages=average_names(report),
        has_cells=_has_cells(report),
        has_seed_cells=any(row["cell"] for row in report["seeds"]),
        has_compared_cells=len({row["cell"] for row in report["comparisons"]}) > 1,
    )


def terminal_table(report: Report) -> WholeTable:
    """The main table for a terminal: variants x held-out sources."""
    table = WholeTable(
        title=escape(
            f"{report['study']}: held-out bits per byte (change against {report['baseline']})"
        )
    )
    table.add_column("variant")
    has_cells = _has_cells(report)
    if has_cells:
        table.add_column("cell")
    table.add_column("tokens", justify="right")
    sources = held_out_sources(report)
    for source in sources:
        table.add_column(escape(source), justify="right")
    for row in report["variants"]:
        is_baseline = row["name"] == report["baseline"]
        values = [
            _cell_words(row["heldout"].get(source), is_baseline=is_baseline) for source in sources
        ]
        names = [row["name"], *([row["cell"]] if has_cells else [])]
        table.add_row(*map(escape, names), f"{row['tokens']:,}", *values)
    return table


def print_report(written: WrittenReport, console: Console) -> None:
    """The table, the verdicts, the warnings and the place of the page."""
    console.print(terminal_table(written.report))
    verdicts = verdict_table(written.report["comparisons"])
    if verdicts is not None:
        console.print(verdicts)
    for warning in written.report["warnings"]:
        console.print(f"note: {warning}", markup=False, highlight=False)
    console.print(f"report: {written.html}", markup=False, highlight=False, soft_wrap=True)


def held_out_sources(report: Report) -> list[str]:
    """Sources that some variant was evaluated on."""
    return sorted({source for row in report["variants"] for source in row["heldout"]})


def task_names(report: Report) -> list[str]:
    """Tasks that some variant was evaluated on."""
    return sorted({name for row in report["variants"] for name in row["tasks"]})


def average_names(report: Report) -> list[str]:
    """Averages that every variant has, as the first paper orders them."""
    rows = [row["averages"] for row in report["variants"]]
    return [name for name in AVERAGES if rows and all(name in row for row in rows)]


def _cell_words(value: Mapping[str, Json] | None, *, is_baseline: bool) -> str:
    if value is None:
        return "-"
    words = f"{value['bits_per_byte']:.3f}"
    return words if is_baseline else f"{words} ({percent(value['relative'])})"


def _has_cells(report: Report) -> bool:
    return len({phase["cell"] for phase in report["phases"]}) > 1
