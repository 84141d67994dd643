"""How each kind of fault strikes; one that hit nothing is not counted."""

import signal

from megatron_codemix.bench.chaos.study import plan as kinds
from megatron_codemix.bench.chaos.study.moments import Strike
from megatron_codemix.bench.chaos.study.plan import StudyFault, StudyPlan
from megatron_codemix.bench.chaos.study.scene import Scene
from megatron_codemix.bench.chaos.study.strikes_on_phases import (
    cut_save,
    kill_at_start,
    kill_evaluation,
    kill_group,
    kill_server,
    signal_rank,
    stop_rank,
)
from megatron_codemix.bench.chaos.study.strikes_on_study import (
    end_study,
    fill_disk,
    flip_byte,
    kill_node,
    kill_study,
    stop_study,
)

_STRIKES: dict[str, Strike] = {
    kinds.KILL_RANK: signal_rank(signal.SIGKILL),
    kinds.TERM_RANK: signal_rank(signal.SIGTERM),
    kinds.STOP_RANK: stop_rank,
    kinds.KILL_AT_START: kill_at_start,
    kinds.KILL_EVALUATION: kill_evaluation,
    kinds.KILL_GROUP: kill_group,
    kinds.CUT_SAVE: cut_save,
    kinds.KILL_SERVER: kill_server,
    kinds.KILL_STUDY: kill_study,
    kinds.TERM_STUDY: end_study,
    kinds.STOP_STUDY: stop_study,
    kinds.NODE_DEATH: kill_node,
    kinds.FULL_DISK: fill_disk,
    kinds.FLIP: flip_byte,
}


def strike(scene: Scene, plan: StudyPlan, attempt: int = 0) -> StudyFault | None:
    """Carries out the plan on a study that runs, or has been ended by the fault before. `attempt`:
    how often it has missed. Returns None where it misses."""
    return _STRIKES[plan.kind](scene, plan, plan.chances(attempt))
