"""Strikes a study until all faults have struck, and lets it come to its end."""

from collections.abc import Callable

from megatron_codemix.bench.chaos.study.asked import StudyChaos
from megatron_codemix.bench.chaos.study.notes import Notes
from megatron_codemix.bench.chaos.study.plan import (
    FLIP,
    StudyFault,
    StudyPlan,
    plan_study_faults,
)
from megatron_codemix.bench.chaos.study.processes import left_behind
from megatron_codemix.bench.chaos.study.scene import Scene
from megatron_codemix.bench.chaos.study.strikes import strike
from megatron_codemix.errors import RunError

_TRIES = 6
"""For a fault that misses."""

Tell = Callable[[str], None]


def disturb(scene: Scene, asked: StudyChaos, notes: Notes, tell: Tell) -> None:
    """Carries out the plans that have not struck by the notes of earlier calls, and notes each.

    Raises RunError where the study crashes or hangs by itself, or leaves processes behind; what it
    did is noted as well, so that no later call ends as if it had not.
    """
    scene.num_starts = notes.num_starts
    try:
        scene.take_over(left_behind(scene.job.out))
        _strike_all(scene, asked, notes, tell)
        scene.run_to_end()
        scene.quieten()
    except RunError as error:
        scene.problems.append(str(error))
        raise
    finally:
        scene.kill()
        _note(scene, notes)


def _strike_all(scene: Scene, asked: StudyChaos, notes: Notes, tell: Tell) -> None:
    plans = plan_study_faults(asked.num_faults, scene.job.num_steps, asked.seed, asked.kinds)
    struck = {fault.number for fault in notes.faults}
    for plan in plans:
        if plan.number in struck:
            continue
        fault = _until_struck(scene, plan, notes)
        words = f"{notes.seconds:4.0f} s  {plan.number + 1}/{len(plans)} {plan.kind}: "
        if fault is None:
            tell(f"{words}missed")
            continue
        place = f"{fault.phase}, step {fault.step}" if fault.phase else f"step {fault.step} of all"
        tell(f"{words}{place}: {fault.evidence}")


def _until_struck(scene: Scene, plan: StudyPlan, notes: Notes) -> StudyFault | None:
    """The fault; None where it has missed too often, or the study has come to its end."""
    for attempt in range(_TRIES):
        # A byte flips before the next start, all others strike what runs.
        needs_start = plan.kind != FLIP or scene.process is not None
        if scene.is_done or (needs_start and not scene.go_on()):
            return None
        fault = strike(scene, plan, attempt)
        _note(scene, notes, fault)
        if fault is not None:
            return fault
    return None


def _note(scene: Scene, notes: Notes, fault: StudyFault | None = None) -> None:
    """At once, since this process may be killed at any moment."""
    notes.add(fault, scene.problems, scene.num_starts)
    scene.problems.clear()
