"""How long something may stand still."""

from collections.abc import Hashable
from dataclasses import dataclass

PATIENCE_SECONDS = 300.0
"""Longer than anything here takes on a machine that does other things too."""
_LOOKS = 300
"""At what must change, before patience ends: each costs a part of a millisecond."""


@dataclass
class Patience:
    """Ends where nothing has changed for so long, however long all of it takes."""

    seconds: float = PATIENCE_SECONDS
    _seen: Hashable = None
    _ends_at: float | None = None
    _look_at: float = 0.0

    def is_due(self, now: float) -> bool:
        """Whether it is time for another look."""
        return now >= self._look_at

    def has_ended(self, seen: Hashable, now: float) -> bool:
        """After a look: `seen` is what must change, `now` a monotonic time."""
        self._look_at = now + self.seconds / _LOOKS
        if self._ends_at is None or seen != self._seen:
            self._seen, self._ends_at = seen, now + self.seconds
        return now > self._ends_at
