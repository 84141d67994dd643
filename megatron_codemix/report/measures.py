"""What variants of a study are compared by: a score for each variant and seed, and its items."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from megatron_codemix.files import Json
from megatron_codemix.report.collect import PhaseRecord, StudyRecords
from megatron_codemix.report.items import heldout_items, task_items
from megatron_codemix.report.statistics.items import Items, PairedNoise, Pairs, paired_noises
from megatron_codemix.report.tasks import average_weights
from megatron_codemix.report.warnings import SEED_AXIS
from megatron_codemix.study.node import SINGLE_CELL

Run = tuple[str, str]
"""Variant and seed."""

LOWER_IS_BETTER = frozenset(
    {
        "bits_per_byte", "loss_per_token", "perplexity", "word_perplexity", "byte_perplexity",
        "brier_score", "ter",
    }
)  # fmt: skip
"""Metrics of tasks, of ours and of the harness's."""


@dataclass
class Part:
    """Something that was asked: one source's documents, or one task's items."""

    name: str
    read: Callable[[PhaseRecord], Items | None]
    _found: dict[Run, Items | None] = field(default_factory=dict)
    _noises: dict[str, PairedNoise] | None = None

    def items(self, run: Run, phase: PhaseRecord) -> Items | None:
        """Of one run; read once."""
        if run not in self._found:
            self._found[run] = self.read(phase)
        return self._found[run]

    def noises(self, comparisons: Mapping[str, Pairs]) -> dict[str, PairedNoise]:
        """Of every variant's difference to the baseline; resampled once, as a task is also part of
        averages."""
        if self._noises is None:
            self._noises = paired_noises(comparisons, self.name)
        return self._noises


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A score of every run of a group, made of one or several parts."""

    name: str
    """`heldout/code`, `average/nl`, `task/copa`."""
    lower_is_better: bool
    scores: dict[Run, float]
    parts: list[tuple[float, Part]]
    """With what each counts for in the score."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Runs that may be compared: one point of the matrix, all seeds."""

    cell: str
    """The point without its seed; `single` where nothing is left."""
    rows: dict[Run, Mapping[str, Json]]
    """Rows of the report's `variants`."""
    phases: dict[Run, PhaseRecord]
    """Their last phases."""

    @property
    def variants(self) -> list[str]:
        """In the study's order."""
        return list(dict.fromkeys(variant for variant, _ in self.rows))

    def seeds(self, variant: str) -> list[str]:
        """That this variant was trained with."""
        return [seed for one, seed in self.rows if one == variant]


def without_seed(point: Mapping[str, str]) -> str:
    """What cells of this point of the matrix are called together."""
    return ".".join(value for axis, value in point.items() if axis != SEED_AXIS)


def groups_of(records: StudyRecords, rows: Sequence[Mapping[str, Json]]) -> list[Group]:
    """The finished variants, in the order of the matrix."""
    groups: dict[str, Group] = {}
    for row in rows:
        point = records.tree.points[row["cell"]]
        cell = without_seed(point) or SINGLE_CELL
        group = groups.setdefault(cell, Group(cell=cell, rows={}, phases={}))
        run = (row["name"], point.get(SEED_AXIS, ""))
        group.rows[run] = row
        group.phases[run] = records.chain(row["cell"], row["name"])[-1]
    return list(groups.values())


def measures_of(group: Group, not_compared: Mapping[str, Json], limit: int | None) -> list[Measure]:
    """Held-out sources, then averages, then tasks.

    not_compared: tasks that enter no comparison.
    limit: items of each task that the study asks for.
    """
    rows = group.rows
    sources = sorted({source for row in rows.values() for source in row["heldout"]})
    tasks = sorted({name for row in rows.values() for name in row["tasks"]} - set(not_compared))
    of_task = {name: Part(f"task/{name}", partial(_read_task, name, limit)) for name in tasks}
    found = [_heldout(group, source) for source in sources]
    found += _averages(group, of_task)
    found += [_task(group, name, part) for name, part in of_task.items()]
    return found


def _heldout(group: Group, source: str) -> Measure:
    name = f"heldout/{source}"
    scores = {
        run: row["heldout"][source]["bits_per_byte"]
        for run, row in group.rows.items()
        if source in row["heldout"]
    }
    part = Part(name, lambda phase: heldout_items(phase, source))
    return Measure(name=name, lower_is_better=True, scores=scores, parts=[(1.0, part)])


def _averages(group: Group, of_task: Mapping[str, Part]) -> list[Measure]:
    """Of averages that all runs have, over the same tasks."""
    weights = [
        average_weights([name for name in of_task if _has_value(row, name)])
        for row in group.rows.values()
    ]
    return [
        Measure(
            name=f"average/{name}",
            lower_is_better=False,
            scores={run: row["averages"][name]["value"] for run, row in group.rows.items()},
            parts=[(weight, of_task[task]) for task, weight in of_average.items()],
        )
        for name, of_average in (weights[0] if weights else {}).items()
        if all(one.get(name) == of_average for one in weights)
        and all(name in row["averages"] for row in group.rows.values())
    ]


def _has_value(row: Mapping[str, Json], task: str) -> bool:
    return task in row["tasks"] and row["tasks"][task]["value"] is not None


def _task(group: Group, name: str, part: Part) -> Measure:
    rows = {run: row["tasks"][name] for run, row in group.rows.items() if name in row["tasks"]}
    metric = next(iter(rows.values()))["metric"].partition("/")[0]
    return Measure(
        name=f"task/{name}",
        lower_is_better=metric in LOWER_IS_BETTER,
        scores={run: row["value"] for run, row in rows.items() if row["value"] is not None},
        parts=[(1.0, part)],
    )


def _read_task(name: str, limit: int | None, phase: PhaseRecord) -> Items | None:
    return task_items(phase, name, limit)
