"""A figure, a table or a section of a paper: its rows, what it measures, and the values it prints.

Three kinds of value, told by `Unit`: a relative change, (x - base) / base, as a share of 1; a score
as a share of 1 (the papers print percent); points as they are printed (BLEU, win rates).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import Field

from megatron_codemix.config.schema import Section

Unit = Literal["change", "score", "points"]

_PERCENT = 100


class Row(Section):
    """One thing that the paper has trained."""

    title: str
    """For people."""
    at: float | None = None
    """Its place on the figure's axis."""


class Axis(Section):
    """What the rows lie along, where they are numbers."""

    label: str
    """With its unit."""


class PaperMeasure(Section):
    """What the paper has measured."""

    title: str
    """For people."""
    ours: str | None = None
    """Measure of our reports that is of the same kind, such as `average/nl`; absent: none is."""
    metric: str | None = None
    """Metric that a task must have been reported by; absent: whichever its suite reports."""
    why: str | None = None
    """Why there is none of ours."""


class Change(Section):
    """A relative change that the paper's text gives."""

    row: str
    """What has changed."""
    against: str | None = None
    """From what; absent: the figure's baseline."""
    model: str | None = None
    """Absent: the figure's only one."""
    against_model: str | None = None
    """Absent: the same."""
    measure: str
    change: float
    """(x - base) / base."""
    printed: str
    """As the paper has it."""
    source: str
    """Where the paper has it."""
    note: str | None = None
    """What a reader must know of this value."""


class Level(Section):
    """A single score that the paper's text gives."""

    row: str
    model: str | None = None
    """Absent: the figure's only one."""
    measure: str
    unit: Literal["score", "points"]
    printed: str
    """As the paper has it: percent, or points."""
    source: str
    note: str | None = None


class Table(Section):
    """Scores that the paper prints as a table."""

    source: str
    unit: Literal["score", "points"]
    measures: list[str]
    """Of the columns."""
    rows: dict[str, list[str]]
    """Row -> what is printed in each column: percent, or points."""
    changes: dict[str, str] = {}
    """Row -> row that its changes are worked out from, by what is printed of both; where that is 0,
    there are none."""


class Figure(Section):
    """One published thing, in a file of its own."""

    title: str
    paper: str
    source: str
    """Section, figure or table."""
    models: Annotated[list[str], Field(min_length=1)]
    """That it has values of, as the paper calls them."""
    axis: Axis | None = None
    baseline: str | None = None
    """Row that changes are told from, where they name no other."""
    rows: dict[str, Row]
    measures: dict[str, PaperMeasure]
    """All that the paper has; this figure need not have values of each."""
    changes: list[Change] = []
    levels: list[Level] = []
    tables: list[Table] = []
    note: str | None = None
    """What is not here, and why."""

    def values(self) -> list["PublishedValue"]:
        """All of them, in the order of the file."""
        changes = [self._change(one) for one in self.changes]
        levels = [
            self._level(
                one.row, one.model, one.measure, one.unit, one.printed, one.source, one.note
            )
            for one in self.levels
        ]
        cells = [
            self._level(row, None, measure, table.unit, printed, table.source, None)
            for table in self.tables
            for row, columns in table.rows.items()
            for measure, printed in zip(table.measures, columns, strict=True)
        ]
        worked_out = [one for table in self.tables for one in self._changes_of(table)]
        return [*changes, *levels, *worked_out, *cells]

    def _change(self, one: Change) -> "PublishedValue":
        model = one.model or self.models[0]
        against = one.against or self.baseline
        assert against is not None, f"{self.title}: {one.row} is compared with nothing"
        return PublishedValue(
            row=one.row,
            model=model,
            against=(against, one.against_model or model),
            measure=one.measure,
            unit="change",
            value=one.change,
            printed=one.printed,
            source=one.source,
            note=one.note,
        )

    def _changes_of(self, table: Table) -> Iterator["PublishedValue"]:
        for row, base in table.changes.items():
            columns = zip(table.measures, table.rows[row], table.rows[base], strict=True)
            for measure, printed, from_ in columns:
                if Decimal(from_) != 0:
                    yield PublishedValue(
                        row=row,
                        model=self.models[0],
                        against=(base, self.models[0]),
                        measure=measure,
                        unit="change",
                        value=float(Decimal(printed) / Decimal(from_) - 1),
                        printed=f"{printed} from {from_}",
                        source=f"worked out from {table.source}",
                        note=None,
                    )

    def _level(
        self,
        row: str,
        model: str | None,
        measure: str,
        unit: Unit,
        printed: str,
        source: str,
        note: str | None,
    ) -> "PublishedValue":
        number = Decimal(printed.rstrip("%"))
        return PublishedValue(
            row=row,
            model=model or self.models[0],
            against=None,
            measure=measure,
            unit=unit,
            value=float(number / _PERCENT if unit == "score" else number),
            printed=printed,
            source=source,
            note=note,
        )


@dataclass(frozen=True, kw_only=True)
class PublishedValue:
    """One number of a figure."""

    row: str
    model: str
    against: tuple[str, str] | None
    """Row and model that a change is told from; None of scores and points."""
    measure: str
    unit: Unit
    value: float
    printed: str
    source: str
    note: str | None
