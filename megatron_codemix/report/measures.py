"""What variants of a study are compared by: a score for each variant and seed, and its items."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from megatron_codemix.files import Json
from megatron_codemix.report.collect import PhaseRecord, StudyRecords
from megatron_codemix.report.items import ItemStore
from megatron_codemix.report.statistics.items import Items, PairedNoise, Pairs, paired_noises
from megatron_codemix.report.tasks import average_weights
from megatron_codemix.study.node import SINGLE_CELL
from megatron_codemix.study.repetition import seed_of, without_seed

Run = tuple[str, str]
"""Variant and seed."""

LOWER_IS_BETTER = frozenset(
    {
        "bits_per_byte", "loss_per_token", "perplexity", "word_perplexity", "byte_perplexity",
        "brier_score", "ter",
    }
)  # fmt: skip
"""Metrics of tasks, of ours and of the harness's."""
_SAFETY = "safety_"
"""How the names of the safety tasks begin, all of which measure what should not be."""


@dataclass
class Part:
    """Something that was asked: one source's documents, or one task's items."""

    name: str
    items: Callable[[PhaseRecord], Items | None]
    """Of one run."""
    _noises: dict[tuple[str, str], PairedNoise | None] = field(default_factory=dict)
    """By baseline and variant."""

    def noises(self, baseline: str, comparisons: Mapping[str, Pairs]) -> dict[str, PairedNoise]:
        """Of these variants' differences to the baseline; resampled once, as a task is also part of
        averages, which may lack variants that the task has."""
        new = {
            variant: pairs
            for variant, pairs in comparisons.items()
            if (baseline, variant) not in self._noises
        }
        found = paired_noises(new, self.name)
        self._noises |= {(baseline, variant): found.get(variant) for variant in new}
        known = {variant: self._noises[baseline, variant] for variant in comparisons}
        return {variant: noise for variant, noise in known.items() if noise is not None}


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


@dataclass(frozen=True)
class Asked:
    """What all measures of a report have in common."""

    not_compared: Mapping[str, Json]
    """Tasks that enter no comparison."""
    limit: int | None
    """Items of each task that the study asks for."""
    store: ItemStore


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A group with everything that its variants can be compared by."""

    group: Group
    measures: dict[str, Measure]
    """By name."""
    asked: Asked


def measured_groups(
    records: StudyRecords,
    rows: Sequence[Mapping[str, Json]],
    not_compared: Mapping[str, Json],
    store: ItemStore,
) -> dict[str, Measured]:
    """Cell without its seed -> its finished variants, in the order of the matrix.

    rows: `variants` of the report, averages included.
    not_compared: tasks that some variant does not do above random.
    store: items, as far as they were read.
    """
    tasks = records.tree.spec.evaluation.tasks
    asked = Asked(not_compared, None if tasks is None else tasks.limit, store)
    return {group.cell: measured(group, asked) for group in groups_of(records, rows)}


def groups_of(records: StudyRecords, rows: Sequence[Mapping[str, Json]]) -> list[Group]:
    """The finished variants, in the order of the matrix."""
    spec = records.tree.spec
    groups: dict[str, Group] = {}
    for row in rows:
        point = records.tree.points[row["cell"]]
        cell = without_seed(spec, point) or SINGLE_CELL
        group = groups.setdefault(cell, Group(cell=cell, rows={}, phases={}))
        run = (row["name"], seed_of(spec, point))
        group.rows[run] = row
        group.phases[run] = records.chain(row["cell"], row["name"])[-1]
    return list(groups.values())


def measured(group: Group, asked: Asked) -> Measured:
    """Held-out sources, then averages, then tasks."""
    rows = group.rows
    sources = sorted({source for row in rows.values() for source in row["heldout"]})
    tasks = sorted({name for row in rows.values() for name in row["tasks"]})
    of_task = {name: _task_part(name, asked) for name in tasks if name not in asked.not_compared}
    found = [_heldout(group, source, asked.store) for source in sources]
    found += _averages(group, of_task)
    found += [_task(group, name, part) for name, part in of_task.items()]
    return Measured(group=group, measures={one.name: one for one in found}, asked=asked)


def _heldout(group: Group, source: str, store: ItemStore) -> Measure:
    name = f"heldout/{source}"
    scores = {
        run: row["heldout"][source]["bits_per_byte"]
        for run, row in group.rows.items()
        if source in row["heldout"]
    }
    part = Part(name, lambda phase: store.heldout(phase, source))
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
        lower_is_better=metric in LOWER_IS_BETTER or name.startswith(_SAFETY),
        scores={run: row["value"] for run, row in rows.items() if row["value"] is not None},
        parts=[(1.0, part)],
    )


def _task_part(name: str, asked: Asked) -> Part:
    return Part(f"task/{name}", lambda phase: asked.store.task(phase, name, asked.limit))
