"""How long a training step takes, by formula."""

from megatron_codemix.planner.time.constants import Constants, load_constants
from megatron_codemix.planner.time.estimate import TimeEstimate, estimate_time

__all__ = ["Constants", "TimeEstimate", "estimate_time", "load_constants"]
