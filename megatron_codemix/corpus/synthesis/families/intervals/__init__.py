"""Intervals: merged, taken greedily, counted over points, and the gaps between them."""

from megatron_codemix.corpus.synthesis.families.intervals.family import Intervals

__all__ = ["Intervals"]
