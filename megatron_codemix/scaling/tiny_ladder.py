"""The ladder for one machine without a GPU: 5 sizes, 4 budgets, in the time of a long lunch."""

from fractions import Fraction
from pathlib import Path

from megatron_codemix.scaling.ladder import Ladder, ladder_of_sizes
from megatron_codemix.scaling.ladder_design import Design, Target
from megatron_codemix.scaling.ladder_study import Machine
from megatron_codemix.scaling.model_file import read_model

TARGET = Path("examples/scaling_law/tiny_target.yaml")
TARGET_TOKENS = 8_000_000
SIZES = (24_000, 55_000, 100_000, 220_000, 390_000)
"""Parameters without embeddings, each about twice the one before. All have two layers: a model of
one cannot copy what came before, and its losses are of another law."""
BUDGETS = (500_000, 1_000_000, 2_000_000, 4_000_000)
"""The same for every size: with sizes that double, runs of equal compute lie on diagonals."""
BATCH_SEQUENCES = 8
"""Of 128 tokens: trainings of so few tokens lack steps. After a million, 200K parameters are at 2.6
bits a byte of text with 8 sequences a step, at 3.1 with 19, as the rule of budgets would have."""
RATE_FACTOR = 1 / 5
"""The rule of sizes was measured on far larger models. Here, after half a million tokens, 24K
parameters do best at 0.009 (2.93 bits a byte; 2.94 at 0.0065, 2.97 at 0.004, 3.09 at 0.015), 56K at
0.005 (2.78; 2.88 at 0.0026, 2.93 at 0.009), 390K at 0.0026 (2.53; 2.59 at 0.005); a fifth of the
rule is 0.0065, 0.0052, 0.0029."""
MACHINE = Machine(
    world_size=1,
    microbatch_sequences=None,
    precision="fp32",
    has_gpus=False,
    validation_bytes=1_000_000,  # all that a machine's corpus has; of a document 1,024 tokens
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
        batch_sequences=BATCH_SEQUENCES,
        shares=shares,
        seeds=seeds,
    )
    return ladder_of_sizes(target, design, SIZES)
