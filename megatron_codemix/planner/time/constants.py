"""The few numbers that data sheets do not tell: what part of a peak is reached, what overlaps."""

import sys
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Literal, Self

from megatron_codemix.planner.hardware import read_table

Software = Literal["megatron", "foundry"]
"""Whose kernels and overlap the constants describe: Megatron-LM with Transformer Engine (and this
project, which uses megatron-core), or llm-foundry with PyTorch's FSDP."""


@dataclass(frozen=True, kw_only=True)
class Constants:
    """Fitted numbers of the time model. `tables/constants.yaml` says how each was fixed."""

    gemm_efficiency: float
    """Part of the bf16 peak that an endless matrix product reaches."""
    gemm_ramp: float
    """What a tile of a product costs besides its operations, as so many more terms of each sum
    in bf16."""
    fp8_efficiency: float
    """Part of the FP8 peak that an endless matrix product reaches."""
    attention_efficiency: float
    """Part of the bf16 peak that attention reaches, exponentials counted (see `attention`)."""
    memory_efficiency: float
    """Part of the memory bandwidth that kernels without products reach."""
    elementwise_factor: float
    """Memory traffic of these kernels as a multiple of what fused ones need."""
    kernel_seconds: float
    """What starting a kernel costs besides its work."""
    link_efficiency: float
    """Part of NVLink's and the network's bandwidth that collectives reach."""
    hop_factor: float
    """What each node of a ring adds to a collective, as a multiple of the network's latency."""
    exposed_fraction: float
    """Part of a collective that delays the step although there is work enough to hide it."""
    tensor_exposed_fraction: float
    """The same of tensor-parallel collectives that run piece by piece beside the products."""
    jitter: float
    """What each doubling of the nodes adds to the step, as a part of it: all wait for the
    slowest."""
    host_seconds: float
    """Of a step, whatever its size: data, logging, the host."""

    def with_(self, **changes: float) -> Self:
        """These constants with some of them changed."""
        return replace(self, **changes)

    def as_dict(self) -> dict[str, float]:
        """By name."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(field.name for field in fields(Constants))
AT_MOST_ONE = frozenset(name for name in NAMES if name.endswith(("_efficiency", "_fraction")))
"""Parts of something."""
_ABOVE_ZERO = frozenset(
    name for name in NAMES if name.endswith("_efficiency") or name == "elementwise_factor"
)
"""Without which nothing would get done, or would take no time."""


def is_possible(name: str, value: float) -> bool:
    """Whether the constant `name` may have this value."""
    is_large_enough = value > 0 if name in _ABOVE_ZERO else value >= 0
    most = 1 if name in AT_MOST_ONE else sys.float_info.max  # nan is not below it
    return is_large_enough and value <= most


def possible_values(name: str) -> str:
    """What `is_possible` takes, in words."""
    least = "above 0" if name in _ABOVE_ZERO else "of at least 0"
    return f"a number {least} and at most 1" if name in AT_MOST_ONE else f"a finite number {least}"


@cache
def load_constants(software: Software = "megatron") -> Constants:
    """The constants that come with the planner."""
    table = read_table("constants.yaml")
    return Constants(**{name: float(table[name][software]) for name in NAMES})


@cache
def first_guess() -> Constants:
    """What was expected before any fit: where fits begin and what little data leaves unchanged."""
    table = read_table("constants.yaml")
    return Constants(**{name: float(table[name]["expected"]) for name in NAMES})


@cache
def spreads() -> dict[str, float]:
    """How far from the expected value a constant may well be, as a standard deviation of its
    logarithm; constants with 0 are not fitted."""
    table = read_table("constants.yaml")
    return {name: float(table[name]["spread"]) for name in NAMES}
