"""Checks where a command is to write, before it works for it; names what goes from there."""

import logging
from pathlib import Path

from megatron_codemix.errors import DataError

log = logging.getLogger(__name__)

STATISTICS_SUFFIX = "-statistics.html"
"""Of the page about a corpus, which lies beside its folder."""


def require_folder_place(path: Path, purpose: str) -> None:
    """Raises DataError where `path` can be no folder: it, or a part of it, is a file."""
    for place in (path, *path.parents):
        if place.is_dir():
            return
        if place.exists():
            is_itself = "a file is there" if place == path else f"{place} is a file"
            raise DataError(
                f"{path}: {is_itself}, and a folder is wanted for {purpose}; name another place"
            )


def require_file_place(path: Path, usual_name: str) -> None:
    """Raises DataError where `path` can be no file: it is a folder, or lies below a file."""
    if path.is_dir():
        raise DataError(
            f"{path}: a folder is there, and a file is wanted; name one, such as "
            f"{path / usual_name}"
        )
    require_folder_place(path.parent, usual_name)


def announce_replaced(place: Path, *, is_plan: bool = False) -> None:
    """One line about what was made there and goes. is_plan: nothing is done yet, and the same
    command without --dry-run would do it."""
    what = "would be replaced" if is_plan else "is replaced"
    log.warning("%s: was made from other input or options, %s", place, what)
