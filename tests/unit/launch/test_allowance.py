"""Memory and cores that control groups leave: by trees of files as the kernel has them."""

import os
from pathlib import Path

from megatron_codemix.launch.allowance import (
    free_bytes,
    obtainable_bytes,
    total_bytes,
    usable_cores,
)

GIB = 1 << 30
CORES = len(os.sched_getaffinity(0))


def write(folder: Path, **files: str) -> None:
    """A group; `__` stands for the dot in a file's name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".", 1)).write_text(f"{content}\n")


def free(folder: Path, groups: str, *, available: int = 100 * GIB) -> int:
    """`groups`: what /proc/self/cgroup says."""
    lines = f"MemTotal: {200 * GIB // 1024} kB\nMemAvailable: {available // 1024} kB\n"
    (folder / "meminfo").write_text(lines)
    (folder / "cgroup").write_text(groups)
    return free_bytes(folder / "meminfo", folder / "cgroup", folder / "sys")


def total(folder: Path) -> int:
    """Of the same files, once `free` has written them."""
    return total_bytes(folder / "meminfo", folder / "cgroup", folder / "sys")


def obtainable(folder: Path) -> int | None:
    """Of the same files, once `free` has written them."""
    return obtainable_bytes(folder / "meminfo", folder / "cgroup", folder / "sys")


def test_without_groups_the_machine_decides(tmp_path: Path) -> None:
    assert free(tmp_path, "0::/\n") == 100 * GIB
    assert total(tmp_path) == 200 * GIB
    assert obtainable(tmp_path) == 100 * GIB
    assert free(tmp_path, "") == 100 * GIB
    assert usable_cores(tmp_path / "cgroup", tmp_path / "sys") == CORES


def test_the_least_along_the_path_is_left(tmp_path: Path) -> None:
    """Of SLURM's `--mem` the limit is on the job, above the step that this process is in. Files
    that can be read again are no loss."""
    top = tmp_path / "sys"
    write(top / "job", memory__max=str(16 * GIB), memory__current=str(10 * GIB),
          memory__stat=f"anon 5\ninactive_file {3 * GIB}\nactive_file 7")  # fmt: skip
    write(top / "job" / "step", memory__max="max", memory__current=str(9 * GIB))
    write(top / "other", memory__max="1", memory__current="1")
    assert free(tmp_path, "0::/job/step\n") == 9 * GIB
    assert total(tmp_path) == 16 * GIB
    assert free(tmp_path, "0::/job/step\n", available=2 * GIB) == 2 * GIB
    assert obtainable(tmp_path) == 2 * GIB
    write(top / "job", memory__current=str(30 * GIB))
    assert free(tmp_path, "0::/job/step\n") == 0
    assert obtainable(tmp_path) == 16 * GIB
    (tmp_path / "meminfo").unlink()
    assert obtainable(tmp_path) is None


def test_a_container_has_its_own_group_at_the_top(tmp_path: Path) -> None:
    """What the system calls it outside is not there."""
    write(
        tmp_path / "sys",
        memory__max=str(4 * GIB),
        memory__current=str(GIB),
        cpu__max="150000 100000",
    )
    assert free(tmp_path, "0::/docker/0123\n") == 3 * GIB
    assert total(tmp_path) == 4 * GIB
    assert usable_cores(tmp_path / "cgroup", tmp_path / "sys") == 1


def test_the_first_version_is_read_by_its_own_names(tmp_path: Path) -> None:
    top = tmp_path / "sys"
    unlimited = str((1 << 63) - 4096)
    write(top / "memory", memory__limit_in_bytes=unlimited, memory__usage_in_bytes=str(GIB))
    write(top / "memory" / "a", memory__limit_in_bytes=str(8 * GIB),
          memory__usage_in_bytes=str(6 * GIB),
          memory__stat=f"inactive_file 1\ntotal_inactive_file {GIB}")  # fmt: skip
    write(top / "cpu" / "b", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    groups = "7:memory:/a\n5:cpu,cpuacct:/b\n1:name=systemd:/a/b\n"
    assert free(tmp_path, groups) == 3 * GIB
    assert total(tmp_path) == 8 * GIB
    assert usable_cores(tmp_path / "cgroup", top) == 1
    write(top / "cpu" / "b", cpu__cfs_quota_us="-1")
    assert usable_cores(tmp_path / "cgroup", top) == CORES


def test_half_a_core_is_one_and_many_are_no_more_than_there_are(tmp_path: Path) -> None:
    for quota, expected in (
        ("50000 100000", 1),
        ("max 100000", CORES),
        ("900000000 100000", CORES),
    ):
        write(tmp_path / "sys", cpu__max=quota)
        assert usable_cores(tmp_path / "cgroup", tmp_path / "sys") == expected
