"""What a reader of a report must know before believing its table."""

import math
from collections.abc import Iterable, Mapping, Sequence

from megatron_codemix.config.plan import VOCABULARY_MULTIPLE
from megatron_codemix.data.mixture.describe import MAX_EPOCHS
from megatron_codemix.files import Json
from megatron_codemix.report.collect import StudyRecords
from megatron_codemix.report.damage import damage_notes
from megatron_codemix.report.items import ItemStore
from megatron_codemix.report.tasks import left_out
from megatron_codemix.study.evaluation import ValidationSpec
from megatron_codemix.study.outlook import rounding_warnings
from megatron_codemix.study.repetition import is_repeated


def warnings(
    records: StudyRecords, rows: Sequence[Mapping[str, Json]], store: ItemStore
) -> list[str]:
    """What a reader must know before believing the table.

    store: items, as far as they were read.
    """
    return [
        *_incomplete(records),
        *records.other_runs,
        *_other_evaluations(records),
        *_diverged(records),
        *_one_seed(records),
        *_different_layouts(rows),
        *_different_budgets(rows),
        *_repetition(records),
        *_rounding(records),
        *_ledger_errors(records),
        *_different_code(records),
        *_trained_elsewhere(records),
        *_two_measures(records),
        *_not_above_random(rows),
        *_cut_prompts(records),
        *damage_notes(records, rows, store),
    ]


def _other_evaluations(records: StudyRecords) -> list[str]:
    """Phases whose evaluation is not the study's own, so that their numbers are not shown."""
    asked = records.tree.spec.evaluation.heldout
    if isinstance(asked, ValidationSpec):
        return []
    return [
        f"{phase.node.label}: left out, because its evaluation is not the one asked for: "
        f"{_evaluation_words(phase.other_heldout)}; the study asks for step {phase.status.step}, "
        f"{asked.max_bytes_per_source} bytes of each source, {asked.world_size} processes; "
        "'codemix study run' evaluates it again"
        for phase in records.phases.values()
        if phase.other_heldout is not None and phase.status.state == "done"
    ]


def _diverged(records: StudyRecords) -> list[str]:
    return [
        f"{phase.node.label}: has no finite loss on {', '.join(lost)}, so it is not shown there: "
        "the training has diverged"
        for phase in records.phases.values()
        if phase.heldout is not None
        for lost in [
            [
                name
                for name, one in phase.heldout["sources"].items()
                if not math.isfinite(one["nats"])
            ]
        ]
        if lost
    ]


def _evaluation_words(summary: Mapping[str, Json]) -> str:
    size = summary.get("max_bytes_per_source", "an unknown number of")
    processes = (summary.get("layout") or {}).get("data", "an unknown number of")
    return f"step {summary.get('step')}, {size} bytes of each source, {processes} processes"


def _incomplete(records: StudyRecords) -> list[str]:
    missing = [
        f"{cell}/{variant}" if len(records.tree.cells) > 1 else variant
        for cell in records.tree.cells
        for variant in records.tree.spec.variants
        if not records.is_complete(cell, variant)
    ]
    return [f"not finished, so not in the table: {', '.join(missing)}"] if missing else []


def _one_seed(records: StudyRecords) -> list[str]:
    if is_repeated(records.tree.spec):
        return []
    return [
        "one seed: no noise floor, so a small difference between variants may be chance; add "
        "seeds with "
        "`matrix: {train.seed: [1, 2, 3]}`"
    ]


def _different_layouts(rows: Sequence[Mapping[str, Json]]) -> list[str]:
    known = (row["layout"] for row in rows if row["layout"]["data_parallel"] is not None)
    layouts = {layout_words(layout) for layout in known}
    if len(layouts) < 2:
        return []
    return [
        f"compared runs differ in layout ({'; '.join(sorted(layouts))}): their results also "
        "differ by rounding"
    ]


def _different_budgets(rows: Sequence[Mapping[str, Json]]) -> list[str]:
    """Rounding to whole steps apart, which may differ by a step or so for each phase."""
    budgets: dict[str, int] = {row["name"]: row["tokens"] for row in rows}
    if not budgets or max(budgets.values()) <= 1.02 * min(budgets.values()):
        return []
    words = ", ".join(f"{name} {tokens:,}" for name, tokens in budgets.items())
    return [f"compared variants differ in training tokens: {words}"]


def _repetition(records: StudyRecords) -> list[str]:
    return [
        f"{phase.node.label}: source {name} was read {source['epochs']:.1f} times by the end of "
        "this phase; beyond "
        f"{MAX_EPOCHS:.0f} epochs repeated data is worth less than new data"
        for phase in records.phases.values()
        if phase.ledger
        for name, source in sorted(phase.ledger[-1]["sources"].items())
        if source["epochs"] > MAX_EPOCHS
    ]


def _rounding(records: StudyRecords) -> list[str]:
    """Token budgets are met in whole steps: how far off the worst phase is."""
    budgets = {
        phase.node.name: (phase.config.train.train_tokens, phase.plan["train_tokens"])
        for phase in records.phases.values()
        if phase.plan.get("train_tokens") is not None
    }
    return rounding_warnings(budgets)


def _ledger_errors(records: StudyRecords) -> list[str]:
    return [
        f"{phase.node.label}: at step {line['step']} a source is {line['max_error_samples']:.2f} "
        "samples from its plan"
        for phase in records.phases.values()
        for line in phase.ledger
        if line["max_error_samples"] >= 1
    ]


def _different_code(records: StudyRecords) -> list[str]:
    texts = []
    for key, what in (("commit", "commits"), ("versions", "package versions")):
        values = agreed(phase.provenance.get(key) for phase in records.phases.values())
        if isinstance(values, list):
            texts.append(f"phases ran with different {what}: see report.json")
    return texts


def _trained_elsewhere(records: StudyRecords) -> list[str]:
    """What other studies of the same store have trained."""
    by_others: dict[str, list[str]] = {}
    for phase in records.phases.values():
        if phase.own_part < 1 and phase.trained_with is None:
            part = "in part " if phase.own_part > 0 else ""
            names = [f"{one.study} ({one.out})" for one in phase.other_trainers]
            by_others.setdefault(f"{part}by study {', '.join(names)}", []).append(phase.node.label)
    return [
        f"{', '.join(labels)}: trained {others}, where the seconds count"
        for others, labels in by_others.items()
    ]


def _two_measures(records: StudyRecords) -> list[str]:
    """Phases that were evaluated in place of a validation, beside others that were validated:
    validations count the rows that pad the model's table, evaluations do not."""
    if not isinstance(records.tree.spec.evaluation.heldout, ValidationSpec):
        return []
    measured = [phase for phase in records.phases.values() if phase.heldout is not None]
    evaluated = [one for one in measured if one.documents != one.run.validation_documents]
    padded = [one for one in measured if one.config.model.vocabulary_size % VOCABULARY_MULTIPLE]
    if not padded or len(evaluated) in (0, len(measured)):
        return []
    return [
        f"{', '.join(one.node.label for one in evaluated)}: evaluated, because another study of "
        "the store has trained it and validated something else; the other phases have the losses "
        "of their last validations, which lie a little higher (vocabulary of "
        f"{padded[0].config.model.vocabulary_size} entries, padded to a multiple of "
        f"{VOCABULARY_MULTIPLE})"
    ]


def _not_above_random(rows: Sequence[Mapping[str, Json]]) -> list[str]:
    return [
        f"{task}: not above random in {', '.join(variants)}, so it is not compared"
        for task, variants in left_out(rows).items()
    ]


def _cut_prompts(records: StudyRecords) -> list[str]:
    """Prompts that the model's context does not hold: its score is then another task's."""
    cut: dict[str, tuple[int, int]] = {}
    for phase in records.phases.values():
        for task, summary in (phase.tasks or {}).items():
            found = (summary.get("truncated_prompts", 0), summary["items"])
            cut[task] = max(cut.get(task, (0, 0)), found)
    return [
        f"{task}: {prompts} prompts of {items} items are longer than the model's context and lost "
        "their beginning"
        for task, (prompts, items) in sorted(cut.items())
        if prompts
    ]


def agreed(values: Iterable[Json]) -> Json:
    """The value on which all phases agree; None if there is none; a list of the different ones
    otherwise."""
    different: list[Json] = []
    for value in values:
        if value is not None and value not in different:
            different.append(value)
    if not different:
        return None
    return different[0] if len(different) == 1 else different


def layout_words(layout: Mapping[str, Json]) -> str:
    """`TP2 x PP2 x DP1, microbatch 4`."""
    words = f"{layout['text']}, microbatch {layout['microbatch_sequences']}"
    return words + (", sequence parallel" if layout["sequence_parallel"] else "")
