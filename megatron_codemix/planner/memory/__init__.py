"""Memory of a job: by formula in well under a millisecond, and with parameters, gradients and
optimizer as megatron-core builds them in seconds."""

from megatron_codemix.planner.memory.estimate import (
    MemoryEstimate,
    StageMemory,
    estimate_memory,
)
from megatron_codemix.planner.memory.exact import ExactCounts, exact_counts
from megatron_codemix.planner.memory.layer import CPU, GPU, Kernels

__all__ = [
    "CPU",
    "GPU",
    "ExactCounts",
    "Kernels",
    "MemoryEstimate",
    "StageMemory",
    "estimate_memory",
    "exact_counts",
]
