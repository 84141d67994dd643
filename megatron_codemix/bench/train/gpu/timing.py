"""Steps by the device's own clock: until it has settled, then the ones that count."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.measuring import Stopwatch
from megatron_codemix.bench.train.gpu.job import Warmth

Step = Callable[[], object]

BLOCK = 5
"""Steps that follow one another before the other side has its turn, or warmth is judged."""


@dataclass(frozen=True)
class WarmUp:
    """Steps that were made until then."""

    steps: int
    is_settled: bool
    """False: `most_seconds` were over before."""


def warm_up(step: Step, backend: Backend, warmth: Warmth) -> WarmUp:
    """Blocks of steps until two in a row take the same time."""
    timed(step, BLOCK, backend)
    started = time.monotonic()
    earlier, blocks = _median(step, backend), 2
    while True:
        now = _median(step, backend)
        blocks += 1
        is_settled = abs(now - earlier) <= warmth.tolerance * earlier
        spent = time.monotonic() - started
        if spent >= warmth.least_seconds and (is_settled or spent >= warmth.most_seconds):
            return WarmUp(blocks * BLOCK, is_settled)
        earlier = now


def timed(step: Step, count: int, backend: Backend) -> list[float]:
    """Seconds of each of `count` steps; waits for the device before the first and after the last
    only."""
    backend.wait()
    watch = Stopwatch()
    watch.mark()
    for _ in range(count):
        step()
        watch.mark()
    return watch.seconds()


def by_turns(steps: Mapping[str, Step], count: int, backend: Backend) -> dict[str, list[float]]:
    """`count` steps of each, a block at a time, so that what drifts does so for all."""
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for first in range(0, count, BLOCK):
        for name, step in steps.items():
            seconds[name] += timed(step, min(BLOCK, count - first), backend)
    return seconds


def _median(step: Step, backend: Backend) -> float:
    return statistics.median(timed(step, BLOCK, backend))
