"""A real SLURM on this machine for the time of some tests: a controller and four nodes.

Each node has a host name, a network interface, process numbers and a /dev/shm of its own, in
namespaces below those of the cluster. The machine is not changed: no file outside the cluster's
folder is written, interfaces are in its own network, names of hosts come from files that are
mounted over those of /etc in its own mount namespace. All its processes are in one PID namespace,
whose first process the kernel kills when the one that started it ends, by kill -9 too; with the
last process go the namespaces and what is in them.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import psutil

from megatron_codemix.processes import die_with
from tests.slurm.configuration import CLIENTS, NODES, address_of, write_clients, write_folder

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "iproute2", "util-linux")
_HERE = Path(__file__).parent
_DAEMONS = ("slurmctld", "slurmd", "munged")
_TOOLS = ("ip", "unshare", "nsenter", "mount", "bash")
_SEARCH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_PLAIN = {**os.environ, "PATH": _SEARCH}
_KINDS = ("--net", "--uts", "--ipc", "--mount", "--pid")
_OWN = ("unshare", *_KINDS, "--propagation=slave", "--fork", "--kill-child", "--mount-proc")
# What the scripts do, tried: a refusal of the system is told before a cluster is started.
_TRIAL = """
ip link add nodes type bridge && ip link add one type veth peer name other &&
mount -t tmpfs trial /dev/shm && echo trial >/proc/sys/kernel/hostname && unshare --net true
"""
_START_SECONDS = 60
_POLL_SECONDS = 0.1
_SOCKET_PATH_BYTES = 107  # linux/un.h, less the zero at the end


class ClusterError(Exception):
    """The cluster did not do what it was asked; the message has the ends of its logs."""


def why_not() -> str | None:
    """Why this machine cannot have a cluster; None where it can."""
    if os.geteuid() != 0:
        return "a SLURM with nodes of its own is started by root alone"
    programs = (*_DAEMONS, *CLIENTS, *_TOOLS)
    missing = [name for name in programs if shutil.which(name, path=_SEARCH) is None]
    if missing:
        return f"not installed: {', '.join(missing)}; apt install {' '.join(PACKAGES)}"
    trial = _run([*_OWN, "bash", "-c", _TRIAL])
    if trial.returncode != 0:
        return f"no namespaces with interfaces on this machine: {trial.stderr.strip()}"
    return None


@contextlib.contextmanager
def running(root: Path) -> Iterator["Cluster"]:
    """A cluster for as long as this is entered, and no longer than this process lives."""
    cluster = start(root)
    try:
        yield cluster
    finally:
        cluster.stop()


def start(root: Path, *, dies_with_us: bool = True) -> "Cluster":
    """A cluster in the folder `root`, absent or empty, all of whose nodes are idle.

    dies_with_us: whether it ends with this process, of which this is the main thread.
    Raises ClusterError where it does not come up; nothing of it runs then.
    """
    assert len(str(root / "run" / "munge")) <= _SOCKET_PATH_BYTES, f"too long: {root}"
    write_folder(root)
    with (root / "log" / "controller.out").open("wb") as output:
        outer = subprocess.Popen(
            [*_OWN, "bash", _HERE / "controller.sh", root],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=_PLAIN,
            preexec_fn=partial(die_with, os.getpid()) if dies_with_us else None,
            start_new_session=True,
        )
    while not (first := _children(outer.pid)):
        if outer.poll() is not None:
            raise ClusterError((root / "log" / "controller.out").read_text(errors="replace"))
        time.sleep(0.01)
    cluster = Cluster(root, first[0], outer)
    try:
        cluster.bring_up()
    except BaseException:
        cluster.stop()
        raise
    return cluster


class Cluster:
    """A started cluster. With `environment` programs find it, and jobs find ours."""

    def __init__(
        self, root: Path, first: psutil.Process, outer: subprocess.Popen[bytes] | None = None
    ) -> None:
        """first: the first process of its namespaces. outer: the one that has made them, if it is
        this process's child."""
        self.root = root
        self.first = first
        self._outer = outer
        self.environment = {
            **os.environ,
            "PATH": f"{root}/bin:{Path(sys.executable).parent}:{_SEARCH}",
            "SLURM_CONF": f"{root}/etc/slurm.conf",
            "PYTHONPATH": str(_HERE.parents[1]),
        }

    def bring_up(self) -> None:
        """Waits for the controller, then starts the nodes and waits for them."""
        found = {name: shutil.which(name, path=_SEARCH) for name in CLIENTS}
        programs = {name: path for name, path in found.items() if path is not None}
        write_clients(self.root, programs, self.first.pid)
        self.wait_for("the controller", self._answers, _START_SECONDS)
        self.restore()

    def stop(self) -> None:
        """Ends every process of the cluster; returns when there is none."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.first.kill()
        # The kernel lets it end only after all others of its PID namespace.
        deadline = time.monotonic() + _START_SECONDS
        while is_alive(self.first):
            assert time.monotonic() < deadline, f"{self.first} does not end"
            time.sleep(0.01)
        if self._outer is not None:
            self._outer.wait(_START_SECONDS)

    def start_node(self, node: str) -> None:
        """Starts a node that is not running; does not wait until SLURM knows."""
        words = [*_OWN, "bash", f"{_HERE}/node.sh", f"{self.root}", node, address_of(node)]
        log = self.root / "log" / f"{node}.out"
        script = f'exec 9</proc/self/ns/net; "$@" </dev/null >>{log} 2>&1 &'
        enter = ["nsenter", f"--target={self.first.pid}", *_KINDS]
        _checked([*enter, "bash", "-c", script, "bash", *words])

    def cut_power(self, node: str) -> None:
        """The node is gone at once and silent: nobody hears of the end of its connections."""
        (outer,) = [outer for outer in _children(self.first.pid) if node in outer.cmdline()]
        (first,) = _children(outer.pid)
        place = f"--net=/proc/{first.pid}/ns/net"
        _checked(["nsenter", place, "ip", "link", "set", "eth0", "down"])
        first.kill()
        self.wait_for(f"the end of {node}", lambda: not is_alive(outer), 20)

    def run(self, *words: str | Path, cwd: Path | None = None) -> str:
        """What a client program prints. Raises ClusterError where it fails."""
        return _checked([str(word) for word in words], self.environment, cwd)

    def node_states(self) -> dict[str, str]:
        """State of each node in SLURM's words: idle, mixed, allocated, down*, ..."""
        lines = self.run("sinfo", "--noheader", "--Node", "--format=%N %T").splitlines()
        return dict(line.split() for line in lines)

    def restore(self) -> None:
        """Cancels all jobs, starts nodes that are not there, waits until every node is idle."""
        words = {word for outer in _children(self.first.pid) for word in outer.cmdline()}
        for node in NODES:
            if node not in words:
                self.start_node(node)
        self.wait_for("an empty queue", self._is_queue_cleared, 60)
        idle = dict.fromkeys(NODES, "idle")
        self.wait_for("idle nodes", lambda: self.node_states() == idle, _START_SECONDS)

    def wait_for(
        self,
        what: str,
        condition: Callable[[], object],
        seconds: float,
        *,
        poll_seconds: float = _POLL_SECONDS,
        also_show: Callable[[], Mapping[str, Path]] = dict,
    ) -> None:
        """Waits until `condition()` is true; `what` says what that is. Raises ClusterError with the
        ends of the logs, and of those in `also_show()`, after so many seconds, or where the cluster
        has ended."""
        deadline = time.monotonic() + seconds
        while not condition():
            has_ended = not is_alive(self.first)
            if has_ended or time.monotonic() > deadline:
                why = "the cluster has ended" if has_ended else f"not in {seconds:.0f} s"
                raise ClusterError(f"{what}: {why}\n{self._log_ends(also_show())}")
            time.sleep(poll_seconds)

    def _is_queue_cleared(self) -> bool:
        # Each time: a script that was about to put its job back does so behind the first.
        self.run("scancel", "--user=root")
        return not self.run("squeue", "--noheader")

    def _answers(self) -> bool:
        is_there = (self.root / "run" / "munge").exists()
        return is_there and _run(["scontrol", "ping"], self.environment).returncode == 0

    def _log_ends(self, more: Mapping[str, Path]) -> str:
        logs = {path.name: path for path in sorted((self.root / "log").iterdir())} | dict(more)
        lines = []
        for name, path in logs.items():
            end = path.read_text(errors="replace").splitlines()[-15:] if path.is_file() else []
            lines += [f"--- {name}", *end] if end else []
        return "\n".join(lines)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return [child for child in psutil.Process(pid).children() if is_alive(child)]
    except psutil.NoSuchProcess:
        return []


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs: one whose end nobody has taken note of yet does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _checked(
    words: list[str], environment: Mapping[str, str] = _PLAIN, cwd: Path | None = None
) -> str:
    done = _run(words, environment, cwd)
    if done.returncode != 0:
        said = f"{done.stdout}{done.stderr}".strip()
        raise ClusterError(f"{' '.join(words)}: exit code {done.returncode}: {said}")
    return done.stdout


def _run(
    words: list[str], environment: Mapping[str, str] = _PLAIN, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=60,
    )
