"""From a target to a ladder of small runs: sizes, token budgets, batches, learning rates.

Each size is trained once, at a rate that stays up; from that training each budget branches off with
a decay of its own (arXiv 2405.18392, 2404.06395), so that four budgets cost little more than the
longest.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.plan import nearest_steps
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.scaling import rules
from megatron_codemix.scaling.shapes import shape_near
from megatron_codemix.units import format_count

CHINCHILLA_TOKENS = 20
"""Tokens for each parameter of a compute-optimal training (arXiv 2203.15556)."""
SIZE_RATIO = 2.0
"""Between a size and the next, in parameters without embeddings."""
SCARCE_TOKENS = 5
"""For each parameter: runs with fewer are trained so little that they say little of a target that
is trained well."""
_SEARCH_STEPS = 40
_MIN_BODY = 1000


@dataclass(frozen=True, kw_only=True)
class Target:
    """What the ladder is to predict."""

    model: ModelConfig
    tokens: int
    sequence_length: int

    @property
    def flops(self) -> float:
        return training_flops_per_token(self.model, self.sequence_length) * self.tokens


@dataclass(frozen=True, kw_only=True)
class Design:
    """What the ladder's runs have in common."""

    sizes: int = 5
    multiples: tuple[Fraction, ...] = (Fraction(1), Fraction(2), Fraction(5), Fraction(10))
    """Budgets of each size, in multiples of its `CHINCHILLA_TOKENS`; those of AI2's ladder."""
    budgets: tuple[int, ...] | None = None
    """The same tokens for every size, in place of `multiples`: runs of equal compute then lie on
    the diagonals of sizes and budgets."""
    decay: Fraction = Fraction(1, 5)
    """Part of a budget in which the learning rate decays: with a fifth the end is that of a cosine
    (arXiv 2405.18392, section 4)."""
    learning_rate: float | None = None
    """One for all sizes, as width transfer allows (`model.mup`); None: by the rule of sizes."""
    rate_factor: float = 1.0
    """Of the rates by the rule of sizes."""
    batch_multiple: int = 8
    """Batches are multiples of this, as data parallelism asks."""
    batch_sequences: int | None = None
    """One for all sizes, at rates by the rule of sizes; None: by that rule, or by `budgets`."""
    shares: tuple[Fraction, ...] = (Fraction(0), Fraction(1, 4), Fraction(1, 2))
    """Code in the mixture."""
    seeds: int = 1

    @property
    def repetitions(self) -> int:
        """Trainings of each size."""
        return len(self.shares) * self.seeds


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One budget: where it leaves the stable training, and the decay."""

    name: str
    from_tokens: int
    decay_tokens: int

    @property
    def tokens(self) -> int:
        """From the first step of the stable training to the end of the decay."""
        return self.from_tokens + self.decay_tokens


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One size."""

    name: str
    model: ModelConfig
    parameters_total: int
    parameters_without_embedding: int
    sequence_length: int
    batch_sequences: int
    learning_rate: float
    warmup_tokens: int
    beta2: float
    keep_every_tokens: int
    """Checkpoints of the stable training, from some of which the branches start."""
    branches: tuple[Branch, ...]

    @property
    def stable_tokens(self) -> int:
        return self.branches[-1].from_tokens

    @property
    def trained_tokens(self) -> int:
        """Of all trainings of this size, for one mixture and seed."""
        return self.stable_tokens + sum(branch.decay_tokens for branch in self.branches)

    @property
    def flops(self) -> float:
        """Of `trained_tokens`."""
        return training_flops_per_token(self.model, self.sequence_length) * self.trained_tokens


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
            "sizes": [_rung_record(rung) for rung in self.rungs],
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
    _raise_if_impossible(design)
    rungs = tuple(make_rung(shape_near(target.model, size), target, design) for size in sizes)
    return Ladder(target=target, design=design, rungs=rungs)


def make_rung(model: ModelConfig, target: Target, design: Design) -> Rung:
    """One size with its budgets, in whole steps. Raises ConfigError where they are too small."""
    counted = rules.rule_parameters(model)
    wanted = _wanted_tokens(counted, design)
    rate = design.rate_factor * rules.stable_learning_rate(counted)
    warmup = rules.warmup_tokens(counted)
    batch = rules.batch_sequences(counted, target.sequence_length, design.batch_multiple)
    if design.budgets is not None:
        warmup = min(warmup, wanted[0] // 10)
    if design.batch_sequences is not None:
        batch = design.batch_sequences
    elif design.budgets is not None:
        # Noise in the gradients, which the batch goes by, follows the tokens rather than the size
        # (arXiv 2410.21676); the two agree where a training is compute-optimal. Adam's rate goes
        # by the root of the batch (arXiv 2205.10287).
        usual, optimal = batch, math.exp(_mean_log(wanted)) / CHINCHILLA_TOKENS
        batch = rules.batch_sequences(optimal, target.sequence_length, design.batch_multiple)
        rate *= math.sqrt(batch / usual)
    step_tokens = batch * target.sequence_length
    branches, unit_steps = _branches(wanted, step_tokens, design.decay)
    body = rules.body_parameters(model)
    return Rung(
        name=size_name(body),
        model=model,
        parameters_total=count_parameters(model, model.vocabulary_size),
        parameters_without_embedding=body,
        sequence_length=target.sequence_length,
        batch_sequences=batch,
        learning_rate=design.learning_rate or float(f"{rate:.3g}"),
        warmup_tokens=warmup,
        beta2=rules.second_moment_decay(step_tokens),
        keep_every_tokens=unit_steps * step_tokens,
        branches=branches,
    )


def _wanted_tokens(parameters: int, design: Design) -> list[int]:
    if design.budgets is not None:
        return sorted(design.budgets)
    return sorted(round(CHINCHILLA_TOKENS * parameters * times) for times in design.multiples)


def _branches(
    wanted: Sequence[int], step_tokens: int, decay: Fraction
) -> tuple[tuple[Branch, ...], int]:
    """The budgets in whole steps, and the steps between the checkpoints that they leave from:
    budgets are whole multiples of what they have in common, so the checkpoints are too."""
    multiples = [Fraction(tokens, wanted[0]).limit_denominator(100) for tokens in wanted]
    common = _common_divisor(multiples)
    unit_steps = nearest_steps(round(wanted[0] * common * (1 - decay)), step_tokens)
    branches = []
    for tokens, times in zip(wanted, multiples, strict=True):
        steps = int(times / common) * unit_steps
        decay_steps = nearest_steps(round(tokens * decay), step_tokens)
        branches.append(
            Branch(
                name=f"{decimal(times)}x",
                from_tokens=steps * step_tokens,
                decay_tokens=decay_steps * step_tokens,
            )
        )
    return tuple(branches), unit_steps


def _common_divisor(numbers: Sequence[Fraction]) -> Fraction:
    """The largest number of which all are whole multiples."""
    bottom = math.lcm(*(number.denominator for number in numbers))
    return Fraction(math.gcd(*(int(number * bottom) for number in numbers)), bottom)


def _mean_log(numbers: Sequence[int]) -> float:
    return sum(math.log(number) for number in numbers) / len(numbers)


def _raise_if_impossible(design: Design) -> None:
    """Raises ConfigError with everything in the design that is no ladder."""
    problems = []
    if design.sizes < 2:
        problems.append(f"--sizes {design.sizes}: one size says nothing about others; at least 2")
    counts = design.budgets if design.budgets is not None else design.multiples
    if not counts or min(counts) <= 0 or len(set(counts)) < len(counts):
        option = "--budgets" if design.budgets is not None else "--multiples"
        words = ", ".join(f"{float(count):g}" for count in counts)
        problems.append(f"{option} {words}: must be above 0, each once")
    if any(not 0 <= share < 1 for share in design.shares) or not design.shares:
        problems.append("--shares: parts of code in the mixture, from 0 to below 1")
    if len(set(design.shares)) < len(design.shares):
        problems.append("--shares: one stands there twice")
    if design.learning_rate is not None and not design.learning_rate > 0:
        problems.append(f"--learning-rate {design.learning_rate:g}: must be above 0")
    if not design.rate_factor > 0:
        problems.append(f"--rate-factor {design.rate_factor:g}: must be above 0")
    if not 0 < design.decay < 1:
        problems.append(f"--decay {float(design.decay):g}: a part of each budget, between 0 and 1")
    if problems:
        raise ConfigError(problems)


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


def size_name(parameters: int) -> str:
    """`17M`: two digits, a name for phases."""
    digits = 10 ** max(0, len(str(parameters)) - 2)
    return format_count(round(parameters / digits) * digits)


def decimal(number: Fraction) -> str:
    """`2` or `0.25`."""
    return f"{float(number):.6g}"


def _rung_record(rung: Rung) -> dict[str, Any]:  # Any: JSON values
    record = {key: value for key, value in asdict(rung).items() if key not in ("model", "branches")}
    model = rung.model
    return record | {
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "ffn_hidden_size": model.ffn_hidden_size,
        "num_attention_heads": model.num_attention_heads,
        "flops": rung.flops,
        "budgets": [
            {"name": branch.name, "tokens": branch.tokens, "from_tokens": branch.from_tokens}
            for branch in rung.branches
        ],
    }
