"""The processes of a study that runs: which of them is a rank of what.

codemix study run
  the loaded process (launch/loaded_server.py)
    a launcher for each training or evaluation, in a process group of its own
      ranks
        a process that writes checkpoints, for each rank of a training
"""

import contextlib
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from megatron_codemix.runs import RunDirectory

_SERVER = "megatron_codemix.launch.loaded_server"
_TRAINING = "train.log"
_OUTPUTS = {_TRAINING: "training", "evaluate.log": "evaluation"}
"""Where a launcher's output goes, in the run's directory -> what it is."""


@dataclass(frozen=True)
class Placed:
    """A training or an evaluation that a study has started, with all its ranks."""

    launcher: psutil.Process
    ranks: list[psutil.Process]
    run: RunDirectory
    what: str
    """training or evaluation."""

    @property
    def is_training(self) -> bool:
        return self.what == "training"

    @property
    def phase(self) -> str:
        """Its name."""
        return self.run.path.name.rpartition("-")[0]

    @property
    def age_seconds(self) -> float:
        """Since its ranks were forked."""
        return min(age_seconds(rank.pid) for rank in self.ranks)


def loaded_process(study_pid: int) -> psutil.Process | None:
    """The one that trainings and evaluations are forked from; None before it is there."""
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(study_pid).children():
            if _SERVER in child.cmdline():
                return child
    return None


def placed_runs(study_pid: int, num_ranks: int) -> list[Placed]:
    """What runs now, and has its `num_ranks` ranks."""
    server = loaded_process(study_pid)
    found = []
    with contextlib.suppress(psutil.Error):
        for launcher in server.children() if server else ():
            with contextlib.suppress(psutil.Error, OSError):
                # Ranks are forked from it, as it is from the loaded process: all have one command.
                command = launcher.cmdline()
                ranks = [child for child in launcher.children() if child.cmdline() == command]
                output = Path(os.readlink(f"/proc/{launcher.pid}/fd/1"))
                if len(ranks) == num_ranks and output.name in _OUTPUTS:
                    run = RunDirectory(output.parent)
                    found.append(Placed(launcher, ranks, run, _OUTPUTS[output.name]))
    return found


def all_processes(study_pid: int) -> list[psutil.Process]:
    """The study's and everything below it."""
    with contextlib.suppress(psutil.Error):
        study = psutil.Process(study_pid)
        return [study, *study.children(recursive=True)]
    return []


def age_seconds(pid: int) -> float:
    """Since the process was forked, to a hundredth; psutil's time of creation may be a second off.
    Infinite where there is none any more."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return math.inf
    ticks = int(text.rpartition(")")[2].split()[19])  # proc(5): starttime, since boot
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def left_behind(folder: Path) -> list[psutil.Process]:
    """Launchers and ranks with their output below `folder`, whoever has started them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(os.readlink(f"/proc/{process.pid}/fd/1")).is_relative_to(folder):
                found.append(process)
    return found


def is_alive(process: psutil.Process) -> bool:
    """Whether it has not ended, as one that nobody has asked for its end has."""
    with contextlib.suppress(psutil.Error):
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    return False


def wait_until_gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Those that still live after so long."""
    give_up_at = time.monotonic() + seconds
    while (left := [one for one in processes if is_alive(one)]) and time.monotonic() < give_up_at:
        time.sleep(0.02)
    return left
