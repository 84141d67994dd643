"""What all strikes have in common: their moment, and how it is seen that they have struck."""

import random
import time
from collections.abc import Callable

import psutil

from megatron_codemix.bench.chaos.study.plan import StudyFault, StudyPlan
from megatron_codemix.bench.chaos.study.processes import Placed, is_alive
from megatron_codemix.bench.chaos.study.scene import Scene

Strike = Callable[[Scene, StudyPlan, random.Random], StudyFault | None]
"""Waits for its moment and strikes; None where it hit nothing."""


def on_training(scene: Scene, plan: StudyPlan, rng: random.Random) -> Placed | None:
    """A training in the middle of its steps, once it is time."""
    if not scene.wait_for_steps(plan.at_step):
        return None
    placed = scene.wait_for_training(rng.choice)
    time.sleep(plan.delay_seconds)
    return placed


def fault_of(
    scene: Scene,
    plan: StudyPlan,
    evidence: str,
    placed: Placed | None = None,
    step: int | None = None,
) -> StudyFault:
    """step: that of the phase; absent: as it is now, of all phases without `placed`."""
    if step is None:
        step = scene.job.steps_made() if placed is None else scene.job.steps_of(placed.run)
    phase = "" if placed is None else placed.phase
    return StudyFault(number=plan.number, kind=plan.kind, phase=phase, step=step, evidence=evidence)


def strike_placed(
    scene: Scene, plan: StudyPlan, placed: Placed | None, deed: Callable[[], None]
) -> StudyFault | None:
    """Does it to a training or an evaluation; it has struck if the study says that this start has
    ended because of it."""
    if placed is None or not is_alive(placed.launcher):
        return None
    offset, step = scene.said_bytes, scene.job.steps_of(placed.run)
    try:
        deed()
    except (psutil.Error, ProcessLookupError):
        return None
    words = scene.end_of(placed, offset)
    return None if words is None else fault_of(scene, plan, words, placed, step)
