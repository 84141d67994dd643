"""Which rank this process is: what our launcher, torchrun or SLURM's srun have told it."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from megatron_codemix.errors import ConfigError

# Pseudo steps (batch script, interactive, extern) have ids from 0xfffffff0 up; tasks of srun have
# small ones.
_FIRST_PSEUDO_STEP = 0xFFFFFFF0


@dataclass(frozen=True, kw_only=True)
class RankContext:
    """One process among `world_size`."""

    rank: int
    world_size: int
    local_rank: int
    """Number of the process on its machine: chooses the device."""
    init_method: str
    """Where the ranks meet, as torch.distributed.init_process_group takes it."""
    launch: str = ""
    """Tells these ranks from others that may meet at the same place; "" where the launcher does
    not say."""
    hosts: tuple[str, ...] = ()
    """Where each rank should be; () where the launcher does not say."""
    record: int | None = None
    """Open file that our own launcher reads a failure from, and no other has."""


def rank_context_from_environment(
    environment: Mapping[str, str] = os.environ,
) -> RankContext | None:
    """The rank that torchrun or srun has made of this process; None if neither has.

    An `srun` of a single task gives None: that process may be alone or start ranks itself.
    Raises ConfigError where a launcher's variables are incomplete or not numbers.
    """
    if "RANK" in environment:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        rank, world_size, local_rank = _read_numbers(environment, names, "torchrun")
        missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]
        if missing:
            raise ConfigError(
                [f"RANK is set, {' and '.join(missing)} not; unset RANK, or start under torchrun"]
            )
        return _checked(
            RankContext(
                rank=rank, world_size=world_size, local_rank=local_rank, init_method="env://"
            )
        )
    if _is_srun_task(environment):
        names = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")
        rank, world_size, local_rank = _read_numbers(environment, names, "srun")
        if world_size == 1:
            return None
        method = f"tcp://{_slurm_master(environment)}"
        return _checked(
            RankContext(
                rank=rank,
                world_size=world_size,
                local_rank=local_rank,
                init_method=method,
                launch=f"{environment.get('SLURM_JOB_ID', '')}.{environment['SLURM_STEP_ID']}",
                hosts=planned_hosts(environment),
            )
        )
    return None


def _is_srun_task(environment: Mapping[str, str]) -> bool:
    # A batch script has SLURM_PROCID=0 and SLURM_NTASKS too, and yet is no rank: only a real step
    # makes ranks.
    step = environment.get("SLURM_STEP_ID", "")
    return "SLURM_PROCID" in environment and step.isdecimal() and int(step) < _FIRST_PSEUDO_STEP


def _slurm_master(environment: Mapping[str, str]) -> str:
    """host:port, the same on all tasks of a step; MASTER_ADDR and MASTER_PORT win where set."""
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    if not hosts and "MASTER_ADDR" not in environment:
        raise ConfigError(
            ["SLURM_JOB_NODELIST is not set though SLURM_PROCID is; start the ranks with srun"]
        )
    address = environment.get("MASTER_ADDR") or first_host(hosts)
    if "MASTER_PORT" in environment:
        (port,) = _read_numbers(environment, ("MASTER_PORT",), "srun")
    else:
        job, step = _read_numbers(environment, ("SLURM_JOB_ID", "SLURM_STEP_ID"), "srun")
        # Jobs that share a node need different ports, and so do steps of a job: a stride far from
        # that of jobs, which often follow each other.
        port = 20000 + (job + 1009 * step) % 10000
    return f"{address}:{port}"


def first_host(node_list: str) -> str:
    """First of a SLURM host list: "gpu[07-09,12],login1" -> "gpu07", "r[1-2]n[3,5]" -> "r1n3"."""
    return hosts_of(node_list)[0]


def hosts_of(node_list: str) -> list[str]:
    """All of a SLURM host list, in its order: "gpu[07-08],login1" -> gpu07, gpu08, login1; several
    brackets count like digits, the last one first. Raises ConfigError."""
    names = re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", node_list)
    if not names:
        raise ConfigError([f"not a SLURM host list: {node_list!r}"])
    return [host for name in names for host in _expanded(name)]


def _expanded(name: str) -> list[str]:
    match = re.search(r"\[([^\]]*)\]", name)
    if match is None:
        return [name]
    before, after = name[: match.start()], name[match.end() :]
    numbers = [number for part in match.group(1).split(",") for number in _counted(part)]
    return [host for number in numbers for host in _expanded(f"{before}{number}{after}")]


def _counted(part: str) -> list[str]:
    """ "07-09" -> 07, 08, 09; "12" -> 12."""
    first, dash, last = part.partition("-")
    if not dash:
        return [first]
    return [f"{number:0{len(first)}d}" for number in range(int(first), int(last) + 1)]


def planned_hosts(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Of each rank of a step of SLURM that deals them out in blocks, as srun does by default; ()
    where it deals otherwise, or the tasks of its nodes are not known."""
    if not environment.get("SLURM_DISTRIBUTION", "block").startswith("block"):
        return ()
    nodes = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_JOB_NODELIST", "")
    counts = environment.get("SLURM_STEP_TASKS_PER_NODE", "")
    parts = re.findall(r"(\d+)(?:\(x(\d+)\))?", counts)
    if not nodes or not parts:
        return ()
    tasks = [int(count) for count, times in parts for _ in range(int(times or 1))]
    hosts = hosts_of(nodes)
    if len(hosts) != len(tasks):
        return ()
    return tuple(host for host, count in zip(hosts, tasks, strict=True) for _ in range(count))


def _read_numbers(
    environment: Mapping[str, str], names: tuple[str, ...], launcher: str
) -> list[int]:
    problems = [
        f"{name}={environment.get(name, '')!r}: not a number; start under {launcher}, or unset it"
        for name in names
        if not environment.get(name, "").isdecimal()
    ]
    if problems:
        raise ConfigError(problems)
    return [int(environment[name]) for name in names]


def _checked(context: RankContext) -> RankContext:
    if context.rank >= context.world_size:
        raise ConfigError(
            [f"rank {context.rank} of a world of {context.world_size}: ranks count from 0"]
        )
    return context
