"""Rows of the page's tables: a variant at a point of the matrix, its seeds together."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.files import Json
from megatron_codemix.report.tasks import CATEGORIES

Row = Mapping[str, Json]

AVERAGES = ("reasoning", "knowledge", "nl", "code", "total")
"""In the order of the first paper's Table 2."""

_PAPERS_TASKS = tuple(task for tasks in CATEGORIES.values() for task in tasks)

_AVERAGE_TITLES = {
    "reasoning": "reasoning",
    "knowledge": "world knowledge",
    "nl": "natural language, average",
    "code": "code",
    "total": "total average",
}


@dataclass(frozen=True, kw_only=True)
class Value:
    """What a variant has reached by one measure."""

    mean: float
    """Over the seeds."""
    runs: list[float]
    """One for each seed."""
    low: float | None
    """Interval over the items of a single run."""
    high: float | None
    error: float | None
    """Standard error over the items of a single run."""
    comparison: Row | None
    """The report's comparison with the baseline; None for the baseline itself."""

    @property
    def deviation(self) -> float | None:
        """Between seeds (n - 1)."""
        return statistics.stdev(self.runs) if len(self.runs) > 1 else None


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """A variant at a point of the matrix."""

    cell: str
    """The point without its seed; `single` where nothing is left."""
    variant: str
    is_baseline: bool
    phases: list[str]
    tokens: int
    source_tokens: dict[str, int]
    """Consumed along the whole chain of phases."""
    num_runs: int
    values: dict[str, Value]
    """By the names of comparisons: `heldout/code`, `average/nl`, `task/copa`."""


def summary_rows(report: Row) -> list[SummaryRow]:
    """In the order of the report: the matrix, then the study's variants."""
    gathered: dict[tuple[str, str], list[Row]] = {}
    for row in report["variants"]:
        group = report["cells"][row["cell"]]["group"]
        gathered.setdefault((group, row["name"]), []).append(row)
    compared = {(row["cell"], row["variant"], row["metric"]): row for row in report["comparisons"]}
    phases = {(phase["cell"], phase["name"]): phase for phase in report["phases"]}
    return [
        SummaryRow(
            cell=cell,
            variant=variant,
            is_baseline=variant == report["baseline"],
            phases=list(rows[0]["phases"]),
            tokens=rows[0]["tokens"],
            source_tokens=_source_tokens(phases[rows[0]["cell"], rows[0]["phases"][-1]]),
            num_runs=len(rows),
            values={
                metric: _value(found, compared.get((cell, variant, metric)))
                for metric, found in _scores(rows).items()
            },
        )
        for (cell, variant), rows in gathered.items()
    ]


def _source_tokens(phase: Row) -> dict[str, int]:
    return {
        name: source["chain_tokens"]
        for name, source in phase["sources"].items()
        if source["chain_tokens"]
    }


def _scores(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Metric -> a score for each run that has one."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        for source, score in row["heldout"].items():
            value = {"value": score["bits_per_byte"], "low": score["low"], "high": score["high"]}
            found.setdefault(f"heldout/{source}", []).append(value)
        for kind, scores in (("average", row["averages"]), ("task", row["tasks"])):
            for name, score in scores.items():
                if score["value"] is not None:
                    found.setdefault(f"{kind}/{name}", []).append(score)
    return found


def _value(scores: Sequence[Row], comparison: Row | None) -> Value:
    runs = [score["value"] for score in scores]
    only = scores[0] if len(scores) == 1 else {}
    return Value(
        mean=statistics.fmean(runs),
        runs=runs,
        low=only.get("low"),
        high=only.get("high"),
        error=only.get("stderr"),
        comparison=comparison,
    )


def metrics_of(rows: Sequence[SummaryRow], kind: str) -> list[str]:
    """Metrics of a kind that some row has: averages and tasks in the first paper's order, others by
    name."""
    found = {metric for row in rows for metric in row.values if metric.startswith(f"{kind}/")}
    ordered = {"average": AVERAGES, "task": _PAPERS_TASKS}.get(kind, ())
    known = [metric for name in ordered if (metric := f"{kind}/{name}") in found]
    return known + sorted(found - set(known))


def title_of(metric: str) -> str:
    """For people: `world knowledge`, `held-out code`, `copa`."""
    kind, _, name = metric.partition("/")
    if kind == "average":
        return _AVERAGE_TITLES.get(name, name)
    return f"held-out {name}" if kind == "heldout" else name


def cell_titles(report: Row) -> dict[str, str]:
    """Point of the matrix, as comparisons name it -> what a reader calls it: `470m`, `layers 2`;
    nothing where the study has one point besides its seeds."""
    titles = {}
    for cell in report["cells"].values():
        words = [
            value if any(map(str.isalpha, value)) else f"{axis.rpartition('.')[2]} {value}"
            for axis, value in cell["point"].items()
        ]
        titles[cell["group"]] = ", ".join(words)
    return titles
