"""How many trainings fit on this machine side by side, and which GPUs and cores each may use."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from megatron_codemix.errors import ConfigError
from megatron_codemix.launch import allowance

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_THREADS = "OMP_NUM_THREADS"
_GPU_FILE = re.compile(r"nvidia\d+")


def fitting_jobs(
    world_size: int,
    *,
    num_evaluators: int = 1,
    needs_gpus: bool,
    process_bytes: int,
    environment: Mapping[str, str] = os.environ,
    device_files: Path = Path("/dev"),
    num_cores: int = 0,
    free_bytes: int = 0,
) -> int:
    """How many trainings of `world_size` processes fit, at least one: on GPUs those that have GPUs
    of their own, on CPUs those that have a core and `process_bytes` of memory for each process. A
    training of one process on CPUs takes all cores by its threads.

    num_evaluators: processes that then evaluate it in the same place, and need as much each.
    num_cores, free_bytes: 0: as this process finds them.
    """
    processes = max(world_size, num_evaluators)
    if needs_gpus:
        return max(1, len(_visible_gpus(environment, device_files)) // processes)
    if world_size == 1:
        return 1
    cores = num_cores or allowance.usable_cores()
    by_memory = (free_bytes or allowance.free_bytes()) // (processes * process_bytes)
    return max(1, min(cores // processes, by_memory))


def gpu_shares(
    jobs: int,
    processes: int,
    environment: Mapping[str, str] = os.environ,
    device_files: Path = Path("/dev"),
) -> list[dict[str, str]]:
    """For each of `jobs` places: the variables that leave it `processes` GPUs of its own; nothing
    where this machine has none, or where there is one place, which sees what this process sees.

    processes: that train in a place or evaluate in it, whichever are more.
    Raises ConfigError where there are too few: two trainings on one GPU would take each other's
    memory.
    """
    gpus = _visible_gpus(environment, device_files)
    if jobs == 1 or not gpus:
        return [{} for _ in range(jobs)]
    if jobs * processes > len(gpus):
        raise ConfigError(
            [
                f"--jobs {jobs}: that many phases of {processes} processes need "
                f"{jobs * processes} GPUs, and this process sees {len(gpus)}; use --jobs "
                f"{max(1, len(gpus) // processes)}"
            ]
        )
    starts = range(0, jobs * processes, processes)
    return [{_VISIBLE: ",".join(gpus[start : start + processes])} for start in starts]


def thread_shares(
    jobs: int, world_size: int, environment: Mapping[str, str] = os.environ, num_cores: int = 0
) -> dict[str, str]:
    """The variables that leave each of `jobs` trainings its part of the cores; nothing where that
    is what it would take, or the environment says how many threads.

    num_cores: 0: those that this process may use.
    """
    if jobs == 1 or world_size > 1 or _THREADS in environment:  # of several ranks each has one
        return {}
    return {_THREADS: str(max(1, (num_cores or allowance.usable_cores()) // jobs))}


def _visible_gpus(environment: Mapping[str, str], device_files: Path) -> list[str]:
    given = environment.get(_VISIBLE)
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip()]
    # CUDA counts what it finds: a container with nvidia2 and nvidia3 alone has GPUs 0 and 1.
    files = [path for path in device_files.glob("nvidia*") if _GPU_FILE.fullmatch(path.name)]
    return [str(number) for number in range(len(files))]
