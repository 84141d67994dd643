"""What the starts of a job have taken: a line in a file for each begin and each end.

The batch script writes the first by itself, so that a start whose node dies has left one as well;
the second follows once its processes have ended. When a start without an end has been over is then
told by the line of the next one, which has the run's last sign of life before it.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.files import Json, append_jsonl, read_json, read_jsonl
from megatron_codemix.runs import RunDirectory

_CLOCKS_DIFFER_SECONDS = 60.0
"""At most, those of nodes and of a file server. A job that is put back waits longer than that."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A time in which a job had its nodes."""

    began_unix: float
    ended_unix: float

    @property
    def seconds(self) -> float:
        return self.ended_unix - self.began_unix


def starts_beside(log: Path) -> Path:
    """Where the starts of the job are noted whose log this is."""
    return log.with_suffix(".starts.jsonl")


def note_end(path: Path, *, began_unix: float, ended_unix: float) -> list[Stretch]:
    """Notes that the last start has ended; what it took, behind what was lost since the last end
    that could be noted.

    began_unix: of the last start, in case that its script could not write.
    Raises RunError where the file is damaged, UnavailableError on a full disk.
    """
    begins: list[dict[str, Json]] = []
    for line in read_jsonl(path):
        begins = [] if "ended_unix" in line else [*begins, line]
    append_jsonl(path, {"ended_unix": ended_unix})
    lost = [_lost(*pair) for pair in itertools.pairwise(begins)]
    last = begins[-1]["began_unix"] if begins else began_unix
    return [*lost, Stretch(began_unix=last, ended_unix=max(last, ended_unix))]


def _lost(start: dict[str, Json], following: dict[str, Json]) -> Stretch:
    """A start that has no end; nothing, where it gave no sign of life."""
    began, sign = float(start["began_unix"]), float(following["last_sign_unix"] or 0.0)
    ended = min(max(began, sign), float(following["began_unix"]))
    return Stretch(began_unix=began, ended_unix=max(began, ended))


def has_trained(run: RunDirectory, job: str, *, since_unix: float) -> bool:
    """Whether a start of this job, of that time or later, has begun to train the run: then it has
    left its number there."""
    for path in run.path.glob("attempts/*/provenance.json"):
        try:
            is_new = path.stat().st_mtime >= since_unix - _CLOCKS_DIFFER_SECONDS
            if is_new and read_json(path).get("slurm_job") == job:
                return True
        except (OSError, ValueError, AttributeError):  # damaged; it says nothing
            continue
    return False
