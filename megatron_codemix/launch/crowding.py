"""How many ranks this machine can hold, told before the first of them is started."""

import sys

from megatron_codemix.errors import RetryableError, UnavailableError
from megatron_codemix.launch.allowance import obtainable_bytes, total_bytes, usable_cores
from megatron_codemix.units import format_bytes

CROWDED_RANKS_PER_CORE = 4

RANK_BYTES = 48 << 20
"""What a small rank holds for itself, beside the libraries that forks share. Measured (USS in
/proc/PID/smaps_rollup, 4 ranks, torch 2.13): 45 MiB one that trains the smallest model of the
tests, and 14 MiB its writer of checkpoints; 24 MiB one that evaluates that model; 100 MiB one of
`bench collectives`. On a GPU, where libraries are not shared, it is more."""


def require_room(num_ranks: int) -> None:
    """Raises UnavailableError where so many ranks cannot fit into memory, whatever they do, and
    RetryableError where others have it now: to start them would take the machine from all who use
    it. For a command to ask at its start, before anything is written."""
    obtainable, needed = obtainable_bytes(), num_ranks * RANK_BYTES
    if obtainable is None or needed <= obtainable:
        return
    kind, now = (UnavailableError, "") if needed > total_bytes() else (RetryableError, " now")
    raise kind(
        f"{num_ranks} processes need about {format_bytes(needed)} of memory "
        f"({format_bytes(RANK_BYTES)} each, without a model), and at most "
        f"{format_bytes(obtainable)} can be had here{now} (free memory of the machine, limit of "
        "the control group); start fewer: one for each GPU, on CPUs one for each core "
        f"({usable_cores()} here)"
    )


def warn_of_crowding(num_ranks: int) -> None:
    """On stderr, where cores are far fewer."""
    cores = usable_cores()
    if num_ranks > CROWDED_RANKS_PER_CORE * cores:
        sys.stderr.write(
            f"warning: {num_ranks} processes share {cores} {'core' if cores == 1 else 'cores'}; "
            "each waits for the others, and each holds its own copy of the libraries in memory\n"
        )
