"""Comparisons of a report in words, for its pages and for a terminal."""

from collections.abc import Mapping, Sequence

from rich.markup import escape

from megatron_codemix.files import Json
from megatron_codemix.obs.tables import WholeTable

Row = Mapping[str, Json]


def difference_words(row: Row) -> str:
    """`-0.0312`."""
    return f"{row['difference']:+.{_digits(row)}f}"


def bounds_words(row: Row) -> str:
    """`[-0.0405, -0.0219]`; nothing where no interval is known."""
    digits = _digits(row)
    return "" if row["low"] is None else f"[{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"


def floor_words(row: Row) -> str:
    """`0.0102`; a dash where no seed is repeated."""
    return "-" if row["floor"] is None else f"{row['floor']:.{_digits(row)}f}"


def over_words(row: Row) -> str:
    """`3 seeds, 144 items`: what the interval is over."""
    seeds = f"{row['seeds']} seed{'s' if row['seeds'] != 1 else ''}"
    return seeds if row["items"] is None else f"{seeds}, {row['items']:,} items"


def why_words(row: Row) -> str:
    """Why nothing can be told, and what would tell; nothing where a verdict stands, or all wait for
    a second seed."""
    if row["reason"] is None or row["p"] is None:
        return ""
    runs = row["runs_to_decide"]
    return str(row["reason"]) + ("" if runs is None else f"; {runs} seeds would decide")


def verdict_table(comparisons: Sequence[Row]) -> WholeTable | None:
    """Variants x measures that are no single task, for a terminal; None where no seed was repeated,
    so that there is nothing but "cannot tell"."""
    shown = [row for row in comparisons if not row["metric"].startswith("task/")]
    if all(row["p"] is None for row in shown):
        return None
    table = WholeTable(title=escape(f"against {shown[0]['baseline']}, at {shown[0]['level']:.0%}"))
    cells = list(dict.fromkeys(row["cell"] for row in shown))
    measures = list(dict.fromkeys(row["metric"] for row in shown))
    table.add_column("variant")
    if len(cells) > 1:
        table.add_column("cell")
    for measure in measures:
        table.add_column(escape(measure.partition("/")[2]))
    words = {(row["cell"], row["variant"], row["metric"]): _verdict_words(row) for row in shown}
    for cell, variant in dict.fromkeys((row["cell"], row["variant"]) for row in shown):
        names = [variant, *([cell] if len(cells) > 1 else [])]
        verdicts = [words.get((cell, variant, measure), "-") for measure in measures]
        table.add_row(*map(escape, names), *verdicts)
    return table


def _verdict_words(row: Row) -> str:
    runs = row["runs_to_decide"]
    return str(row["verdict"]) + ("" if runs is None else f" ({runs} seeds would)")


def _digits(row: Row) -> int:
    """Losses differ by less than scores do."""
    return 4 if row["metric"].startswith("heldout/") else 3
