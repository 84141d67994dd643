"""Lines of files that grow, such as a run's metrics, which have one for each step."""

import os
from pathlib import Path
from typing import NamedTuple


def count_lines(path: Path) -> int:
    """Whole lines; 0 where the file is absent."""
    return LineCounts().of(path)


class _Seen(NamedTuple):
    """A file as it was at the last look."""

    inode: int
    size: int
    lines: int


class LineCounts:
    """Of files that are looked at again and again: only what is new is read."""

    def __init__(self) -> None:
        self._seen: dict[Path, _Seen] = {}

    def of(self, path: Path) -> int:
        """Whole lines; 0 where the file is absent."""
        try:
            with open(path, "rb") as handle:
                now = os.fstat(handle.fileno())
                before = self._seen.get(path)
                # A run that goes back to a checkpoint puts another file in the place of this one.
                if before is None or before.inode != now.st_ino or before.size > now.st_size:
                    before = _Seen(now.st_ino, 0, 0)
                handle.seek(before.size)
                new = handle.read()
        except FileNotFoundError:
            return 0
        seen = _Seen(now.st_ino, before.size + len(new), before.lines + new.count(b"\n"))
        self._seen[path] = seen
        return seen.lines
