"""What is known of a run's memory before it starts. Free of torch, as who starts the ranks is."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What the planner says of a run."""

    bytes_of_stage: tuple[int, ...]
    """What a step takes on each rank of a pipeline stage, without CUDA's own context."""
    is_exact: bool
    """Whether the formulas were compared with such a model and optimizer."""
    change_for: Callable[[int, str], str]
    """(bytes of a device, its name) -> what to do so that the plan takes no more than these."""
