"""Which faults come when: drawn from a seed, spread over the whole study."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

KILL_RANK = "SIGKILL of a rank"
TERM_RANK = "SIGTERM of a rank"
STOP_RANK = "SIGSTOP of a rank"
KILL_AT_START = "SIGKILL of a rank at its start"
KILL_EVALUATION = "SIGKILL of an evaluating rank"
KILL_GROUP = "a placed run dies at once"
CUT_SAVE = "a checkpoint's write is cut"
KILL_SERVER = "SIGKILL of the loaded process"
KILL_STUDY = "SIGKILL of the study"
TERM_STUDY = "SIGTERM of the study"
STOP_STUDY = "SIGSTOP of the study"
NODE_DEATH = "the node dies"
FULL_DISK = "the disk is full"
FLIP = "a shard's byte flips"

KINDS = (
    *(KILL_RANK, TERM_RANK, STOP_RANK, KILL_AT_START, KILL_EVALUATION, KILL_GROUP, CUT_SAVE),
    *(KILL_SERVER, KILL_STUDY, TERM_STUDY, STOP_STUDY, NODE_DEATH, FULL_DISK, FLIP),
)
ENDS_STUDY = (KILL_STUDY, TERM_STUDY, NODE_DEATH, FULL_DISK)
"""After these the command is given again."""

_FIRST, _LAST = 0.02, 0.8
"""Parts of the study between which faults are due: those that miss are tried again before its
end."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A fault to come."""

    number: int
    """Its place in the order, from 0."""
    kind: str
    at_step: int
    """Once all phases together have made so many; what needs an evaluation, a save or a start waits
    for the next one after."""
    delay_seconds: float
    """After that."""
    draw: int
    """Decides which phase, rank, shard and bit is struck, of those that there are then."""

    def chances(self, attempt: int) -> random.Random:
        """For the next try of a fault that has missed so often."""
        return random.Random(f"{self.draw} {attempt}")


@dataclass(frozen=True, kw_only=True)
class StudyFault:
    """A fault that has struck."""

    number: int
    """Of its plan."""
    kind: str
    phase: str
    """Which was struck; empty where it was the whole study."""
    step: int
    """Of the phase, or of all phases together."""
    evidence: str
    """What shows that it has struck."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return asdict(self)


def plan_study_faults(
    count: int, num_steps: int, seed: int, kinds: Sequence[str] = KINDS
) -> list[StudyPlan]:
    """`count` faults of `kinds` by turns, in an order of their own, one in each equal stretch of
    the study."""
    rng = random.Random(seed)
    order = _order([kinds[number % len(kinds)] for number in range(count)], rng)
    plans: list[StudyPlan] = []
    for number, kind in enumerate(order):
        part = _FIRST + (_LAST - _FIRST) * (number + rng.random()) / count
        at_step = int(part * num_steps)
        if kind in (KILL_AT_START, FLIP) and plans:
            at_step = plans[-1].at_step  # what the fault before has made start again
        plan = StudyPlan(
            number=number,
            kind=kind,
            at_step=at_step,
            delay_seconds=rng.uniform(0.0, 0.05),
            draw=rng.getrandbits(32),
        )
        plans.append(plan)
    return plans


def _order(chosen: Sequence[str], rng: random.Random) -> list[str]:
    """Shuffled; bytes flip where the study has ended anyway, as nobody may read them meanwhile, and
    evaluations, which must be waited for, are not left to the end, where there is one."""
    flips = [kind for kind in chosen if kind == FLIP]
    order = [kind for kind in chosen if kind != FLIP]
    rng.shuffle(order)
    early = len(order) * 2 // 3
    for place in range(early, len(order)):
        if order[place] == KILL_EVALUATION:
            others = [n for n in range(early) if order[n] != KILL_EVALUATION]
            if others:
                other = rng.choice(others)
                order[place], order[other] = order[other], order[place]
    ends = [place for place, kind in enumerate(order) if kind in ENDS_STUDY]
    places = sorted(rng.sample(ends, min(len(flips), len(ends))), reverse=True)
    for place in places:
        order.insert(place + 1, FLIP)
    return order + flips[len(places) :]
