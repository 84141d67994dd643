"""The ladder for one machine without a GPU: 5 sizes, 4 budgets, in the time of a long lunch."""

from fractions import Fraction
from pathlib import Path

from megatron_codemix.scaling.ladder import Design, Ladder, Target, ladder_of_sizes
from megatron_codemix.scaling.ladder_study import Machine
from megatron_codemix.scaling.model_file import read_model

TARGET = Path("examples/scaling_law/tiny_target.yaml")
TARGET_TOKENS = 16_000_000
SIZES = (12_500, 25_000, 50_000, 100_000, 200_000)
"""Parameters without embeddings."""
BUDGETS = (500_000, 1_000_000, 2_000_000, 4_000_000)
"""The same for every size: with sizes that double, runs of equal compute lie on diagonals."""
RATE_FACTOR = 1 / 3
"""The rule of sizes was measured on far larger models. Here, after 400 steps of this batch, 56K
parameters do best at 0.004, 780K at 0.0014 or below; a third of the rule is 0.0043 and 0.0012."""
MACHINE = Machine(
    world_size=1,
    microbatch_sequences=None,
    precision="fp32",
    has_gpus=False,
    validation_bytes=100_000,
)


def make_tiny_ladder(shares: tuple[Fraction, ...], seeds: int) -> Ladder:
    """Raises ConfigError where the shares are no parts of mixtures."""
    file = read_model(TARGET)
    target = Target(model=file.model, tokens=TARGET_TOKENS, sequence_length=file.sequence_length)
    design = Design(
        sizes=len(SIZES),
        budgets=BUDGETS,
        rate_factor=RATE_FACTOR,
        batch_multiple=1,
        shares=shares,
        seeds=seeds,
    )
    return ladder_of_sizes(target, design, SIZES)
