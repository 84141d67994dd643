"""Where the samples of a source lie in its shard: what every order of samples answers."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Parts:
    """Where rows of tokens lie in a shard: pieces in reading order, row after row. All [parts]."""

    row: npt.NDArray[np.int64]
    """Which of the asked rows the piece belongs to, ascending."""
    first: npt.NDArray[np.int64]
    """First token, counted in tokens of the .bin."""
    length: npt.NDArray[np.int64]
    """Tokens. A row whose pieces hold fewer than sequence_length + 1 in all is padded."""


class SampleOrder(Protocol):
    """In which order the samples of one source are read. Threads may share one."""

    @property
    def samples_per_epoch(self) -> int:
        """Samples in one pass over the source."""
        ...

    def parts(self, cursors: npt.NDArray[np.int64]) -> Parts:
        """Where the samples lie. A cursor is the number of a sample over all epochs, from 0."""
        ...
