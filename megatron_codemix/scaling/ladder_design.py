"""What a ladder of small runs is to predict, and what its runs have in common."""

from dataclasses import dataclass
from fractions import Fraction

from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import ConfigError


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


def raise_if_impossible(design: Design) -> None:
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
