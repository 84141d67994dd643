"""Blocks of input to folders of tokenised documents, each whole or absent, by several processes.

What a folder holds depends on its block and the job alone: any number of workers and of nodes, and
any kill on the way, leave the same folders behind.
"""

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.data.preparation.input_blocks import Piece, count_blocks, read_blocks
from megatron_codemix.errors import DataError
from megatron_codemix.files import full_disk, read_json, sync_folder, write_json
from megatron_codemix.garbage import no_search_for_garbage

log = logging.getLogger(__name__)

Advance = Callable[[int], None]

_REMOVED = ".removed-"
_MAX_STREAM_WORKERS = 4  # each decompresses the whole file for its share of the blocks


class Encoder(Protocol):
    """Makes the files of one block; picklable, for it goes to the workers."""

    columns: Sequence[str]
    """Fields that it reads."""

    def load(self) -> None:
        """Loads what every process needs that writes blocks; it cannot be pickled after that."""

    def write_block(
        self, file: InputFile, pieces: Iterator[Piece], folder: Path, advance: Advance
    ) -> dict[str, Any]:
        """Writes files into the folder; returns what `block.json` says of it."""


@dataclass(frozen=True)
class Part:
    """The `number`-th of `count` parts of the input (from 0), one for each node."""

    number: int
    count: int

    def has(self, file: int, block: int, num_files: int = 1) -> bool:
        """Of many files each part takes whole ones: it need not read the others to find out which
        of their blocks are its own."""
        turn = file if num_files >= self.count else file + block
        return turn % self.count == self.number


WHOLE = Part(0, 1)


@dataclass(frozen=True)
class Task:
    """Blocks `first`, `first + step`, ... of a file; only `first` where step is None."""

    file: int
    first: int
    step: int | None

    def has(self, block: int) -> bool:
        if self.step is None:
            return block == self.first
        return block >= self.first and (block - self.first) % self.step == 0


@dataclass(frozen=True)
class BlockFolders:
    """The folders of the blocks of some files, below `work`."""

    work: Path
    num_files: int

    def folder(self, file: int, block: int) -> Path:
        return self.work / f"file-{file:06d}-block-{block:06d}"

    def blocks(self, file: int) -> list[int] | None:
        """Numbers of the file's blocks; None where that is not on record yet."""
        try:
            return [int(block) for block in read_json(self._record(file))]
        except FileNotFoundError:
            return None

    def record_blocks(self, file: int, blocks: Sequence[int]) -> None:
        if self.blocks(file) is None:
            write_json(self._record(file), list(blocks))

    def whole(self) -> list[Path]:
        """All folders, in reading order. Raises DataError where some are missing."""
        found = []
        for file in range(self.num_files):
            blocks = self.blocks(file)
            folders = [self.folder(file, block) for block in blocks or ()]
            missing = [path.name for path in folders if not path.exists()]
            if blocks is None or missing:
                raise DataError(
                    f"{self.work}: not all of the input is there (missing: "
                    f"{', '.join(missing[:3]) or f'all of file {file}'}"
                    f"{f' and {len(missing) - 3} more' if len(missing) > 3 else ''}); run the "
                    "parts that are missing (--shard), or the whole without --shard"
                )
            found += folders
        return found

    def _record(self, file: int) -> Path:
        return self.work / f"file-{file:06d}.json"


@dataclass(frozen=True)
class BlockJob:
    """Files to be encoded into folders below `work`."""

    files: tuple[InputFile, ...]
    encoder: Encoder
    work: Path
    block_bytes: int

    @property
    def folders(self) -> BlockFolders:
        return BlockFolders(self.work, len(self.files))

    def tasks(self, part: Part, num_workers: int) -> list[Task]:
        """What is not in `work` yet of this part, in reading order."""
        deals_files = len(self.files) >= part.count
        own = [
            (number, file)
            for number, file in enumerate(self.files)
            if not deals_files or part.has(number, 0, len(self.files))
        ]
        counts = {number: count_blocks(file, self.block_bytes) for number, file in own}
        num_streams = sum(count is None for count in counts.values())
        tasks: list[Task] = []
        for file, count in counts.items():
            if count is not None:
                self.folders.record_blocks(file, range(count))
            blocks = self.folders.blocks(file)
            if blocks is not None and all(
                self.folders.folder(file, block).exists()
                for block in blocks
                if part.has(file, block, len(self.files))
            ):
                continue
            if count is not None:
                tasks += (
                    Task(file, block, None)
                    for block in range(count)
                    if part.has(file, block, len(self.files))
                    and not self.folders.folder(file, block).exists()
                )
                continue
            turns = max(1, min(num_workers // num_streams, _MAX_STREAM_WORKERS))
            first, step = (0, 1) if deals_files else ((part.number - file) % part.count, part.count)
            tasks += (Task(file, first + step * turn, step * turns) for turn in range(turns))
        return tasks

    def load(self) -> None:
        """Loads what every process needs that runs tasks."""
        self.encoder.load()

    def run(self, task: Task, advance: Advance) -> None:
        """Encodes the task's blocks that are not there. Raises DataError, UnavailableError."""
        file = self.files[task.file]
        seen = []

        def is_wanted(block: int) -> bool:
            seen.append(block)
            return task.has(block) and not self.folders.folder(task.file, block).exists()

        for block, pieces in read_blocks(file, self.block_bytes, is_wanted, self.encoder.columns):
            self._encode(file, pieces, self.folders.folder(task.file, block), advance)
        self.folders.record_blocks(task.file, seen)

    def _encode(
        self, file: InputFile, pieces: Iterator[Piece], folder: Path, advance: Advance
    ) -> None:
        temporary = folder.with_name(f".{folder.name}.{os.uname().nodename}.{os.getpid()}.tmp")
        try:
            temporary.mkdir(parents=True)
            with no_search_for_garbage():
                summary = self.encoder.write_block(file, pieces, temporary, advance)
            write_json(temporary / "block.json", summary)
            put_folder_in_place(temporary, folder)
        except OSError as error:
            raise full_disk(error, folder) from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def block_summary(folder: Path) -> dict[str, Any]:
    summary: dict[str, Any] = read_json(folder / "block.json")
    return summary


def remove_work(work: Path) -> None:
    """Removes a folder of blocks that are not needed any more: killed on the way, it leaves nothing
    that a later run takes for the work of a part."""
    removed = work.with_name(_REMOVED + work.name)
    if work.exists():
        shutil.rmtree(removed, ignore_errors=True)
        work.rename(removed)
    remove_removed(work.parent)


def remove_removed(folder: Path) -> None:
    """What a kill left of folders that were being removed."""
    for path in folder.glob(f"{_REMOVED}*"):
        shutil.rmtree(path, ignore_errors=True)


def put_folder_in_place(temporary: Path, folder: Path) -> None:
    """Renames a folder of files, once they are on disk. One that is there already has the same
    content and stays."""
    for path in temporary.iterdir():
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())
    try:
        temporary.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    sync_folder(folder.parent)
