"""What a study will do, before it does it: tokens, learning rates at each edge, epochs. Needs data
only for epochs, and those not of sources whose tokens the study states."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.plan import layout_text, num_steps, phase_samples
from megatron_codemix.data.mixture.describe import MAX_EPOCHS, describe_mixtures
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.schedule import courses_of
from megatron_codemix.study.chains import curve, taken_steps
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree
from megatron_codemix.units import format_count

MAX_ROUNDING = 0.1
"""Budgets that whole steps change by more than this share are no longer those asked for."""


_MAX_NAMED = 3
_POINTS = 1000
"""Steps of a schedule that are looked at for its highest rate."""


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
    """Learning rate of the parent at the checkpoint that this phase starts from."""
    first_lr: float
    """Learning rate before the first step (0 with a warmup)."""
    peak_lr: float
    final_lr: float
    mixture: dict[str, float]
    """Share of each source in the whole phase."""
    source_tokens: dict[str, int]
    """Tokens of each source in the whole phase, to the nearest token."""
    schedule: str
    """The mixture in words."""
    is_constant: bool
    """Whether the mixture is the same throughout the phase."""
    epochs: dict[str, float | None]
    """Passes over each source, from the root of the chain to the end of this phase; None where
    neither its shard is there nor the study states its tokens."""
    layout: str
    trained_with: str | None
    """The phase before this one that is the same training, which happens once; None where there is
    none."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return asdict(self)


def outlook(tree: StudyTree) -> list[PhaseOutlook]:
    """Every phase, parents before children."""
    return [_phase_outlook(tree, node) for node in tree.nodes.values()]


def repetition_warnings(outlooks: Sequence[PhaseOutlook]) -> list[str]:
    """Sources that a chain reads more than four times."""
    return [
        f"{phase.label}: {source} is read {epochs:.2f} times by the end of this phase; beyond "
        f"{MAX_EPOCHS:.0f} epochs "
        "repeated data is worth less than new data"
        for phase in outlooks
        for source, epochs in phase.epochs.items()
        if epochs is not None and epochs > MAX_EPOCHS
    ]


def sharing_note(outlooks: Sequence[PhaseOutlook]) -> list[str]:
    """How many phases are trained for others as well, and what is trained in all; [] where each is
    a training of its own."""
    shared = [phase for phase in outlooks if phase.trained_with is not None]
    if not shared:
        return []
    trained = sum(phase.train_tokens for phase in outlooks if phase.trained_with is None)
    saved = sum(phase.train_tokens for phase in shared)
    words = ", ".join(f"{phase.label} with {phase.trained_with}" for phase in shared[:_MAX_NAMED])
    more = f" and {len(shared) - _MAX_NAMED} more" if len(shared) > _MAX_NAMED else ""
    return [
        f"{len(outlooks) - len(shared)} trainings for {len(outlooks)} phases: what several cells "
        f"have in common is trained once ({words}{more}); {format_count(trained)} tokens in all, "
        f"{format_count(saved)} more without that"
    ]


def stated_tokens_note(tree: StudyTree) -> list[str]:
    """Which epochs rest on the study's word; [] where all shards are there."""
    stated: dict[str, int] = {}
    for node in tree.nodes.values():
        for name, source in node.config.data.sources.items():
            if name in tree.inventory.stated_tokens and not tree.inventory.manifest(source.train):
                stated[name] = tree.inventory.stated_tokens[name]
    words = ", ".join(f"{name} {format_count(tokens)}" for name, tokens in stated.items())
    return [f"epochs are counted with the tokens that the study states: {words}"] if words else []


def rounding_warnings(budgets: Mapping[str, tuple[int, int]]) -> list[str]:
    """How far the worst budget is off, being met in the nearest number of whole steps (halves up,
    at least one); [] where all are met exactly.

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
        "token budgets are rounded to the nearest whole step: by at most "
        f"{abs(whole - asked):,} tokens, {100 * shares[name]:.2g}% (phase {name})"
    ]


def lr_course(tree: StudyTree, node: PhaseNode) -> tuple[float, float, float]:
    """(before the first step, highest, at the last token)."""
    config = node.config
    rate = curve(tree.chain(node))
    batches, steps = batch_sizes(config), num_steps(config)
    every = max(1, steps // _POINTS)
    warmup = getattr(config.schedule, "warmup_tokens", 0)  # a line has none
    places = [*range(0, steps, every), min(steps, batches.nearest_steps(warmup)), steps]
    rates = [rate.at(batches.tokens(step)) for step in places]
    return rates[0], max(rates), rates[-1]


def _phase_outlook(tree: StudyTree, node: PhaseNode) -> PhaseOutlook:
    plan = tree.plan(node)
    config = node.config
    first, peak, final = lr_course(tree, node)
    samples, planned = phase_samples(config), planned_samples(node)
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
        parent_final_lr=_rate_at_start(tree, node),
        first_lr=first,
        peak_lr=peak,
        final_lr=final,
        mixture={name: round(n / samples, 6) for name, n in planned.items()},
        source_tokens={name: round(n * config.data.sequence_length) for name, n in planned.items()},
        schedule=describe_mixtures(config),
        is_constant=len(courses_of(config)) == 1 and courses_of(config)[0].is_constant,
        epochs=chain_epochs(tree, node),
        layout=layout_text(config.layout, plan.data_parallel),
        trained_with=tree.trained_with(node),
    )


def _rate_at_start(tree: StudyTree, node: PhaseNode) -> float | None:
    if node.parent is None:
        return None
    *parents, _ = tree.chain(node)
    steps = taken_steps(tree.chain(node))[-2]
    return curve(parents).at(batch_sizes(parents[-1].config).tokens(steps))


def planned_samples(node: PhaseNode, steps: int | None = None) -> dict[str, float]:
    """Samples of each source that the phase is to read, or its first `steps`."""
    assert node.mixture is not None, f"{node.key} was not looked up"
    mixture = Mixture(node.mixture)
    samples = phase_samples(node.config)
    if steps is not None:
        samples = batch_sizes(node.config).samples(steps)
    planned = mixture.planned_in_all(samples).tolist()
    return dict(zip(mixture.source_names, planned, strict=True))


def chain_tokens(tree: StudyTree, node: PhaseNode) -> dict[str, float]:
    """Tokens of each source that the chain up to `node` reads."""
    tokens: dict[str, float] = {}
    chain = tree.chain(node)
    for phase, steps in zip(chain, taken_steps(chain), strict=True):
        for name, samples in planned_samples(phase, steps).items():
            length = phase.config.data.sequence_length
            tokens[name] = tokens.get(name, 0.0) + samples * length
    return dict(sorted(tokens.items()))


def chain_epochs(tree: StudyTree, node: PhaseNode) -> dict[str, float | None]:
    """Passes over each source that the chain up to `node` reads; samples are cut one token longer
    than the sequence."""
    epochs: dict[str, float | None] = {}
    chain = tree.chain(node)
    for phase, steps in zip(chain, taken_steps(chain), strict=True):
        config = phase.config
        known = tree.inventory.num_tokens(config)
        for name, samples in planned_samples(phase, steps).items():
            if name not in known:
                epochs[name] = None
                continue
            per_epoch = max(1, (known[name] - 1) // config.data.sequence_length)
            epochs[name] = (epochs.get(name) or 0.0) + samples / per_epoch
    return dict(sorted(epochs.items()))
