"""The git clones that a recipe names: what each is called, and which files are of which.

A commit holds lines of files, so a clone's commits, files and notebooks have one origin: else what
is held out of the files would be trained on in a commit.
"""

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from megatron_codemix.corpus.readers import Input, InputFile, utf8_name
from megatron_codemix.corpus.readers.patterns import is_address, is_wild, of_place


@dataclass(frozen=True)
class Clones:
    """Clones on this machine. names: folder, as it is called and as it is without links -> name of
    the repository."""

    names: dict[Path, str]

    def name(self, folder: Path) -> str:
        """`folder` matches one of the patterns."""
        return self.names[folder.resolve()]

    def origin_of(self, file: Input) -> str | None:
        """The name of the clone that a file lies in, of the innermost one; None where it lies in
        none. A link in a clone to a file of another clone is of the other, whose commits have its
        lines."""
        if not self.names or not isinstance(file, InputFile):
            return None
        for folder in (*file.path.resolve().parents, *_plain(file.path).parents):
            if folder in self.names:
                return self.names[folder]
        return None


def find_clones(patterns: Iterable[str]) -> Clones:
    """Of all patterns of the recipe, whichever sources are wanted. A folder that two of them match
    has its name of the first."""
    names: dict[Path, str] = {}
    for pattern in patterns:
        for folder in folders_of(pattern):
            name = names.setdefault(folder.resolve(), _repository(folder, pattern))
            names.setdefault(_plain(folder), name)
    return Clones(names)


def folders_of(pattern: str) -> list[Path]:
    """The folders that a pattern matches, sorted; none where it is an address."""
    if is_address(pattern):
        return []
    return [Path(name) for name in sorted(glob.glob(of_place(pattern))) if Path(name).is_dir()]


def is_clone(folder: Path) -> bool:
    """Whether git has made it, with its files or bare. What git can read of it is another
    question."""
    is_bare = (folder / "HEAD").is_file() and (folder / "objects").is_dir()
    return is_bare or (folder / ".git").exists()


def _plain(path: Path) -> Path:
    """Without `..`, with its links."""
    return Path(os.path.abspath(path))


def _repository(folder: Path, pattern: str) -> str:
    """`owner/project` where the pattern ends in `*/*`, else `project`."""
    parts = of_place(pattern).rstrip("/").split("/")
    wild = [number for number, part in enumerate(parts) if is_wild(part)]
    depth = len(parts) - wild[0] if wild else 1
    return utf8_name("/".join(folder.resolve().parts[-depth:]).removesuffix(".git"))
