"""Phases that start from others: how far each goes, where its sources stand, what must fit."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.learning_rate import LearningRate, Link, learning_rate
from megatron_codemix.config.mixture_checks import weighted_sources
from megatron_codemix.config.parent_checks import check_like_parent
from megatron_codemix.config.plan import num_steps
from megatron_codemix.config.schedule_checks import check_chain_length, check_parent_schedule
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.lineage import start_step
from megatron_codemix.study.node import PhaseNode


def taken_steps(chain: Sequence[PhaseNode]) -> list[int]:
    """Steps of each phase of a chain, up to where the next one starts."""
    steps = []
    for phase, child in pairwise(chain):
        assert child.config.init_from is not None, "it has a parent"
        steps.append(start_step(child.config.init_from, phase.config))
    return [*steps, num_steps(chain[-1].config)]


def curve(chain: Sequence[PhaseNode]) -> LearningRate:
    """Learning rate of the last phase of the chain."""
    return learning_rate(_links(chain))


def _links(chain: Sequence[PhaseNode]) -> list[Link]:
    return [
        Link(config=phase.config, tokens=batch_sizes(phase.config).tokens(steps))
        for phase, steps in zip(chain, taken_steps(chain), strict=True)
    ]


def cursors_before(node: PhaseNode, done: Mapping[str, PhaseNode]) -> dict[str, int]:
    """Where each source stands when `node` starts; `done` has its parents by key."""
    if node.parent is None or node.config.data.restart:
        return {}
    parent = done[f"{node.cell}/{node.parent}"]
    if parent.mixture is None:
        return {}
    cursors = cursors_before(parent, done)
    mixture = Mixture(parent.mixture)
    samples = batch_sizes(parent.config).samples(taken_steps([parent, node])[0])
    counts = mixture.counts(samples).tolist()
    for name, count in zip(mixture.source_names, counts, strict=True):
        cursors[name] = cursors.get(name, 0) + count
    return cursors


def chain_problems(chain: Sequence[PhaseNode]) -> Iterator[str]:
    """What keeps the last phase of the chain from going on with its parent; where it starts is for
    `branch_problems`."""
    if len(chain) == 1:
        return
    parent, config = chain[-2].config, chain[-1].config
    yield from check_like_parent(config, parent, f"parent {chain[-2].name!r}")
    yield from _sample_problems(chain)
    yield from check_parent_schedule(config, parent)
    yield from check_chain_length(config, [link.tokens for link in _links(chain)])


def _sample_problems(chain: Sequence[PhaseNode]) -> Iterator[str]:
    """Sources that are cut into other samples than a phase before cut them: where that one stood
    means nothing then."""
    config = chain[-1].config
    names = set() if config.data.restart else weighted_sources(config.data)
    for earlier in reversed(chain[:-1]):
        for name in sorted(names & weighted_sources(earlier.config.data)):
            names.remove(name)
            own, before = _samples_text(config, name), _samples_text(earlier.config, name)
            if own != before:
                is_length = config.data.sequence_length != earlier.config.data.sequence_length
                field = "data.sequence_length" if is_length else f"data.sources.{name}.packing"
                yield (
                    f"{field}: source {name!r} is read in {own}, and phase {earlier.name!r} reads "
                    f"it in {before}, so where that one stood means nothing here; cut it alike, or "
                    "set data.restart=true to read from the beginning"
                )
        if earlier.config.data.restart:
            return


def _samples_text(config: RunConfig, name: str) -> str:
    packing = config.data.sources[name].packing
    kind = "windows" if packing is None else f"{packing} samples"
    return f"{kind} of {config.data.sequence_length} tokens"
