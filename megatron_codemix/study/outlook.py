"""What a study will do, before it does it: tokens, learning rates at each edge, epochs. Needs data
only for epochs."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from megatron_codemix.config.plan import phase_samples
from megatron_codemix.config.schema import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    ScheduleConfig,
)
from megatron_codemix.data.mixture.describe import MAX_EPOCHS, describe_mixtures
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.study.tree import PhaseNode, StudyTree

MAX_ROUNDING = 0.1
"""Budgets that whole steps change by more than this share are no longer those asked for."""


@dataclass(frozen=True, kw_only=True)
class PhaseOutlook:
    """One phase, as it will run."""

    label: str
    cell: str
    phase: str
    parent: str | None
    load: str | None
    identity: str | None
    requested_tokens: int
    train_tokens: int
    num_steps: int
    parent_final_lr: float | None
    """Learning rate at which the parent ends."""
    first_lr: float
    """Learning rate before the first step (0 with a warmup)."""
    peak_lr: float
    final_lr: float
    mixture: dict[str, float]
    """Share of each source in the whole phase."""
    schedule: str
    """The mixture in words."""
    epochs: dict[str, float | None]
    """Passes over each source, from the root of the chain to the end of this phase; None without
    the data."""
    layout: str

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return asdict(self)


def outlook(tree: StudyTree) -> list[PhaseOutlook]:
    """Every phase, parents before children."""
    return [_phase_outlook(tree, node) for node in tree.nodes.values()]


def repetition_warnings(outlooks: list[PhaseOutlook]) -> list[str]:
    """Sources that a chain reads more than four times."""
    return [
        f"{phase.label}: {source} is read {epochs:.1f} times by the end of this phase; beyond "
        f"{MAX_EPOCHS:.0f} epochs "
        "repeated data is worth less than new data"
        for phase in outlooks
        for source, epochs in phase.epochs.items()
        if epochs is not None and epochs > MAX_EPOCHS
    ]


def rounding_warnings(budgets: Mapping[str, tuple[int, int]]) -> list[str]:
    """How far the worst budget is off, being met in whole steps; [] where all are met exactly.

    budgets: phase -> (tokens asked for, tokens in whole steps).
    """
    shares = {name: abs(whole - asked) / asked for name, (asked, whole) in budgets.items()}
    name = max(shares, key=lambda phase: shares[phase], default="")
    if not name or not shares[name]:
        return []
    asked, whole = budgets[name]
    if shares[name] > MAX_ROUNDING:
        return [
            "the token budgets are too small for whole steps, so this is not the comparison asked "
            f"for: phase {name} trains on {whole:,} tokens in place of {asked:,} "
            f"({(whole - asked) / asked:+.0%}); raise the scale, or make the global batch smaller"
        ]
    return [
        f"token budgets are rounded to whole steps: by at most {shares[name]:.2%} (phase {name})"
    ]


def lr_range(schedule: ScheduleConfig) -> tuple[float, float, float]:
    """(before the first step, highest, at the last token)."""
    match schedule:
        case CosineSchedule():
            first = 0.0 if schedule.warmup_tokens else schedule.peak_lr
            return first, schedule.peak_lr, schedule.min_lr
        case ConstantSchedule():
            return 0.0 if schedule.warmup_tokens else schedule.lr, schedule.lr, schedule.lr
        case LinearSchedule():
            highest = max(schedule.start_lr, schedule.final_lr)
            return schedule.start_lr, highest, schedule.final_lr


def layout_text(tensor: int, pipeline: int, data_parallel: int) -> str:
    """`TP2 x PP2 x DP1`."""
    return f"TP{tensor} x PP{pipeline} x DP{data_parallel}"


def _phase_outlook(tree: StudyTree, node: PhaseNode) -> PhaseOutlook:
    plan = tree.plan(node)
    config = node.config
    first, peak, final = lr_range(config.schedule)
    samples = phase_samples(config)
    parent = tree.nodes[f"{node.cell}/{node.parent}"] if node.parent else None
    return PhaseOutlook(
        label=node.label,
        cell=node.cell,
        phase=node.name,
        parent=node.parent,
        load=config.init_from.load if config.init_from else None,
        identity=node.identity,
        requested_tokens=plan.requested_tokens,
        train_tokens=plan.train_tokens,
        num_steps=plan.num_steps,
        parent_final_lr=None if parent is None else lr_range(parent.config.schedule)[2],
        first_lr=first,
        peak_lr=peak,
        final_lr=final,
        mixture={name: round(n / samples, 6) for name, n in _planned_samples(node).items()},
        schedule=describe_mixtures(config),
        epochs=_epochs(tree, node),
        layout=layout_text(config.layout.tensor, config.layout.pipeline, plan.data_parallel),
    )


def _planned_samples(node: PhaseNode) -> dict[str, float]:
    """Samples of each source that the phase is to read."""
    assert node.mixture is not None, f"{node.key} was not looked up"
    mixture = Mixture(node.mixture)
    planned = mixture.planned_in_all(phase_samples(node.config)).tolist()
    return dict(zip(mixture.source_names, planned, strict=True))


def _epochs(tree: StudyTree, node: PhaseNode) -> dict[str, float | None]:
    """Passes over each source that the chain up to `node` reads; samples are cut one token longer
    than the sequence."""
    epochs: dict[str, float | None] = {}
    for phase in tree.chain(node):
        config = phase.config
        for name, samples in _planned_samples(phase).items():
            manifest = tree.inventory.manifest(config.data.sources[name].train)
            if manifest is None:
                epochs[name] = None
                continue
            per_epoch = max(1, (manifest.num_tokens - 1) // config.data.sequence_length)
            epochs[name] = (epochs.get(name) or 0.0) + samples / per_epoch
    return dict(sorted(epochs.items()))
