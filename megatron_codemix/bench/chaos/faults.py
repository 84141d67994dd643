"""What happens to a run: signals, and kills without warning, at random points from a seed."""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import psutil

from megatron_codemix.bench.chaos.lines import count_lines
from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY
from megatron_codemix.runs import RunDirectory

KINDS = (
    "kill a rank",
    "kill the launcher",
    "SIGTERM",
    "SIGUSR1",
    "kill during a save",
    "SIGTERM during a save",
    "kill at start",
)
_POLL_SECONDS = 0.003
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A fault to come."""

    kind: str
    at_step: int
    """Once the metrics have this step; what belongs to a save waits for the next one after."""
    delay_seconds: float
    """After that."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault as it came about."""

    kind: str
    run: str
    """Name of the run's directory."""
    step: int
    """Last step in the metrics when it struck."""
    exit_code: int
    expected: bool
    """Whether the exit code is one that this fault should lead to."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def plan_faults(count: int, num_steps: int, seed: int, kinds: Sequence[str] = KINDS) -> list[Plan]:
    """One in each of `count` equal stretches of the run, so that it gets ahead between them."""
    rng = random.Random(seed)
    chosen = [kinds[number % len(kinds)] for number in range(count)]
    rng.shuffle(chosen)
    stretch = num_steps / count
    return [
        Plan(
            kind=kind,
            at_step=min(num_steps - 2, int(stretch * (number + rng.random()))),
            delay_seconds=rng.uniform(0.0, 0.05),
        )
        for number, kind in enumerate(chosen)
    ]


def strike(plan: Plan, process: "subprocess.Popen[bytes]", run: RunDirectory) -> Fault | None:
    """Waits for the moment, does it, and waits for the end; None where the run was done before."""
    moment = _moment(plan, process, run)
    if not moment:
        return None
    time.sleep(plan.delay_seconds)
    step = count_lines(run.metrics)
    match plan.kind:
        case "SIGTERM" | "SIGUSR1" | "SIGTERM during a save":
            process.send_signal(signal.Signals[plan.kind.split()[0]])
            wanted = {EXIT_RETRY, EXIT_DONE}  # done, where it came behind the last step
        case "kill the launcher":
            process.kill()
            wanted = {-signal.SIGKILL}
        case _:
            killed = _kill_a_rank(process, seed=plan.at_step)
            wanted = {EXIT_RETRY} if killed else {EXIT_DONE, EXIT_RETRY}
    code = process.wait(_PATIENCE_SECONDS)
    return Fault(
        kind=plan.kind,
        run=run.path.name,
        step=step,
        exit_code=code,
        expected=code in wanted,
    )


def _moment(plan: Plan, process: "subprocess.Popen[bytes]", run: RunDirectory) -> bool:
    """Whether the moment came before the end of the run."""
    # Before it has ranks there is nothing to save, and nobody to strike.
    if not _until(lambda: bool(_ranks(process)), process):
        return False
    if plan.kind == "kill at start":
        return True
    if not _until(lambda: count_lines(run.metrics) >= plan.at_step, process):
        return False
    if plan.kind.endswith("during a save"):
        return _until(lambda: bool(run.incomplete_checkpoints()), process)
    return True


def _until(is_reached: Callable[[], bool], process: "subprocess.Popen[bytes]") -> bool:
    end = time.monotonic() + _PATIENCE_SECONDS
    while not is_reached():
        if process.poll() is not None or time.monotonic() > end:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _ranks(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """The launcher forks them: children with its own command line."""
    with contextlib.suppress(psutil.Error):
        launcher = psutil.Process(process.pid)
        program = launcher.cmdline()
        return [child for child in launcher.children() if child.cmdline() == program]
    return []


def _kill_a_rank(process: "subprocess.Popen[bytes]", seed: int) -> bool:
    ranks = _ranks(process)
    if not ranks:
        return False
    with contextlib.suppress(psutil.Error):
        random.Random(seed).choice(ranks).kill()
        return True
    return False
