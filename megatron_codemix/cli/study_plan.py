"""What `codemix study plan` prints of the phases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from megatron_codemix.obs.tables import WholeTable
from megatron_codemix.study.outlook import (
    PhaseOutlook,
    repetition_warnings,
    rounding_warnings,
    sharing_note,
    stated_tokens_note,
)
from megatron_codemix.study.tree import StudyTree

if TYPE_CHECKING:  # here alone: `codemix study status` does not wait for the planner
    from megatron_codemix.cli.study_cost import StudyCost


def plan_notes(tree: StudyTree, phases: Sequence[PhaseOutlook]) -> list[str]:
    """What the reader should know of the phases."""
    budgets = {phase.label: (phase.requested_tokens, phase.train_tokens) for phase in phases}
    return [
        *sharing_note(phases),
        *repetition_warnings(phases),
        *stated_tokens_note(tree),
        *rounding_warnings(budgets),
    ]


def plan_record(
    tree: StudyTree,
    phases: Sequence[PhaseOutlook],
    missing: Sequence[str],
    notes: Sequence[str],
    cost: StudyCost | None,
) -> dict[str, Any]:  # Any: JSON values
    """For --json."""
    hours = [None] * len(phases) if cost is None else [one.cost.gpu_hours for one in cost.phases]
    return {
        "study": tree.spec.name,
        "world_size": tree.spec.world_size,
        "token_scale": float(tree.spec.token_scale),
        "phases": [
            {**phase.as_dict(), "gpu_hours": gpu_hours}
            for phase, gpu_hours in zip(phases, hours, strict=True)
        ],
        "trainings": {
            "count": sum(phase.trained_with is None for phase in phases),
            "tokens": sum(phase.train_tokens for phase in phases if phase.trained_with is None),
            "gpu_hours": None if cost is None else cost.total.gpu_hours,
        },
        "missing": list(missing),
        "warnings": list(notes),
        "cost": None if cost is None else cost.as_dict(),
    }


def plan_table(tree: StudyTree, phases: Sequence[PhaseOutlook]) -> WholeTable:
    layouts = sorted({phase.layout for phase in phases})
    processes = f"{tree.spec.world_size} process{'es' if tree.spec.world_size > 1 else ''}"
    table = WholeTable(
        title=f"{tree.spec.name}: {len(phases)} phases, each on {processes} ({', '.join(layouts)})",
        show_lines=True,
    )
    for name in ("phase", "tokens", "learning rate", "mixture (epochs along the chain)"):
        table.add_column(name, justify="right" if name == "tokens" else "left")
    for phase in phases:
        asked = "" if phase.requested_tokens == phase.train_tokens else " asked for"
        origin = f"\nfrom {phase.parent}\n({phase.load})" if phase.parent else ""
        origin += f"\ntrained once, with\n{phase.trained_with}" if phase.trained_with else ""
        table.add_row(
            escape(phase.label + origin),
            f"{phase.train_tokens:,}\n{phase.num_steps:,} steps"
            + (f"\n{phase.requested_tokens:,}{asked}" if asked else ""),
            _lr_words(phase),
            escape("\n".join(_mixture_words(phase, source) for source in phase.epochs))
            + ("" if phase.is_constant else f"\n{escape(phase.schedule)}")
            + (f"\n{phase.layout}" if len(layouts) > 1 else ""),
        )
    return table


def _mixture_words(phase: PhaseOutlook, source: str) -> str:
    """`text 90% (0.41)`; a source that only parents read has a share of 0%."""
    epochs = phase.epochs[source]
    passes = "?" if epochs is None else f"{epochs:.2f}"
    return f"{source} {100 * phase.mixture.get(source, 0.0):.4g}% ({passes})"


def _lr_words(phase: PhaseOutlook) -> str:
    """Both ends of the edge to the parent, then the phase's own course."""
    edge = "" if phase.parent_final_lr is None else f"parent ends {phase.parent_final_lr:g}\n"
    course = [phase.first_lr, phase.final_lr]
    if phase.peak_lr > max(course):
        course.insert(1, phase.peak_lr)
    return edge + " -> ".join(f"{lr:g}" for lr in course)
