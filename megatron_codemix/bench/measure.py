"""CPU time and peak memory of a piece of work.

Time is user time of this process and of its children that have ended: on a shared machine it says
more than the wall clock does. Both sides run in one process, by turns, because speed drifts with
the machine's load.
"""

import contextlib
import gc
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psutil

MIN_SECONDS = 0.2
"""Shorter work is repeated: the kernel splits user from system time by ticks of 1 to 10 ms."""
_MIN_USER_SHARE = 0.5
"""Of those, user time: the kernel evens its split out over the life of a process, and after much
system time adds no user time for a while."""
_MAX_TIMES = 10
"""More than this times MIN_SECONDS with little user time is work that has little."""
_NO_USER_SECONDS = 2.0
"""For so long work is repeated that has had no user time at all: rates are divided by it."""

POLL_SECONDS = 0.02

_ENVIRONMENT = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
"""As the commands set it (data/preparation/__init__.py)."""


@dataclass(frozen=True)
class Cost:
    """Seconds for one call."""

    user: float
    system: float
    wall: float

    def __truediv__(self, calls: float) -> "Cost":
        return Cost(self.user / calls, self.system / calls, self.wall / calls)


@dataclass(frozen=True)
class Trial:
    """Work to measure. `before`, not measured, makes each call start afresh."""

    run: Callable[[], object]
    before: Callable[[], object] | None = None
    calls: int = 1
    """How much work a run is, in units of the figure wanted; its cost is divided by it."""


def cost_of(trial: Trial, min_seconds: float = MIN_SECONDS) -> Cost:
    """One measurement: a single run where there is something to prepare, else as many as take
    `min_seconds`, half of them user time."""
    if trial.before is not None:
        trial.before()
    gc.collect()
    rounds = 0
    start = _now()
    while True:
        kept = trial.run()
        rounds += 1
        spent = _since(start)
        if trial.before is not None or _is_enough(spent, min_seconds):
            break
    del kept  # freeing what it made is not counted, on either side
    return spent / (rounds * trial.calls)


def _is_enough(spent: Cost, seconds: float) -> bool:
    total = spent.user + spent.system
    if spent.user == 0 and seconds > 0:
        return total >= max(seconds, _NO_USER_SECONDS)
    has_user_time = spent.user >= _MIN_USER_SHARE * seconds or total >= _MAX_TIMES * seconds
    return total >= seconds and has_user_time


def alternate(
    trials: Mapping[str, Trial], repeats: int, min_seconds: float = MIN_SECONDS
) -> dict[str, Cost]:
    """Median cost of each, measured by turns `repeats` times."""
    costs: dict[str, list[Cost]] = {name: [] for name in trials}
    for _ in range(repeats):
        for name, trial in trials.items():
            costs[name].append(cost_of(trial, min_seconds))
    return {
        name: Cost(
            statistics.median(cost.user for cost in found),
            statistics.median(cost.system for cost in found),
            statistics.median(cost.wall for cost in found),
        )
        for name, found in costs.items()
    }


def _now() -> Cost:
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(
        own.ru_utime + children.ru_utime, own.ru_stime + children.ru_stime, time.perf_counter()
    )


def _since(start: Cost) -> Cost:
    now = _now()
    return Cost(now.user - start.user, now.system - start.system, now.wall - start.wall)


@dataclass(frozen=True)
class Memory:
    """Resident bytes beyond those at the start."""

    peak: int
    """At the worst moment."""
    held: int
    """At the end, with the result still alive."""


def memory_of(function: str, **arguments: Any) -> Memory:  # Any: JSON values
    """Memory of a piece of work in a process of its own.

    `function` is `module:name`; called with `arguments` it sets up what is not counted and returns
    the work to do. Raises CalledProcessError where that fails (its errors go to stderr).
    """
    result = subprocess.run(
        [sys.executable, "-m", __name__, function, json.dumps(arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env=_ENVIRONMENT,
    )
    return Memory(**json.loads(result.stdout.splitlines()[-1]))


def tree_memory_of(
    function: str,
    *,
    poll_seconds: float = POLL_SECONDS,
    **arguments: Any,  # Any: JSON values
) -> int:
    """As memory_of for work that starts processes: the most bytes that all of them had together,
    the interpreter's included, shared pages counted once; looked at every `poll_seconds`."""
    command = [sys.executable, "-m", __name__, function, json.dumps(arguments)]
    peak = 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=_ENVIRONMENT) as process:
        root = psutil.Process(process.pid)
        try:
            while process.poll() is None:
                peak = max(peak, _shared_once([root, *root.children(recursive=True)]))
                time.sleep(poll_seconds)
        except BaseException:
            process.kill()  # its workers end with it
            raise
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return peak


def _shared_once(processes: list[psutil.Process]) -> int:
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.Error):  # it has ended meanwhile
            total += process.memory_full_info().pss
    return total


def measure_memory(action: Callable[[], object]) -> Memory:
    """Memory of `action` in this process (Linux: /proc)."""
    gc.collect()
    with open("/proc/self/clear_refs", "w", encoding="ascii") as handle:
        handle.write("5")  # the peak starts again from here
    before = _status_bytes("VmRSS")
    kept = action()
    peak, after = _status_bytes("VmHWM"), _status_bytes("VmRSS")
    del kept
    return Memory(peak=max(0, peak - before), held=max(0, after - before))


def _status_bytes(field: str) -> int:
    with open("/proc/self/status", encoding="ascii") as handle:
        for line in handle:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError(f"/proc/self/status has no {field}")


def _main(function: str, arguments: str) -> None:
    from importlib import import_module

    module, name = function.split(":")
    action = getattr(import_module(module), name)(**json.loads(arguments))
    sys.stdout.write(json.dumps(vars(measure_memory(action))) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
