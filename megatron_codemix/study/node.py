"""One phase of a study at one point of its matrix."""

from dataclasses import dataclass

from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.plan import MixturePlan

SINGLE_CELL = "single"


@dataclass(frozen=True, kw_only=True)
class PhaseNode:
    """One phase at one point of the matrix."""

    cell: str
    name: str
    parent: str | None
    """Name of the parent phase, in the same cell."""
    config: RunConfig
    """`init_from.run` is a placeholder until the study has a place: see
    `StudyTree.resolved_config`."""
    identity: str | None
    """None while the data that it depends on is not there."""
    mixture: MixturePlan | None = None
    """None before the data was looked for; without regard to caps while some of it is not there."""

    @property
    def key(self) -> str:
        """Name that is unique in the study."""
        return f"{self.cell}/{self.name}"

    @property
    def label(self) -> str:
        """For people: without the cell where there is only one."""
        return self.name if self.cell == SINGLE_CELL else self.key
