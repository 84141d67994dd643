"""Memory and cores that this process may have.

Containers and the jobs of a cluster are limited by control groups (cgroups), of which the machine's
free memory and the cores that a process may run on say nothing. A group's limits hold for all that
are in it, so those of the whole path count. Both versions are read:
https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

_MEMINFO = Path("/proc/meminfo")
_OWN_GROUPS = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")
_MEMORY_FILES = (
    ("memory.max", "memory.current", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Limit, what is taken, and which part of that is files that can be read again."""


def free_bytes(
    meminfo: Path = _MEMINFO, own_groups: Path = _OWN_GROUPS, mount: Path = _MOUNT
) -> int:
    """Memory that can be had without swapping, and without being killed for it."""
    left = [_bytes_left_in(folder) for folder in _groups("memory", own_groups, mount)]
    machine = _machine_bytes("MemAvailable", meminfo)
    return min([machine, *(one for one in left if one is not None)])


def total_bytes(
    meminfo: Path = _MEMINFO, own_groups: Path = _OWN_GROUPS, mount: Path = _MOUNT
) -> int:
    """Memory that all processes under the same limits may have together."""
    limits = [_limit_of(folder) for folder in _groups("memory", own_groups, mount)]
    machine = _machine_bytes("MemTotal", meminfo)
    return min([machine, *(one for one in limits if one is not None)])


def obtainable_bytes(
    meminfo: Path = _MEMINFO, own_groups: Path = _OWN_GROUPS, mount: Path = _MOUNT
) -> int | None:
    """More than that cannot be had, whatever becomes of what others under the same limits hold now,
    which may be no more than pages of files. None where the system does not say."""
    machine = _machine_bytes("MemAvailable", meminfo)
    return min(machine, total_bytes(meminfo, own_groups, mount)) if machine else None


def usable_cores(own_groups: Path = _OWN_GROUPS, mount: Path = _MOUNT) -> int:
    """Whole cores that this process may keep busy, at least one."""
    quotas = [_cores_of(folder) for folder in _groups("cpu", own_groups, mount)]
    affinity = len(os.sched_getaffinity(0))
    return max(1, int(min([affinity, *(quota for quota in quotas if quota is not None)])))


def _machine_bytes(name: str, meminfo: Path) -> int:
    found = re.search(rf"^{name}: *(\d+) kB$", _text(meminfo), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _groups(controller: Literal["memory", "cpu"], own_groups: Path, mount: Path) -> Iterator[Path]:
    """Folders of the groups that this process is in, and of those around them. Where a container
    has its own group mounted at the top, what the system says of its path is not there."""
    second, first = [mount, mount / "unified"], [mount / controller]
    yield from [*second, *first]
    for line in _text(own_groups).splitlines():
        _, controllers, path = line.split(":", 2)
        tops = second if not controllers else []
        if controller in controllers.split(","):
            tops = first
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for top in tops:
            yield from (top.joinpath(*parts[:depth]) for depth in range(1, len(parts) + 1))


def _bytes_left_in(group: Path) -> int | None:
    """None where the group has no limit."""
    for limit, current, cache in _MEMORY_FILES:
        most, taken = _text(group / limit).strip(), _text(group / current).strip()
        if most.isdecimal() and taken.isdecimal():  # not: "max"
            files = re.search(rf"^{cache} (\d+)$", _text(group / "memory.stat"), re.MULTILINE)
            return max(0, int(most) - int(taken) + (int(files[1]) if files else 0))
    return None


def _limit_of(group: Path) -> int | None:
    """None where the group has no limit."""
    texts = [_text(group / limit).strip() for limit, *_ in _MEMORY_FILES]
    return next((int(text) for text in texts if text.isdecimal()), None)


def _cores_of(group: Path) -> float | None:
    """None where the group has no limit."""
    second = _text(group / "cpu.max").split()
    first = [_text(group / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period")]
    quota, period = second or first
    is_limited = quota.isdecimal() and period.isdecimal()  # not: "max", "-1"
    return int(quota) / int(period) if is_limited else None


def _text(path: Path) -> str:
    """Nothing, where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
