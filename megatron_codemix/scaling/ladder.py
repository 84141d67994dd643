"""From a target to a ladder of small runs: sizes, token budgets, batches, learning rates.

Each size is trained once, at a rate that stays up; from that training each budget branches off with
a decay of its own (arXiv 2405.18392, 2404.06395), so that four budgets cost little more than the
longest.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.errors import ConfigError
from megatron_codemix.scaling import rules
from megatron_codemix.scaling.ladder_design import Design, Target, raise_if_impossible
from megatron_codemix.scaling.rung import CHINCHILLA_TOKENS, Rung, make_rung, rung_record, size_name
from megatron_codemix.scaling.shapes import shape_near

SIZE_RATIO = 2.0
"""Between a size and the next, in parameters without embeddings."""
SCARCE_TOKENS = 5
"""For each parameter: runs with fewer are trained so little that they say little of a target that
is trained well."""
_SEARCH_STEPS = 40
_MIN_BODY = 1000


@dataclass(frozen=True, kw_only=True)
class Ladder:
    """All sizes, smallest first."""

    target: Target
    design: Design
    rungs: tuple[Rung, ...]

    @property
    def flops(self) -> float:
        """Of all sizes, mixtures and seeds."""
        return self.design.repetitions * sum(rung.flops for rung in self.rungs)

    @property
    def num_points(self) -> int:
        """Losses that the ladder gives."""
        return self.design.repetitions * sum(len(rung.branches) for rung in self.rungs)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return {
            "target": {
                "parameters_total": count_parameters(
                    self.target.model, self.target.model.vocabulary_size
                ),
                "tokens": self.target.tokens,
                "flops": self.target.flops,
            },
            "flops": self.flops,
            "share_of_target": self.flops / self.target.flops,
            "points": self.num_points,
            "code_shares": [float(share) for share in self.design.shares],
            "sizes": [rung_record(rung) for rung in self.rungs],
        }


def make_ladder(target: Target, design: Design, compute: float) -> Ladder:
    """The ladder below `target` whose trainings together take at most the part `compute` of the
    target's operations.

    Raises ConfigError where no ladder of so many sizes is that cheap, or a budget is no training.
    """
    if not compute > 0:
        raise ConfigError([f"--compute {compute:g}: a part of the target's operations, above 0"])

    def ladder_of(largest: float) -> Ladder:
        steps = reversed(range(design.sizes))
        return ladder_of_sizes(target, design, [largest / SIZE_RATIO**step for step in steps])

    allowed = compute * target.flops
    low = _MIN_BODY * SIZE_RATIO ** (design.sizes - 1)
    high = float(rules.body_parameters(target.model))
    if low >= high or ladder_of(low).flops > allowed:
        raise ConfigError(
            [
                f"no ladder of {design.sizes} sizes takes at most {compute:g} of the target's "
                f"{target.flops:.2g} operations; allow more (--compute), or fewer sizes, budgets, "
                "shares or seeds"
            ]
        )
    for _ in range(_SEARCH_STEPS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if ladder_of(middle).flops <= allowed else (low, middle)
    ladder = ladder_of(low)
    names = [rung.name for rung in ladder.rungs]
    if len(set(names)) < len(names):
        raise ConfigError(
            [f"sizes {', '.join(names)}: two are the same model; allow more compute or fewer sizes"]
        )
    return ladder


def ladder_of_sizes(target: Target, design: Design, sizes: Sequence[float]) -> Ladder:
    """sizes: parameters without embeddings, ascending; models come as near as whole layers do.

    Raises ConfigError where the design is no ladder.
    """
    raise_if_impossible(design)
    rungs = tuple(make_rung(shape_near(target.model, size), target, design) for size in sizes)
    return Ladder(target=target, design=design, rungs=rungs)


def scarce_tokens(ladder: Ladder) -> list[str]:
    """A warning where budgets are below `SCARCE_TOKENS` for each parameter; [] where none is."""
    scarce = [
        (branch.tokens / rules.rule_parameters(rung.model), rung.name, branch.tokens)
        for rung in ladder.rungs
        for branch in rung.branches
        if branch.tokens < SCARCE_TOKENS * rules.rule_parameters(rung.model)
    ]
    if not scarce:
        return []
    ratio, name, tokens = min(scarce)
    budgets = sum(len(rung.branches) for rung in ladder.rungs)
    return [
        f"{len(scarce)} of {budgets} runs of each mixture have fewer than {SCARCE_TOKENS} tokens a "
        f"parameter ({name} on {size_name(tokens)}: {ratio:.2g}; compute-optimal: "
        f"{CHINCHILLA_TOKENS}); give larger --budgets or less --compute"
    ]
