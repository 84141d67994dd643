"""How long a training step takes, by formula."""

from megatron_codemix.planner.time.constants import Constants, load_constants
from megatron_codemix.planner.time.estimate import TimeEstimate, check_timed, estimate_time

__all__ = ["Constants", "TimeEstimate", "check_timed", "estimate_time", "load_constants"]
