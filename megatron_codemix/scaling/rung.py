"""One size of a ladder: its model, batch and rates, and its budgets in whole steps."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.plan import nearest_steps
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.scaling import rules
from megatron_codemix.scaling.ladder_design import Design, Target
from megatron_codemix.units import format_count

CHINCHILLA_TOKENS = 20
"""Tokens for each parameter of a compute-optimal training (arXiv 2203.15556)."""


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


def size_name(parameters: int) -> str:
    """`17M`: two digits, a name for phases."""
    digits = 10 ** max(0, len(str(parameters)) - 2)
    return format_count(round(parameters / digits) * digits)


def decimal(number: Fraction) -> str:
    """`2` or `0.25`."""
    return f"{float(number):.6g}"


def rung_record(rung: Rung) -> dict[str, Any]:  # Any: JSON values
    """For --json."""
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
