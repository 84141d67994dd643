"""What this study has measured of the kind that a paper has published: changes and scores with
intervals, or why there are none."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, fmean, stdev

from megatron_codemix.files import Json
from megatron_codemix.report.comparison import Comparison, comparisons_of
from megatron_codemix.report.comparison_words import over_words
from megatron_codemix.report.measures import Group, Measure, Measured, Run, measured
from megatron_codemix.report.statistics.decisions import LEVEL
from megatron_codemix.report.statistics.noise import interval
from megatron_codemix.report.tasks import tasks_of_average
from megatron_codemix.study.node import SINGLE_CELL
from megatron_codemix.study.published.figure import PaperMeasure

NO_TASKS = (
    "this study asks for no benchmarks: its held-out bits per byte are not accuracies, and nothing "
    "of it can stand beside the paper's"
)


@dataclass(frozen=True)
class Place:
    """Runs that stand for a row of a figure: all seeds of a variant at a point of the matrix."""

    variant: str
    cell: str


@dataclass(frozen=True)
class Finding:
    """Our number, or why there is none."""

    ours: Mapping[str, Json] | None
    why: str | None


@dataclass
class Ours:
    """The finished variants of a study, asked for what papers have."""

    measured: Mapping[str, Measured]
    has_tasks: bool
    _compared: dict[tuple[str, str, str], dict[str, Comparison]] = field(default_factory=dict)

    def change(self, wanted: PaperMeasure, place: Place, base: Place) -> Finding:
        """Of `place` from `base`, as a share of the latter's score."""
        why = self._unknown(wanted, place) or self._unknown(wanted, base)
        if why is not None:
            return Finding(None, why)
        both = self._both(place, base)
        names = (place.variant, base.variant)
        if place.cell != base.cell:
            names = (_name(place), _name(base))
        measure = both.measures.get(str(wanted.ours))
        if measure is None:
            return Finding(None, _not_there(both, str(wanted.ours)))
        found = self._comparison(both.group, measure, names)
        if found is None:
            return Finding(None, "the two have no seed in common")
        score = found.mean(found.baseline)
        if score == 0:
            return Finding(
                None, f"{base.variant} has a score of 0, and no change is relative to it"
            )
        noise = found.noise
        ends = (None, None) if noise is None else interval(found.difference, noise, LEVEL)
        low, high = (None if end is None else end / score for end in ends)
        value = found.difference / score
        return _finding(value, low, high, measure, seeds=len(found.seeds), items=found.num_items)

    def score(self, wanted: PaperMeasure, place: Place) -> Finding:
        """Of `place`, mean over its seeds. The interval is Student's over the seeds; of one seed a
        normal one over the items."""
        why = self._unknown(wanted, place)
        if why is not None:
            return Finding(None, why)
        one = self.measured[place.cell]
        measure = one.measures[str(wanted.ours)]
        lacking = self.lacking(measure, place.cell)
        if lacking:
            return Finding(
                None,
                f"our mean is without {', '.join(lacking)}, which the study does not ask for: a "
                "score over other tasks is not the paper's",
            )
        runs = [run for run in measure.scores if run[0] == place.variant]
        scores = [measure.scores[run] for run in runs]
        low, high = _ends(scores, _error(one.group.rows[runs[0]], measure.name))
        items = None if len(runs) > 1 or low is None else _num_items(one.group, runs[0], measure)
        return _finding(fmean(scores), low, high, measure, seeds=len(scores), items=items)

    def lacking(self, measure: Measure, cell: str) -> list[str]:
        """Tasks of the paper's average that the study has not asked for. What is left out because
        some variant is not above random is left out as in the paper."""
        left_out = self.measured[cell].asked.not_compared
        there = {*tasks_of(measure), *left_out}
        return [task for task in papers_tasks(measure.name) if task not in there]

    def _unknown(self, wanted: PaperMeasure, place: Place) -> str | None:
        """Why there is no number for `place`; None where there is one."""
        assert wanted.ours is not None, f"nothing of ours is {wanted.title}"
        if not self.has_tasks:
            return NO_TASKS
        at = self.measured.get(place.cell)
        if at is None or place.variant not in at.group.variants:
            where = "" if place.cell == SINGLE_CELL else f" at {place.cell}"
            return f"{place.variant} is not finished{where}"
        measure, task = at.measures.get(wanted.ours), wanted.ours.partition("/")[2]
        if measure is None or not any(run[0] == place.variant for run in measure.scores):
            return _not_there(at, wanted.ours)
        found = None if wanted.metric is None else _metric(at.group, task)
        if found != wanted.metric:
            return f"{task} is reported here by {found}, in the paper by {wanted.metric}"
        return None

    def _both(self, place: Place, base: Place) -> Measured:
        """A group that both are in: their cell's, or one of the two where they are of different
        cells, in which each seed is paired with itself."""
        one = self.measured[place.cell]
        if place.cell == base.cell:
            return one
        rows: dict[Run, Mapping[str, Json]] = {}
        phases = {}
        for other in (place, base):
            group = self.measured[other.cell].group
            for seed in group.seeds(other.variant):
                rows[_name(other), seed] = group.rows[other.variant, seed]
                phases[_name(other), seed] = group.phases[other.variant, seed]
        group = Group(cell=f"{place.cell} {base.cell}", rows=rows, phases=phases)
        return measured(group, one.asked)

    def _comparison(
        self, group: Group, measure: Measure, names: tuple[str, str]
    ) -> Comparison | None:
        variant, baseline = names
        key = (group.cell, measure.name, baseline)
        if key not in self._compared:
            found = comparisons_of(group, measure, baseline)
            self._compared[key] = {one.variant: one for one in found}
        return self._compared[key].get(variant)


def _finding(
    value: float,
    low: float | None,
    high: float | None,
    measure: Measure,
    *,
    seeds: int,
    items: int | None,
) -> Finding:
    ours = {
        "value": value,
        "low": low,
        "high": high,
        "seeds": seeds,
        "over": over_words({"seeds": seeds, "items": items}),
        "tasks": tasks_of(measure),
    }
    return Finding(ours, None)


def tasks_of(measure: Measure) -> list[str]:
    """Benchmarks that it is made of."""
    return [part.name.removeprefix("task/") for _, part in measure.parts]


def papers_tasks(measure: str) -> list[str]:
    """Of the paper's average of this name (`average/nl`), or the one task."""
    kind, _, what = measure.partition("/")
    return tasks_of_average(what) if kind == "average" else [what]


def _name(place: Place) -> str:
    return f"{place.cell}/{place.variant}"


def _not_there(at: Measured, measure: str) -> str:
    """Why a group has no measure of this name."""
    wanted = papers_tasks(measure)
    asked = [task for task in wanted if any(task in row["tasks"] for row in at.group.rows.values())]
    if not asked:
        return f"this study does not ask for {_any_of(wanted)}"
    if set(asked) <= set(at.asked.not_compared):
        return (
            f"of the paper's tasks this study asks for {', '.join(asked)}, and some variant is not "
            "above random there: nothing is left to compare"
        )
    return f"the variants were not all asked the same of {', '.join(asked)}, or have no score there"


def _any_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"any of {', '.join(names)}"


def _metric(group: Group, task: str) -> str:
    """That the task was reported by, without the way in which answers were read."""
    scores = (row["tasks"].get(task) for row in group.rows.values())
    return next(str(one["metric"]).partition("/")[0] for one in scores if one is not None)


def _error(row: Mapping[str, Json], name: str) -> float | None:
    """Standard error over the items of one run."""
    kind, _, what = name.partition("/")
    score = row["averages" if kind == "average" else "tasks"][what]
    error: float | None = score["stderr"]
    return error


def _num_items(group: Group, run: Run, measure: Measure) -> int:
    """That one run was asked."""
    return sum(int(group.rows[run]["tasks"][task]["items"]) for task in tasks_of(measure))


def _ends(scores: Sequence[float], error: float | None) -> tuple[float | None, float | None]:
    """Of an interval of their mean; error: of the only one, over its items."""
    value = fmean(scores)
    if len(scores) > 1:
        from scipy.special import stdtrit  # here: slow to import

        half = stdev(scores) / math.sqrt(len(scores))
        half *= float(stdtrit(len(scores) - 1, (1 + LEVEL) / 2))
    elif error is not None:
        half = error * NormalDist().inv_cdf((1 + LEVEL) / 2)
    else:
        return None, None
    return value - half, value + half
