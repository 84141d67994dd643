"""`published` of a report: what papers print of the rows that this study repeats, beside what it
has measured of the same kind.

Like stands beside like: a relative change beside the change from the same row, a score beside a
score over the same tasks. Where nothing of ours is of the paper's kind, a row says why.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from megatron_codemix.files import Json
from megatron_codemix.report.collect import StudyRecords
from megatron_codemix.report.measures import LOWER_IS_BETTER, Measured
from megatron_codemix.report.ours import NO_TASKS, Finding, Ours, Place, papers_tasks
from megatron_codemix.study.published.catalog import read_figure
from megatron_codemix.study.published.check import compared_cells
from megatron_codemix.study.published.figure import Figure, PublishedValue, Unit
from megatron_codemix.study.spec import RepeatsSpec, StudySpec

_UNITS: tuple[Unit, ...] = ("change", "score", "points")


def published(records: StudyRecords, measured: Mapping[str, Measured]) -> list[dict[str, Json]]:
    """For each figure that the study names, each measure and each kind of value."""
    spec = records.tree.spec
    ours = Ours(measured, has_tasks=spec.evaluation.tasks is not None)
    return [
        entry
        for name, repeats in spec.published.items()
        for entry in _Repeated(spec, name, read_figure(name), repeats, ours).entries()
    ]


@dataclass(frozen=True)
class _Repeated:
    """A figure, and what of the study repeats it."""

    spec: StudySpec
    name: str
    figure: Figure
    repeats: RepeatsSpec
    ours: Ours

    def entries(self) -> Iterator[dict[str, Json]]:
        values = self.figure.values()
        for (measure, about), unit in product(self.figure.measures.items(), _UNITS):
            found = [one for one in values if (one.measure, one.unit) == (measure, unit)]
            if found:
                rows = [row for value in found for row in self._rows(value)]
                yield {
                    "figure": self.name,
                    "title": self.figure.title,
                    "paper": self.figure.paper,
                    "source": self.figure.source,
                    "measure": about.ours or measure,
                    "measure_title": about.title,
                    "unit": unit,
                    "lower_is_better": about.metric in LOWER_IS_BETTER,
                    "axis": self._axis(),
                    "rows": rows,
                    "note": self._note(measure, rows),
                }

    def _axis(self) -> dict[str, Json] | None:
        if self.figure.axis is None:
            return None
        places = {name: row.at for name, row in self.figure.rows.items() if row.at is not None}
        return {"label": self.figure.axis.label, "values": places}

    def _rows(self, value: PublishedValue) -> Iterator[dict[str, Json]]:
        """One for each point of the matrix that has the value's model."""
        cells = self._cells(value.model)
        if value.against is None or value.against[1] == value.model:
            pairs = [(cell, cell) for cell in cells]
        else:
            pairs = list(product(cells, self._cells(value.against[1])))
        for cell, base_cell in pairs:
            yield self._row(value, cell, base_cell)

    def _cells(self, model: str) -> Sequence[str | None]:
        """Points of the matrix that are this model; [None] where none is."""
        if not self.repeats.cells:
            return compared_cells(self.spec)
        found = [cell for cell, one in self.repeats.cells.items() if one == model]
        return found or [None]

    def _row(
        self, value: PublishedValue, cell: str | None, base_cell: str | None
    ) -> dict[str, Json]:
        finding = self._finding(value, cell, base_cell)
        against = None
        if value.against is not None:
            row, model = value.against
            against = self._place(row, model, base_cell)
        return {
            **self._place(value.row, value.model, cell),
            "at": self.figure.rows[value.row].at,
            "against": against,
            "paper": {
                "value": value.value,
                "printed": value.printed,
                "source": value.source,
                "note": value.note,
            },
            "ours": finding.ours,
            "why": finding.why,
        }

    def _place(self, row: str, model: str, cell: str | None) -> dict[str, Json]:
        return {
            "row": row,
            "title": self.figure.rows[row].title,
            "model": model,
            "variant": self._variant(row),
            "cell": cell,
        }

    def _variant(self, row: str) -> str | None:
        return next((name for name, one in self.repeats.rows.items() if one == row), None)

    def _finding(self, value: PublishedValue, cell: str | None, base_cell: str | None) -> Finding:
        about = self.figure.measures[value.measure]
        if about.ours is None:
            return Finding(None, about.why)
        rows = [(value.row, value.model, cell)]
        if value.against is not None:
            rows.append((*value.against, base_cell))
        places = []
        for row, model, at in rows:
            variant = self._variant(row)
            if variant is None:
                return Finding(None, f"no variant of this study is {self.figure.rows[row].title}")
            if at is None:
                return Finding(None, f"no point of this study's matrix is the model of {model}")
            places.append(Place(variant, at))
        if len(places) == 2:
            return self.ours.change(about, places[0], places[1])
        return self.ours.score(about, places[0])

    def _note(self, measure: str, rows: Sequence[Mapping[str, Json]]) -> str | None:
        """What a reader must know of all rows."""
        about = self.figure.measures[measure]
        sentences = []
        if about.ours is None:
            sentences.append(f"Nothing of ours is beside it: {about.why}.")
        elif not self.ours.has_tasks:
            sentences.append(_sentence(NO_TASKS))
        else:
            sentences += _other_tasks(about.ours, rows)
        if self.spec.token_scale != 1 and any(row["ours"] is not None for row in rows):
            scale = float(self.spec.token_scale)
            sentences.append(f"This study's budgets are those of its file times {scale:g}.")
        sentences += [] if self.figure.note is None else [self.figure.note]
        return " ".join(sentences) or None


def _other_tasks(measure: str, rows: Sequence[Mapping[str, Json]]) -> list[str]:
    """Where ours is an average over fewer tasks than the paper's."""
    found = next((row["ours"]["tasks"] for row in rows if row["ours"] is not None), None)
    of_paper = papers_tasks(measure)
    lacking = [] if found is None else [task for task in of_paper if task not in found]
    if not lacking:
        return []
    there = len(of_paper) - len(lacking)
    return [
        f"Ours is over {there} of the paper's {len(of_paper)} tasks, without {', '.join(lacking)}; "
        "the paper leaves out tasks as well, and does not say which."
    ]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
