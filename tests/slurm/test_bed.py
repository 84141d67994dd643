"""The cluster itself: nodes are apart, the machine stays as it was, nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.slurm import cluster as bed
from tests.slurm import configuration
from tests.slurm.cluster import Cluster, ClusterError, running
from tests.slurm.configuration import NODES, address_of
from tests.slurm.jobs import ROOT, submit

# What packages of SLURM and munge would write, and what names hosts.
MACHINE_FILES = (
    *("/etc/hosts", "/etc/nsswitch.conf", "/etc/slurm", "/etc/munge", "/etc/mtab"),
    *("/run/munge", "/run/netns", "/run/slurmctld.pid", "/run/slurmd.pid"),
    *("/var/log/munge", "/var/log/slurm", "/var/lib/munge", "/var/lib/slurm", "/var/spool/slurm"),
)
STARTS_AND_WAITS = """
import sys, time
from pathlib import Path
from tests.slurm.cluster import start
cluster = start(Path(sys.argv[1]))
print(cluster.first.pid, flush=True)
time.sleep(300)
"""


def test_nodes_have_names_addresses_gpus_and_memory_of_their_own(
    cluster: Cluster, tmp_path: Path
) -> None:
    script = """\
#!/bin/bash
#SBATCH --nodes=4 --ntasks-per-node=1 --gpus-per-node=2
srun --label sh -c 'echo $(cat /proc/sys/kernel/hostname) $CUDA_VISIBLE_DEVICES \\
  $(ip -oneline -4 address show eth0 | grep -o "10.77.0.[0-9]*/") \\
  $(echo >/dev/shm/of-$SLURM_PROCID; sleep 1; ls /dev/shm) \\
  $(ls /proc | grep -c "^[0-9]*$")'
srun --nodes=1 --ntasks=1 getent hosts node3
"""
    job = submit(cluster, script, tmp_path)

    assert job.wait_for_end(60) == "COMPLETED", job.said()
    lines = sorted(job.said().splitlines())
    *nodes, resolved = sorted(lines, key=lambda line: "node3" in line and ": " not in line)
    for rank, (line, node) in enumerate(zip(nodes, NODES, strict=True)):
        words = line.split()
        assert words[:5] == [f"{rank}:", node, "0,1", f"{address_of(node)}/", f"of-{rank}"]
        assert int(words[5]) < 20  # processes: of this node alone
    assert resolved.split() == [address_of("node3"), "node3"]


def test_tasks_on_one_node_get_a_gpu_each(cluster: Cluster, tmp_path: Path) -> None:
    script = """\
#!/bin/bash
#SBATCH --nodes=1 --ntasks-per-node=2 --gpus-per-node=2
srun --gpus-per-task=1 sh -c 'echo $SLURM_LOCALID $CUDA_VISIBLE_DEVICES'
"""
    job = submit(cluster, script, tmp_path)

    assert job.wait_for_end(60) == "COMPLETED", job.said()
    assert sorted(job.said().splitlines()) == ["0 0", "1 1"]


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "root" in str(bed.why_not())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(bed, "_SEARCH", str(tmp_path))
    assert "not installed: slurmctld, slurmd, munged, sbatch" in str(bed.why_not())


@pytest.mark.usefixtures("able_machine")
def test_the_machine_is_as_before(tmp_path: Path) -> None:
    before = _machine()
    with running(tmp_path / "slurm") as cluster:
        assert _machine() == before
        namespaces = _namespaces(cluster.first.pid)
        assert len(namespaces) > len(NODES)
    assert _machine() == before
    assert _processes_in(namespaces) == []


@pytest.mark.usefixtures("able_machine")
def test_kill_of_who_started_it_ends_all_of_it(tmp_path: Path) -> None:
    before = _machine()
    starter = subprocess.Popen(
        [sys.executable, "-c", STARTS_AND_WAITS, tmp_path / "slurm"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert starter.stdout is not None
    with starter:
        first = psutil.Process(int(starter.stdout.readline()))
        namespaces = _namespaces(first.pid)
        assert len(_processes_in(namespaces)) > 3 * len(NODES)
        starter.send_signal(signal.SIGKILL)
        starter.wait(10)

    deadline = time.monotonic() + 20
    while left := _processes_in(namespaces):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
    assert _machine() == before


@pytest.mark.usefixtures("able_machine")
def test_failed_start_says_why_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The controller refuses its configuration."""
    before, processes = _machine(), set(psutil.pids())
    write_folder = configuration.write_folder

    def write_wrong_folder(root: Path) -> None:
        write_folder(root)
        with (root / "etc" / "slurm.conf").open("a") as file:
            file.write("SelectType=select/unheard_of\n")

    monkeypatch.setattr(bed, "write_folder", write_wrong_folder)
    with pytest.raises(ClusterError, match="unheard_of"):
        bed.start(tmp_path / "slurm")

    assert _machine() == before
    named = [pid for pid in set(psutil.pids()) - processes if _mentions(pid, str(tmp_path))]
    assert named == []


def _machine() -> dict[str, object]:
    """What a cluster could have changed outside its folder."""
    files = {
        name: (entry.st_mtime_ns, entry.st_size) if (entry := _stat(name)) else None
        for name in MACHINE_FILES
    }
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        **files,
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "mounts": [line for line in mounts if "munge" in line or "slurm" in line],
        "name": os.uname().nodename,
    }


def _stat(name: str) -> os.stat_result | None:
    try:
        return os.stat(name)
    except FileNotFoundError:
        return None


def _namespaces(first: int) -> set[str]:
    """The PID namespaces of a process and of all below it."""
    processes = [psutil.Process(first), *psutil.Process(first).children(recursive=True)]
    return {name for process in processes if (name := _namespace(process.pid)) is not None}


def _processes_in(namespaces: set[str]) -> list[psutil.Process]:
    """Those that run: where the first process of the machine takes no note of the ends of others,
    as in some containers, what it inherits is listed for ever."""
    found = [process for process in psutil.process_iter() if _namespace(process.pid) in namespaces]
    return [process for process in found if bed.is_alive(process)]


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:  # it has ended
        return None


def _mentions(pid: int, text: str) -> bool:
    try:
        return any(text in word for word in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False
