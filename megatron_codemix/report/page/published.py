"""Published values beside ours, one table for each figure or table of a paper."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mode

from megatron_codemix.files import Json
from megatron_codemix.report.page.chart import Chart, Point, Series, draw
from megatron_codemix.report.page.verdicts import signed_percent

Row = Mapping[str, Json]

_MEASURES_IN_TABLE = 3
"""Each has two columns, and four pairs are wider than a printed page."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A published value and ours."""

    paper: str
    note: str | None
    ours: str | None
    bounds: str
    over: str


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """A row of the paper's, once for each point of the matrix that has a variant for it."""

    title: str
    cell: str | None
    variant: str | None
    pairs: list[Pair | None]
    """One for each measure; None where the paper has no value."""


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """Some measures of one figure."""

    measures: list[str]
    rows: list[PublishedRow]
    has_ours: bool


@dataclass(frozen=True, kw_only=True)
class PublishedFigure:
    """What one figure or table of a paper has, and what we have of it."""

    title: str
    paper: str
    sources: list[str]
    against: str | None
    """What changes refer to, where all refer to the same."""
    tables: list[PublishedTable]
    charts: list[Chart]
    remarks: list[str]
    """To single values of the paper, to all rows, and why there is nothing of ours; each once."""


def published_figures(entries: Sequence[Row], titles: Mapping[str, str]) -> list[PublishedFigure]:
    """entries: `published` of the report. titles: of points of the matrix."""
    gathered: dict[str, list[Row]] = {}
    for entry in entries:
        gathered.setdefault(entry["figure"], []).append(entry)
    return [_figure(found, titles) for found in gathered.values()]


def _figure(entries: Sequence[Row], titles: Mapping[str, str]) -> PublishedFigure:
    rows = [row for entry in entries for row in entry["rows"]]
    bases = [row["against"] for row in rows if row["against"]]
    against = list(dict.fromkeys(place_words(base, rows) for base in bases))
    tables = [
        _table(
            found[start : start + _MEASURES_IN_TABLE],
            rows,
            titles,
            names_baseline=len(against) > 1,
        )
        for found in _by_unit(entries)
        for start in range(0, len(found), _MEASURES_IN_TABLE)
    ]
    charts = [_chart(entry, titles) for entry in entries]
    return PublishedFigure(
        title=entries[0]["title"],
        paper=entries[0]["paper"],
        sources=list(dict.fromkeys(entry["source"] for entry in entries)),
        against=against[0] if len(against) == 1 else None,
        tables=tables,
        charts=[chart for chart in charts if chart is not None],
        remarks=_remarks(entries, rows, names_baseline=len(against) > 1),
    )


def _by_unit(entries: Sequence[Row]) -> list[list[Row]]:
    """Changes and scores have other rows, so that they stand in tables of their own."""
    units = dict.fromkeys(entry["unit"] for entry in entries)
    return [[entry for entry in entries if entry["unit"] == unit] for unit in units]


def place_words(place: Row, rows: Sequence[Row]) -> str:
    """`balanced->text, 2.8B`: a row of a figure, or what a row is against, with its model where
    `rows` have several."""
    places = [*rows, *(row["against"] for row in rows if row["against"])]
    has_models = len({place["model"] for place in places}) > 1
    return f"{place['title']}, {place['model']}" if has_models else str(place["title"])


def _row_title(row: Row, rows: Sequence[Row], *, names_baseline: bool) -> str:
    """rows: of the figure."""
    title = place_words(row, rows)
    if names_baseline and row["against"]:
        title += f" against {place_words(row['against'], rows)}"
    return title


def cell_words(row: Row, titles: Mapping[str, str]) -> str | None:
    """`2.8b against 470m`: the point of the matrix, and that of what a change is from where it is
    another one. None where the study has no point for the row."""
    cell = row["cell"]
    if cell is None:
        return None
    words = titles.get(cell, cell)
    base = row["against"] and row["against"]["cell"]
    return words if base in (None, cell) else f"{words} against {titles.get(base, base)}"


def _remarks(entries: Sequence[Row], rows: Sequence[Row], *, names_baseline: bool) -> list[str]:
    """A value stands once for each point of the matrix, and has one remark."""
    notes = list(dict.fromkeys(entry["note"] for entry in entries if entry["note"]))
    missing = dict.fromkeys(row["why"] for row in rows if row["why"])
    to_values = [
        f"* {_row_title(row, rows, names_baseline=names_baseline)}, {entry['measure_title']}: "
        f"{row['paper']['note']}"
        for entry in entries
        for row in entry["rows"]
        if row["paper"]["note"]
    ]
    return [
        *dict.fromkeys(to_values),
        *notes,
        # A note may say the same of all rows.
        *(why for why in missing if not any(why.lower() in note.lower() for note in notes)),
    ]


def entry_remarks(entry: Row) -> list[str]:
    """Of a table that has one measure of a figure, and rows with what each is against."""
    return _remarks([entry], entry["rows"], names_baseline=True)


def _table(
    entries: Sequence[Row],
    all_rows: Sequence[Row],
    titles: Mapping[str, str],
    *,
    names_baseline: bool,
) -> PublishedTable:
    """Rows that several measures have are one row.

    entries: of the table. all_rows: of the figure. titles: of points of the matrix.
    """
    found: dict[tuple[str, str | None], dict[int, Row]] = {}
    for number, entry in enumerate(entries):
        for row in entry["rows"]:
            title = _row_title(row, all_rows, names_baseline=names_baseline)
            found.setdefault((title, cell_words(row, titles)), {})[number] = row
    rows = [
        PublishedRow(
            title=title,
            cell=cell,
            variant=next(iter(pairs.values()))["variant"],
            pairs=[
                _pair(pairs[number], entry) if number in pairs else None
                for number, entry in enumerate(entries)
            ],
        )
        for (title, cell), pairs in found.items()
    ]
    return PublishedTable(
        measures=[_measure_title(entry) for entry in entries],
        rows=rows,
        has_ours=any(pair and pair.ours for row in rows for pair in row.pairs),
    )


def _measure_title(entry: Row) -> str:
    kind = {"change": "change", "score": "%"}.get(entry["unit"])
    return str(entry["measure_title"]) + (f", {kind}" if kind else "")


def _pair(row: Row, entry: Row) -> Pair:
    paper, ours = row["paper"], row["ours"]
    return Pair(
        paper=paper_words(paper, entry["unit"]),
        note=paper["note"],
        ours=None if ours is None else measured_words(ours["value"], entry["unit"]),
        bounds=_bounds(ours, entry["unit"]),
        over="" if ours is None else ours["over"],
    )


def paper_words(paper: Row, unit: str) -> str:
    """Changes with their sign, and as they are printed where that is another number."""
    printed = str(paper["printed"])
    if unit != "change":
        return printed
    words = measured_words(paper["value"], unit)
    digits = printed.strip("+-\u2212 ").removesuffix("%").strip()
    try:
        is_same = math.isclose(float(digits), 100 * abs(paper["value"]), abs_tol=0.05)
    except ValueError:
        is_same = False
    return words if is_same else f"{words} (\u201c{printed}\u201d)"


def _bounds(ours: Row | None, unit: str) -> str:
    if ours is None or ours["low"] is None:
        return ""
    return f"[{measured_words(ours['low'], unit)}, {measured_words(ours['high'], unit)}]"


def measured_words(value: float, unit: str) -> str:
    """As papers print it. unit: `change` and `score` are shares of 1, `points` stay as they are."""
    if unit == "change":
        return signed_percent(value)
    return f"{100 * value:.1f}" if unit == "score" else f"{value:.2f}"


def _chart(entry: Row, titles: Mapping[str, str]) -> Chart | None:
    """Where the paper's rows stand on an axis, and we have a value of at least one of them."""
    placed = _comparable([row for row in entry["rows"] if row["at"] is not None])
    if entry["axis"] is None or all(row["ours"] is None for row in placed):
        return None
    factor = 1.0 if entry["unit"] == "points" else 100.0
    published = {row["at"]: Point(x=row["at"], y=factor * row["paper"]["value"]) for row in placed}
    series = [Series(name="published", number=0, points=[published[x] for x in sorted(published)])]
    cells = list(dict.fromkeys(row["cell"] for row in placed if row["ours"]))
    for number, cell in enumerate(cells, start=1):
        ours = [row for row in placed if row["cell"] == cell and row["ours"]]
        words = titles.get(cell, cell)
        series.append(
            Series(
                name=f"here, {words}" if words else "here",
                number=number,
                points=[_point(row, factor) for row in sorted(ours, key=lambda row: row["at"])],
            )
        )
    return draw(
        series,
        title=str(entry["measure_title"]),
        x_label=entry["axis"]["label"],
        y_label={"change": "change, %", "score": "score, %"}.get(entry["unit"], "points"),
    )


def _comparable(rows: Sequence[Row]) -> list[Row]:
    """Those whose changes are from the same row: the one that most are from."""
    bases = [row["against"] and row["against"]["row"] for row in rows]
    return [row for row, base in zip(rows, bases, strict=True) if base == mode(bases)]


def _point(row: Row, factor: float) -> Point:
    ours = row["ours"]
    return Point(
        x=row["at"],
        y=factor * ours["value"],
        low=None if ours["low"] is None else factor * ours["low"],
        high=None if ours["high"] is None else factor * ours["high"],
    )
