"""Jobs of the tests' cluster: submitting, watching, and a batch script that trains on two nodes."""

import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import count_lines
from tests.slurm.cluster import Cluster

ROOT = Path(__file__).parents[2]
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "OUT_OF_MEMORY"}

# Without "B:", --signal goes to the tasks themselves, which save and end with 75: try again.
_TRAIN = """\
#!/bin/bash
#SBATCH --nodes=2
#SBATCH --ntasks-per-node={tasks}
#SBATCH --requeue
#SBATCH --open-mode=append
srun {python} -m megatron_codemix train {config} --run-dir {run}
code=$?
echo "srun: exit code $code"
[ "$code" != 75 ] || scontrol requeue "$SLURM_JOB_ID"
exit "$code"
"""


@dataclass(frozen=True)
class Job:
    """A submitted job; its output is in one file, whichever node it ran on."""

    cluster: Cluster
    number: int
    output: Path

    def field(self, name: str) -> str:
        """One of `scontrol show job`, such as JobState or Restarts."""
        shown = self.cluster.run("scontrol", "show", "job", "--oneliner", str(self.number))
        match = re.search(rf"(?:^| ){name}=(\S*)", shown)
        assert match is not None, shown
        return match.group(1)

    def wait_for(self, what: str, condition: Callable[[], object], seconds: float) -> None:
        """As the cluster's, with this job's output where it is in vain."""
        also_show = {f"output of job {self.number}": self.output}
        self.cluster.wait_for(what, condition, seconds, also_show=also_show)

    def wait_for_state(self, *states: str, seconds: float) -> str:
        """Which of these states it is in, once it is in one."""
        what = f"job {self.number} in state {' or '.join(states)}"
        self.wait_for(what, lambda: self.field("JobState") in states, seconds)
        return self.field("JobState")

    def wait_for_end(self, seconds: float) -> str:
        """The state in which it stays."""
        return self.wait_for_state(*ENDED, seconds=seconds)

    def said(self) -> str:
        """Its output so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""


def submit(cluster: Cluster, script: str, folder: Path, *options: str) -> Job:
    """Hands a script to sbatch as a user does; `folder` takes the script and the output."""
    folder.mkdir(parents=True, exist_ok=True)
    path, output = folder / "job.sbatch", folder / "job.log"
    path.write_text(script)
    placed = [f"--output={output}", f"--chdir={folder}", *options]
    answer = cluster.run("sbatch", "--parsable", *placed, path)
    return Job(cluster, int(answer), output)


def train_script(config: Path, run: Path, tasks: int) -> str:
    """A batch script that trains `config` on two nodes with so many tasks each."""
    return _TRAIN.format(python=sys.executable, config=config, run=run, tasks=tasks)


def wait_for_steps(job: Job, run: RunDirectory, steps: int, seconds: float) -> None:
    """Until the run has logged so many steps."""
    job.wait_for(f"step {steps}", lambda: count_lines(run.metrics) >= steps, seconds)


def wait_for_stop(job: Job, run: RunDirectory) -> int:
    """Until the job is back in the queue and its run has stopped in order, which is no failure; the
    step after which it has saved."""

    def is_stopped() -> bool:
        return job.field("Restarts") == "1" and run.require_status().state == "pending"

    job.wait_for("the end of its first start", is_stopped, 120)
    status = run.require_status()
    assert status.failures == 0, status
    return status.step


def ranks_of(run: RunDirectory) -> list[psutil.Process]:
    """The processes that train it: those that take SIGUSR1 for themselves, unlike their helpers."""
    named = [process for process in psutil.process_iter() if _names(process, str(run.path))]
    return [process for process in named if _has_signal(process, "SigCgt", signal.SIGUSR1)]


def is_told(process: psutil.Process, number: signal.Signals) -> bool:
    """Whether a process that was suspended has been sent the signal. SLURM 22.05 also wakes it."""
    try:
        return process.status() != psutil.STATUS_STOPPED or _has_signal(process, "ShdPnd", number)
    except (psutil.NoSuchProcess, FileNotFoundError):
        return True


def _names(process: psutil.Process, text: str) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return bool(words) and Path(words[0]).name.startswith("python") and text in words


def _has_signal(process: psutil.Process, mask: str, number: signal.Signals) -> bool:
    """Whether it is in one of the masks of /proc/PID/status, proc(5)."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    match = re.search(rf"^{mask}:\s*([0-9a-f]+)$", status, re.MULTILINE)
    assert match is not None, status
    return bool(int(match.group(1), 16) & 1 << (number - 1))
