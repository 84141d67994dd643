"""`not_run` of a report: what the study names and has not run, what has failed or was left out, and
what the published figures have that the study has not."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.files import Json, hash_json
from megatron_codemix.report.collect import PhaseRecord, StudyRecords
from megatron_codemix.report.cost import Cost, needed_by
from megatron_codemix.report.ours import papers_tasks
from megatron_codemix.report.tasks import AVERAGES, tasks_of_average
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.published.catalog import read_figure
from megatron_codemix.study.published.check import compared_cells
from megatron_codemix.study.published.figure import Figure

Row = dict[str, Json]


def not_run(
    records: StudyRecords,
    rows: Sequence[Mapping[str, Json]],
    not_compared: Mapping[str, Sequence[str]],
    costs: Cost,
) -> list[Row]:
    """Phases, evaluations, tasks, rows of figures: in this order, each in the study's.

    rows: `variants` of the report.
    not_compared: task -> variants that do not do it above random.
    costs: `cost` of the report.
    """
    return [
        *_phases(records, costs),
        *_evaluations(records),
        *_left_out(not_compared),
        *_not_asked(records, rows),
        *_figures(records),
    ]


def _row(
    kind: str,
    what: str,
    why: str,
    *,
    cell: str | None = None,
    needed_by: Sequence[str] = (),
    tokens: int | None = None,
    hours: Mapping[str, float | None] | None = None,
) -> Row:
    return {
        "kind": kind,
        "what": what,
        "cell": cell,
        "why": why,
        "needed_by": list(needed_by),
        "tokens": tokens,
        "gpu_hours": (hours or {}).get("gpu_hours"),
        "processor_hours": (hours or {}).get("processor_hours"),
    }


def _phases(records: StudyRecords, costs: Cost) -> Iterator[Row]:
    """That have not been trained to their end. What several of them train together counts for the
    first."""
    speeds = _Speeds.measured(records, costs)
    counted: set[str] = set()
    for key, node in records.tree.nodes.items():
        phase = records.phases.get(key)
        if phase is not None and phase.status.state == "done":
            continue
        owner = records.tree.owner(node)
        if owner.key in counted:
            yield _row(
                "phase",
                f"phase {node.name}",
                f"is the training of {owner.label}, where its tokens and hours count",
                cell=node.cell,
                needed_by=needed_by(records, node.cell, node.name),
            )
            continue
        counted.add(key)
        plan = records.tree.plan(node)
        done = 0 if phase is None else plan.batches.tokens(min(phase.status.step, plan.num_steps))
        tokens = plan.train_tokens - done
        yield _row(
            "phase",
            f"phase {node.name}",
            _why_not_trained(records, node, phase),
            cell=node.cell,
            needed_by=needed_by(records, node.cell, node.name),
            tokens=tokens,
            hours=speeds.hours(node, tokens),
        )


def _why_not_trained(records: StudyRecords, node: PhaseNode, phase: PhaseRecord | None) -> str:
    if phase is not None:
        at = f"at step {phase.status.step} of {phase.status.num_steps}"
        if phase.status.state == "failed":
            return f"failed {at}: {phase.status.last_error or 'no error was recorded'}"
        return f"not finished: {at}; it runs, or was stopped"
    for parent in reversed(records.tree.chain(node)[:-1]):
        found = records.phases.get(parent.key)
        if found is not None and found.status.state == "failed":
            return f"not started: phase {parent.name}, which it begins from, has failed"
        if found is None or found.status.state != "done":
            return f"not started: phase {parent.name}, which it begins from, is not finished"
    if node.identity is None and node.key not in records.study.runs:
        return "not started: its data is not there"
    return "not started"


@dataclass(frozen=True)
class _Speeds:
    """Hours of devices for a token, as measured on phases of the same model in this study."""

    found: Mapping[str, tuple[str, float]]
    """Hash of the model -> (`gpu_hours` or `processor_hours`, hours for a token)."""

    @classmethod
    def measured(cls, records: StudyRecords, costs: Cost) -> "_Speeds":
        """By the mean over the phases that were trained; loops alone, without starts and
        evaluations, which do not grow with the tokens."""
        sums: dict[tuple[str, str], tuple[float, int]] = {}
        for one in costs["phases"]:
            node = records.tree.nodes[f"{one['cell']}/{one['phase']}"]
            for unit in ("gpu_hours", "processor_hours"):
                if one[unit] is not None and one["tokens"] and one["train_seconds"]:
                    hours, tokens = sums.get((_model(node), unit), (0.0, 0))
                    hours += one["train_seconds"] * one["processes"] / 3600
                    sums[_model(node), unit] = (hours, tokens + one["tokens"])
        return cls({model: (unit, h / t) for (model, unit), (h, t) in sums.items()})

    def hours(self, node: PhaseNode, tokens: int) -> dict[str, float | None]:
        """For so many tokens; {} where no phase of this model was measured."""
        found = self.found.get(_model(node))
        return {} if found is None else {found[0]: found[1] * tokens}


def _model(node: PhaseNode) -> str:
    return hash_json(node.config.model.model_dump(mode="json"))


def _evaluations(records: StudyRecords) -> Iterator[Row]:
    """Of trained phases: not made, made otherwise than asked, or without a finite loss."""
    for phase in records.phases.values():
        if phase.status.state != "done":
            continue
        node = phase.node
        variants = needed_by(records, node.cell, node.name)
        last = [one for one in variants if records.tree.spec.variants[one] == node.name]
        for what, why in _evaluation_problems(phase):
            yield _row("evaluation", what, why, cell=node.cell, needed_by=last)


def _evaluation_problems(phase: PhaseRecord) -> Iterator[tuple[str, str]]:
    name = phase.node.name
    if phase.heldout is None:
        is_other = phase.other_heldout is not None
        why = "the one that is there is not the one that the study asks for" if is_other else ""
        yield f"held-out evaluation of {name}", why or "not made"
    else:
        lost = [
            source
            for source, one in phase.heldout["sources"].items()
            if not math.isfinite(one["nats"])
        ]
        if lost:
            yield (
                f"held-out {', '.join(lost)} of {name}",
                "no finite loss: the training has diverged",
            )
    if phase.tasks is None:
        yield f"benchmarks of {name}", "not made as the study asks for them, or not all of them"


def _left_out(not_compared: Mapping[str, Sequence[str]]) -> Iterator[Row]:
    """Tasks that the first paper's filter takes out."""
    for task, variants in not_compared.items():
        why = f"not above random in {', '.join(variants)} (99% interval), so it is compared in none"
        averages = [f"average/{name}" for name in AVERAGES if task in tasks_of_average(name)]
        yield _row("task", f"task {task}", why, needed_by=averages)


def _not_asked(records: StudyRecords, rows: Sequence[Mapping[str, Json]]) -> Iterator[Row]:
    """Tasks that published figures have and the study has not."""
    spec = records.tree.spec
    measures = {name: _measures_of_ours(read_figure(name)) for name in spec.published}
    if spec.evaluation.tasks is None:
        needing = [name for name, found in measures.items() if found]
        if needing:
            yield _row("task", "all benchmarks", "the study asks for none", needed_by=needing)
        return
    asked = {task for row in rows for task in row["tasks"]}
    lacking: dict[str, list[str]] = {}
    for measure in dict.fromkeys(one for found in measures.values() for one in found):
        for task in papers_tasks(measure):
            if rows and task not in asked:
                lacking.setdefault(task, []).append(measure)
    together: dict[tuple[str, ...], list[str]] = {}
    for task, needed in lacking.items():
        together.setdefault(tuple(needed), []).append(task)
    for needing_them, tasks in together.items():
        what = f"task{'s' if len(tasks) > 1 else ''} {', '.join(tasks)}"
        yield _row("task", what, "the study does not ask for it", needed_by=needing_them)


def _measures_of_ours(figure: Figure) -> list[str]:
    """Measures of our reports that the figure has values of."""
    names = dict.fromkeys(value.measure for value in figure.values())
    found = [figure.measures[name].ours for name in names]
    return [one for one in found if one is not None]


def _figures(records: StudyRecords) -> Iterator[Row]:
    """Rows and models of published figures that nothing here repeats, and measures of theirs that a
    study does not have."""
    spec = records.tree.spec
    for name, repeats in spec.published.items():
        figure = read_figure(name)
        for row, about in figure.rows.items():
            if row not in repeats.rows.values():
                yield _of_figure(name, about.title, "no variant of this study is this row")
        models = set(repeats.cells.values()) if repeats.cells else set(figure.models)
        for model in figure.models:
            if model not in models:
                points = ", ".join(compared_cells(spec))
                why = f"no point of this study's matrix is it; there are {points}"
                yield _of_figure(name, f"the model of {model}", why)
        for measure in dict.fromkeys(value.measure for value in figure.values()):
            wanted = figure.measures[measure]
            if wanted.why is not None:
                yield _of_figure(name, wanted.title, wanted.why)


def _of_figure(name: str, what: str, why: str) -> Row:
    return _row("published", f"{what} ({name})", why, needed_by=[name])
