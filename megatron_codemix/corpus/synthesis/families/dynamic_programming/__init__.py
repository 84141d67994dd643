"""Dynamic programming: choices, chains, paths, segments, stairs, knapsacks."""

from megatron_codemix.corpus.synthesis.families.dynamic_programming.family import (
    DynamicProgramming,
)

__all__ = ["DynamicProgramming"]
