"""The parts of a corpus: what one worker takes, what one output file comes from, what a kill can
cost at most.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from megatron_codemix.corpus.readers import FileState, Input, InputFile
from megatron_codemix.corpus.writer import SUFFIX
from megatron_codemix.files import hash_json

PART_BYTES = 64 << 20
"""Files smaller than this share a part. At 20 MB of text a second, and four bytes of it in one of a
compressed file, a part of this size takes 13 seconds."""


@dataclass(frozen=True)
class Part:
    """Files of one source that follow one another; `number` counts from 0 in the source."""

    source: str
    number: int
    files: tuple[Input, ...]

    @property
    def name(self) -> str:
        """`part-00000`: of the file that is made from it."""
        return f"part-{self.number:05d}"

    @property
    def output(self) -> str:
        """That file, below the corpus folder."""
        return f"{self.source}/{self.name}{SUFFIX}"

    @property
    def num_bytes(self) -> int:
        """Size of its files, as they are (compressed)."""
        return sum(file.num_bytes() for file in self.files)

    def require_as_recorded(self) -> None:
        """Raises DataError where a file is not the one that its corpus has on record.

        64 MiB are read for it in 0.06 s, half a percent of what the quickest stage takes.
        """
        for file in self.files:
            if isinstance(file, InputFile) and file.sha256 is not None:
                file.hashed()

    def states(self, known: Mapping[str, FileState] | None = None) -> list[FileState]:
        """The files as they are now. known: earlier states by name, which save reading what has the
        same size and time."""
        seen = known or {}
        return [file.state(seen.get(file.name)) for file in self.files]

    def identity(self, known: Mapping[str, FileState] | None = None) -> str:
        """Hash of the names, sizes and contents of its files: with the options of a stage it
        decides the bytes that the stage makes of it."""
        return identity_of(self.states(known))


def identity_of(states: Sequence[FileState]) -> str:
    """As `Part.identity`; when a file was changed is not in it."""
    return hash_json([[state.name, state.num_bytes, state.sha256] for state in states])


def parts_of(sources: Mapping[str, Sequence[Input]], part_bytes: int = PART_BYTES) -> list[Part]:
    """Every file in one part: a large one alone, small ones together until they have `part_bytes`.

    In order of the sources' names, then of their files.
    """
    parts = []
    for source, files in sorted(sources.items()):
        groups: list[list[Input]] = []
        group_bytes = 0
        for file in files:
            num_bytes = file.num_bytes()
            if not groups or group_bytes + num_bytes > part_bytes:
                groups.append([])
                group_bytes = 0
            groups[-1].append(file)
            group_bytes += num_bytes
        parts += [Part(source, number, tuple(group)) for number, group in enumerate(groups)]
    return parts


@dataclass(frozen=True)
class Share:
    """What one task of a SLURM array takes: the `number`-th (from 0) of `count` shares."""

    number: int
    count: int


ALL = Share(0, 1)


def dealt(parts: Sequence[Part], share: Share) -> list[Part]:
    """Every `count`-th part: the shares together have each part once."""
    return list(parts[share.number :: share.count])
