"""What was found, in sentences: the report's verdicts with their sizes, nothing that they do not
say."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from megatron_codemix.files import Json
from megatron_codemix.report.page.summary import SummaryRow, metrics_of, title_of
from megatron_codemix.report.page.verdicts import size_words

Row = Mapping[str, Json]

_NAMED = (4, 2)
"""Variants that a sentence names for each verdict, the largest changes: in a short list of
sentences and in a long one. The figures have all."""

_SHORT = 5
"""Sentences."""

_ANSWERS = ("average/reasoning", "average/knowledge", "average/code", "average/total")
"""What a reader asks first. The average of natural language is that of the first two."""


@dataclass(frozen=True, kw_only=True)
class Named:
    """A variant and by how much it differs."""

    variant: str
    size: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """All variants beside the baseline by one measure, at one point of the matrix."""

    title: str
    cell: str
    better: list[Named] = field(default_factory=list)
    worse: list[Named] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    """Of whom nothing can be told."""
    more_better: int = 0
    more_worse: int = 0


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The answer of a report."""

    lead: list[str]
    points: list[Finding]
    num_others: int
    """Differences for better or worse by measures that no point is about."""


def find(report: Row, rows: Sequence[SummaryRow]) -> Findings:
    """From the comparisons: of the recipes, or where too few seeds are repeated of the models."""
    key = "verdict" if report["statistics"]["tested"] else "models_verdict"
    compared: dict[tuple[str, str], list[Row]] = {}
    for row in report["comparisons"]:
        compared.setdefault((row["metric"], row["cell"]), []).append(row)
    asked = _asked(rows, compared.keys())
    named = _NAMED[len(asked) > _SHORT]
    points = [_finding(*one, compared[one], key, named) for one in asked]
    others = [
        row
        for one in compared.keys() - set(asked)
        for row in compared[one]
        if row[key] != "cannot tell"
    ]
    return Findings(lead=_lead(report, rows), points=points, num_others=len(others))


def _asked(
    rows: Sequence[SummaryRow], compared: Collection[tuple[str, str]]
) -> list[tuple[str, str]]:
    """Metrics with their points of the matrix, of those that are compared: averages; at a point
    where none is, held-out text; and tasks where there is nothing else."""
    averages = [metric for metric in metrics_of(rows, "average") if metric in _ANSWERS]
    kinds = (averages, metrics_of(rows, "heldout"), metrics_of(rows, "task"))
    found: dict[str, list[str]] = {}
    for cell in dict.fromkeys(cell for _, cell in compared):
        of_kinds = ([name for name in kind if (name, cell) in compared] for kind in kinds)
        found[cell] = next(filter(None, of_kinds), [])
    in_order = [metric for kind in kinds for metric in kind]
    return [(name, cell) for name in in_order for cell in found if name in found[cell]]


def _finding(metric: str, cell: str, compared: Sequence[Row], key: str, num_named: int) -> Finding:
    sides: dict[str, list[Row]] = {"better": [], "worse": [], "cannot tell": []}
    for row in compared:
        sides[row[key]].append(row)
    better, worse = (_by_size(sides[name]) for name in ("better", "worse"))
    return Finding(
        title=title_of(metric),
        cell=cell,
        better=[_named(row) for row in better[:num_named]],
        worse=[_named(row) for row in worse[:num_named]],
        open=[_open_words(row) for row in sides["cannot tell"]],
        more_better=len(better[num_named:]),
        more_worse=len(worse[num_named:]),
    )


def _open_words(row: Row) -> str:
    """`code (4 seeds would decide)`, as far as that is known."""
    runs = row["runs_to_decide"]
    return row["variant"] if runs is None else f"{row['variant']} ({runs} seeds would decide)"


def _by_size(rows: Sequence[Row]) -> list[Row]:
    """The largest change first."""
    return sorted(rows, key=lambda row: -abs(row["difference"]))


def _named(row: Row) -> Named:
    return Named(variant=row["variant"], size=size_words(row))


def _lead(report: Row, rows: Sequence[SummaryRow]) -> list[str]:
    """What may be said at all, before the single findings."""
    baseline, settings = report["baseline"], report["statistics"]
    if not rows:
        return ["No variant is finished yet, so there is nothing to compare."]
    if not report["comparisons"]:
        others = {row.variant for row in rows} - {baseline}
        if not others:
            return [f"{baseline} is the only variant that is finished, so nothing is compared."]
        return [
            f"The baseline, {baseline}, is not finished beside the others, so nothing is compared."
        ]
    if not settings["tested"]:
        return [
            f"Which recipe is better cannot be told: {_lacking(rows)}, and another seed alone may "
            "change these numbers by more than they differ. What follows holds for these very "
            "models, had they been asked other items of the same kind.",
        ]
    return [_counts(report["comparisons"], baseline, settings)]


def _lacking(rows: Sequence[SummaryRow]) -> str:
    if all(row.num_runs == 1 for row in rows):
        return "no variant was trained a second time with another seed"
    return "too few variants were trained a second time with another seed"


def _counts(comparisons: Sequence[Row], baseline: str, settings: Row) -> str:
    tested = [row["verdict"] for row in comparisons if row["p"] is not None]
    better, worse = tested.count("better"), tested.count("worse")
    return (
        f"Of {_differences(len(tested))} from {baseline}, {better} {_are(better)} for the better "
        f"and {worse} for the worse; of the other {len(tested) - better - worse} nothing can be "
        "told. "
        "Chance alone would make even one of these verdicts in fewer than "
        f"{100 * settings['significance']:.0f} of 100 such reports."
    )


def _differences(number: int) -> str:
    return f"{number} differences" if number != 1 else "1 difference"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
