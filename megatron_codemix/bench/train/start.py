"""From the command to the first step of a job of four processes."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from megatron_codemix.bench.chaos.job import write_job
from megatron_codemix.bench.measure import Cost
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.bench.train.setting import Setting
from megatron_codemix.errors import RunError
from megatron_codemix.runs import RunDirectory

_RANKS = 4
_LAYOUT = ("layout.tensor=2", "layout.pipeline=2")
_POLL_SECONDS = 0.005
_LIMIT_SECONDS = 300.0
_MAX_FORKED, _MAX_SINGLE = 6.0, 12.0
"""Seconds: the goals."""


def starts(setting: Setting) -> Iterator[Row]:
    """Ranks that our launcher forks after one import, beside ranks that each import everything, as
    torchrun and srun start them. The best of the repeats: others' work only adds to it."""
    job = write_job(
        setting.folder, num_steps=20, save_every=20, num_ranks=_RANKS, overrides=_LAYOUT
    )
    command = [sys.executable, "-m", "megatron_codemix", "train", str(job.config), *_LAYOUT]
    forked, single = [], []
    for number in range(setting.repeats):
        run = RunDirectory(setting.folder / f"forked{number}")
        forked.append(_start([[*command, "--nproc", str(_RANKS)]], [{}], run))
        run = RunDirectory(setting.folder / f"single{number}")
        single.append(_start([command] * _RANKS, _environments(), run))
    ours, peer = _best(forked), _best(single)
    load = os.getloadavg()[0]
    note = f"best of {setting.repeats}; load {load:.1f}"
    what = f"{_RANKS} ranks (TP2, PP2) to the first step"
    yield Row(
        name=f"{what}: forked",
        ours=ours.wall,
        peer=peer.wall,
        unit="s",
        goal=Goal(at_most=_MAX_FORKED),
        note=f"{note}; peer: each imports all",
    )
    yield Row(
        name=f"{what}: one by one",
        ours=peer.wall,
        peer=None,
        unit="s",
        goal=Goal(at_most=_MAX_SINGLE),
        note=note,
    )
    yield Row(
        name=f"{what}: user time of all",
        ours=ours.user,
        peer=peer.user,
        unit="s",
        note="forked beside one by one",
        ours_system_seconds=ours.system,
        peer_system_seconds=peer.system,
    )


def _environments() -> list[Mapping[str, str]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [
        {
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(_RANKS),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
        }
        for rank in range(_RANKS)
    ]


def _start(
    commands: Sequence[Sequence[str]], environments: Sequence[Mapping[str, str]], run: RunDirectory
) -> Cost:
    """What the commands take until the run's first line of metrics; then they are ended. Raises
    RunError where one ends before."""
    output = run.path.with_suffix(".log")
    started = time.perf_counter()
    with open(output, "wb") as handle:
        processes = [
            subprocess.Popen(
                [*command, "--run-dir", str(run.path)],
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            )
            for command, environment in zip(commands, environments, strict=True)
        ]
    try:
        while not _has_line(run.metrics):
            if any(process.poll() is not None for process in processes):
                raise RunError(f"a rank did not start:\n{output.read_text(errors='replace')}")
            if time.perf_counter() - started > _LIMIT_SECONDS:
                raise RunError(f"no step after {_LIMIT_SECONDS:g} s; {output} says how far it came")
            time.sleep(_POLL_SECONDS)
        wall = time.perf_counter() - started
        tree = [psutil.Process(process.pid) for process in processes]
        tree += [child for process in tree for child in process.children(recursive=True)]
        used = [process.cpu_times() for process in tree]
        return Cost(sum(each.user for each in used), sum(each.system for each in used), wall)
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()


def _has_line(path: Path) -> bool:
    return path.exists() and b"\n" in path.read_bytes()


def _best(costs: Sequence[Cost]) -> Cost:
    return Cost(
        min(cost.user for cost in costs),
        min(cost.system for cost in costs),
        min(cost.wall for cost in costs),
    )
