"""What is asked for: how many faults of which kinds, and how long the study is."""

from collections.abc import Sequence
from dataclasses import dataclass

from megatron_codemix.bench.chaos.study.plan import KINDS
from megatron_codemix.errors import RunError

_STEPS_OF_A_FAULT = 48
"""Between two faults, of all phases together: six checkpoints, and a second or two."""
_LEAST_STEPS = 40
"""Of a phase."""
_NUM_PHASES = 6


@dataclass(frozen=True, kw_only=True)
class StudyChaos:
    """A study to disturb, and by what."""

    num_faults: int
    seed: int
    kinds: tuple[str, ...] = KINDS
    num_steps: int | None = None
    """Of a phase; absent: so many that all faults find something to strike."""

    @property
    def steps_of_a_phase(self) -> int:
        """As asked for, or as many as the faults need."""
        if self.num_steps is not None:
            return self.num_steps
        return max(_LEAST_STEPS, -(-self.num_faults * _STEPS_OF_A_FAULT // _NUM_PHASES))


def kinds_named(names: Sequence[str]) -> tuple[str, ...]:
    """All kinds where none is named. Raises RunError for one that there is not."""
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise RunError(f"no fault {unknown[0]!r}; there are: {', '.join(KINDS)}")
    return tuple(names) or KINDS
