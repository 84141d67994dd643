"""The report as files: `report.json`, `report.md`, and `report.html` that needs no other file or
network."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megatron_codemix.files import Json, write_text
from megatron_codemix.report.collect import collect
from megatron_codemix.report.comparison_words import (
    bounds_words,
    difference_words,
    floor_words,
    over_words,
    range_words,
    verdict_table,
    why_words,
)
from megatron_codemix.report.figures import Picture, draw_figures
from megatron_codemix.report.tables import Report, build_report
from megatron_codemix.report.warnings import layout_words
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_duration


@dataclass(frozen=True)
class WrittenReport:
    """A report and where it lies."""

    report: Report
    html: Path
    markdown: Path
    json: Path


def write_report(tree: StudyTree, out: Path) -> WrittenReport:
    """Writes the three files into `out`, from the run directories there. Raises RunError if nothing
    was run."""
    records = collect(tree, out)
    report = build_report(records)
    written = WrittenReport(report, out / "report.html", out / "report.md", out / "report.json")
    write_text(written.html, render_html(report, draw_figures(records, report)))
    write_text(written.markdown, render_markdown(report))
    # Insertion order, which is the study's order, not sorted: the file is read by people too.
    write_text(written.json, json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    return written


def render_html(report: Report, pictures: list[Picture]) -> str:
    """One page with its style and figures inside."""
    return _render("report.html.j2", report, pictures=pictures, is_html=True)


def render_markdown(report: Report) -> str:
    """The tables as text, for a repository or a message."""
    return _render("report.md.j2", report, pictures=[], is_html=False)


def terminal_table(report: Report) -> Table:
    """The main table for a terminal: variants x held-out sources."""
    table = Table(
        title=escape(
            f"{report['study']}: held-out bits per byte (change against {report['baseline']})"
        )
    )
    table.add_column("variant", overflow="fold")
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
    order = ("reasoning", "knowledge", "nl", "code", "total")
    return [name for name in order if rows and all(name in row for row in rows)]


def score_words(score: Mapping[str, Json] | None) -> str:
    """`0.431 \u00b1 0.010`; a dash where there is no value."""
    if score is None or score["value"] is None:
        return "-"
    error = score["stderr"]
    return f"{score['value']:.3f}" + ("" if error is None else f" \u00b1 {error:.3f}")


def percent(change: float | None) -> str:
    """`-1.2%`, with its sign; a dash where there is nothing to compare with."""
    return "-" if change is None else f"{100 * change:+.1f}%"


def _cell_words(value: Mapping[str, Json] | None, *, is_baseline: bool) -> str:
    if value is None:
        return "-"
    words = f"{value['bits_per_byte']:.3f}"
    return words if is_baseline else f"{words} ({percent(value['relative'])})"


def _has_cells(report: Report) -> bool:
    return len({phase["cell"] for phase in report["phases"]}) > 1


def _render(template: str, report: Report, *, pictures: list[Picture], is_html: bool) -> str:
    environment = page_environment(is_html=is_html)
    environment.filters |= {
        "percent": percent,
        "layout": layout_words,
        "agreed": _agreed_words,
        "score": score_words,
        "bounds": bounds_words,
        "difference": difference_words,
        "floor": floor_words,
        "over": over_words,
        "range": range_words,
        "why": why_words,
    }
    return environment.get_template(template).render(
        report=report,
        pictures=pictures,
        sources=held_out_sources(report),
        tasks=task_names(report),
        averages=average_names(report),
        has_cells=_has_cells(report),
        has_seed_cells=any(row["cell"] for row in report["seeds"]),
        has_compared_cells=len({row["cell"] for row in report["comparisons"]}) > 1,
    )


def page_environment(*, is_html: bool) -> Environment:
    """For the templates of this package; what they are given is escaped."""
    environment = Environment(
        loader=PackageLoader(__package__),
        autoescape=is_html,
        finalize=None if is_html else _markdown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": grouped, "duration": format_duration, "code": with_code}
    return environment


def _markdown(value: Any) -> Any:  # Any: whatever a template puts out
    """A name must not end the cell of a table, or the table."""
    if not isinstance(value, str):
        return value
    return " ".join(value.splitlines()).replace("|", "\\|")


def with_code(text: str) -> Markup:
    """For HTML: what stands between backticks is code; all of it is escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # one of them has no partner
        return Markup.escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else piece
        for number, piece in enumerate(pieces)
    )


def _agreed_words(value: str | list[str] | None) -> str:
    """The value that all phases share, or all there are."""
    if value is None:
        return "not recorded"
    return value if isinstance(value, str) else ", ".join(value)


def grouped(number: float | None) -> str:
    """`12,345`; a dash where there is no number."""
    return "-" if number is None else f"{number:,.0f}"
