"""Which GPUs and cores of this machine each of several trainings side by side may use."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from megatron_codemix.errors import ConfigError

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"


def gpu_shares(
    jobs: int,
    world_size: int,
    environment: Mapping[str, str] = os.environ,
    device_files: Path = Path("/dev"),
) -> list[dict[str, str]]:
    """For each of `jobs` places: the variables that leave it `world_size` GPUs of its own; nothing
    where this machine has none, or where there is one place, which sees what this process sees.

    Raises ConfigError where there are too few: two trainings on one GPU would take each other's
    memory.
    """
    gpus = _visible_gpus(environment, device_files)
    if jobs == 1 or not gpus:
        return [{} for _ in range(jobs)]
    if jobs * world_size > len(gpus):
        raise ConfigError(
            [
                f"--jobs {jobs}: that many phases of {world_size} processes need "
                f"{jobs * world_size} GPUs, and this process sees {len(gpus)}; use --jobs "
                f"{max(1, len(gpus) // world_size)}"
            ]
        )
    starts = range(0, jobs * world_size, world_size)
    return [{_VISIBLE: ",".join(gpus[start : start + world_size])} for start in starts]


def thread_shares(
    jobs: int, world_size: int, environment: Mapping[str, str] = os.environ, num_cores: int = 0
) -> dict[str, str]:
    """The variables that leave each of `jobs` trainings its part of the cores; nothing where that
    is what it would take, or the environment says how many threads.

    num_cores: 0: those that this process may use.
    """
    if jobs == 1 or world_size > 1 or _THREADS in environment:  # of several ranks each has one
        return {}
    return {_THREADS: str(max(1, (num_cores or len(os.sched_getaffinity(0))) // jobs))}


def _visible_gpus(environment: Mapping[str, str], device_files: Path) -> list[str]:
    given = environment.get(_VISIBLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    files = (re.fullmatch(r"nvidia(\d+)", path.name) for path in device_files.glob("nvidia*"))
    return [str(number) for number in sorted(int(found[1]) for found in files if found)]
