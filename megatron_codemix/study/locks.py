"""Who works in a study's folder: its runner and its children, and whoever changes its record."""

import contextlib
from pathlib import Path

from megatron_codemix.locks import exclusive, is_locked


def study_lock(out: Path) -> Path:
    """Held by a `study run` or a submission that works in the study's folder."""
    return out / ".study.lock"


def exclusive_study(out: Path) -> contextlib.AbstractContextManager[None]:
    """Holds `study_lock`. Raises RunError where another process does."""
    advice = "; 'codemix study status STUDY --watch' shows how far it is"
    return exclusive(study_lock(out), "a study", advice=advice)


def children_lock(out: Path) -> Path:
    """Held by the processes of a `study run`, also after that was killed."""
    return out / ".children.lock"


def is_study_running(out: Path) -> bool:
    """Whether a `study run` or a submission works in the study's folder, or what a killed one has
    left still does."""
    return is_locked(study_lock(out)) or is_locked(children_lock(out))


def record_lock(out: Path) -> contextlib.AbstractContextManager[None]:
    """Held by whoever changes a record that others may change meanwhile."""
    return exclusive(out / ".record.lock", "a change of its record", wait_seconds=60.0)
