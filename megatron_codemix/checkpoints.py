"""What makes a checkpoint whole: its marker, with the size and the hash of every other file.

Free of torch and of the format inside: what training writes, a command can check on any machine.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from megatron_codemix.errors import RunError
from megatron_codemix.files import hash_file, read_json, write_json
from megatron_codemix.run_checkpoints import run_of_checkpoint, train_again
from megatron_codemix.runs import COMPLETE_MARKER, RunDirectory

Marker = dict[str, Any]  # Any: JSON values


class DamagedCheckpointError(RunError):
    """Files of a checkpoint are missing, or not what was written."""


@contextlib.contextmanager
def refusing_damage(folder: Path) -> Iterator[None]:
    """For who cannot take another checkpoint: says what to do about a damaged one. Raises RunError
    in place of DamagedCheckpointError."""
    try:
        yield
    except DamagedCheckpointError as damage:
        raise RunError(f"{damage}\n{damage_advice(folder)}") from damage


def damage_advice(folder: Path) -> str:
    """What to do about a checkpoint that is damaged."""
    run = run_of_checkpoint(folder)
    advice = (
        f"delete the folder and give {train_again(run)}, which goes on from the checkpoint before"
        if any(step < int(folder.name.removeprefix("iter_")) for step in run.complete_steps())
        else "move the run directory away to train it again"
    )
    return f"{folder}: restore these files, or {advice}"


@dataclass(frozen=True)
class FileRecord:
    """One file as it was written."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> "FileRecord":
        """Of the file as it is now, after it is safe on the disk."""
        with open(path, "rb") as handle:
            os.fsync(handle.fileno())
        return cls(path.stat().st_size, hash_file(path))


@dataclass(frozen=True, kw_only=True)
class CheckpointInfo:
    """A checkpoint of a run, as far as its marker and the sizes of its files tell."""

    path: str
    step: int
    complete: bool
    problem: str | None = None
    """Why it cannot be used, where that is known already."""
    tokens: int | None = None
    """Of this phase; absent, as what follows, where there is no readable marker."""
    bytes: int | None = None
    kept: bool | None = None
    """Whether it stays for good (`checkpoint.keep_every_tokens`)."""
    layout: dict[str, Any] | None = None
    world_size: int | None = None


def list_checkpoints(run: RunDirectory) -> list[CheckpointInfo]:
    """All checkpoints of the run, by step. Raises RunError where there is no run."""
    run.require_config()
    return [_info(folder) for folder in sorted(run.checkpoints.glob("iter_*"))]


def _info(folder: Path) -> CheckpointInfo:
    step = int(folder.name.removeprefix("iter_"))
    try:
        record = read_marker(folder)
    except RunError as error:
        complete = isinstance(error, DamagedCheckpointError)
        return CheckpointInfo(
            path=str(folder), step=step, complete=complete, problem=str(error).splitlines()[0]
        )
    return CheckpointInfo(
        path=str(folder),
        step=step,
        complete=True,
        tokens=record["tokens"],
        bytes=total_bytes(record),
        kept=record["is_kept"],
        layout=record["layout"],
        world_size=record["world_size"],
    )


def write_marker(folder: Path, record: Mapping[str, Any], files: Mapping[str, FileRecord]) -> None:
    """Makes the checkpoint whole. Raises RunError where its files are not those of `files`."""
    problems = _size_problems(folder, files)
    if problems:
        raise RunError("\n".join(problems))
    listed = {name: asdict(file) for name, file in sorted(files.items())}
    write_json(folder / COMPLETE_MARKER, {**record, "files": listed})


def damage_at_end(run: RunDirectory, last_step: int) -> str | None:
    """What is wrong with the last checkpoint of a run that is done, as far as sizes tell; None
    where it is whole, or where no checkpoint is left, on purpose perhaps."""
    if not run.checkpoint(last_step).exists() and not run.complete_steps():
        return None
    try:
        read_marker(run.checkpoint(last_step))
    except RunError as error:
        return str(error)
    return None


def read_marker(folder: Path) -> Marker:
    """The record of a complete checkpoint. Raises RunError if it is incomplete,
    DamagedCheckpointError where a file has another size than when it was written."""
    record = marker_record(folder)
    problems = _size_problems(folder, files_of(record))
    if problems:
        raise DamagedCheckpointError("\n".join(problems))
    return record


def marker_record(folder: Path) -> Marker:
    """What the marker says, without a look at the other files. Raises RunError where there is none,
    DamagedCheckpointError where it is not readable."""
    path = folder / COMPLETE_MARKER
    try:
        record: Marker = read_json(path)
        files_of(record)
    except FileNotFoundError:
        raise RunError(
            f"{folder}: not a complete checkpoint (no {COMPLETE_MARKER} in it)"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedCheckpointError(
            f"{path}: not the record of a checkpoint ({error!r}); restore it, or delete the folder"
        ) from error
    return record


def require_unchanged(folder: Path, advance: Callable[[int], None]) -> Marker:
    """The record of a complete checkpoint, after every byte of it was read: in one process, what
    `mcore.checkpoint.require_whole` is for all ranks. Raises as `read_marker`, and
    DamagedCheckpointError with every file whose content is not what was written.

    advance: told of the bytes of each file that is done.
    """
    record = read_marker(folder)
    problems = changed_files(folder, files_of(record), advance=advance)
    if problems:
        raise DamagedCheckpointError("\n".join(problems))
    return record


def remove_checkpoint(folder: Path) -> None:
    """Deletes it, the marker first: half of it is never taken for whole."""
    (folder / COMPLETE_MARKER).unlink(missing_ok=True)
    shutil.rmtree(folder)


def files_of(record: Marker) -> dict[str, FileRecord]:
    """The files that a marker tells of, by name."""
    return {name: FileRecord(**file) for name, file in record["files"].items()}


def total_bytes(record: Marker) -> int:
    """Of all files but the marker."""
    return sum(file.bytes for file in files_of(record).values())


def changed_files(
    folder: Path,
    files: Mapping[str, FileRecord],
    *,
    num_threads: int | None = None,
    advance: Callable[[int], None] = lambda num_bytes: None,
) -> list[str]:
    """Reads every byte of `files`, several at once; a line for each that is not what was written.

    advance: told of the bytes of each file that is done.
    """
    with ThreadPoolExecutor(num_threads) as threads:
        found = threads.map(partial(_content_problem, folder, advance), files.items())
        return [problem for problem in found if problem]


def _size_problems(folder: Path, files: Mapping[str, FileRecord]) -> list[str]:
    problems = []
    for name, file in sorted(files.items()):
        try:
            size = (folder / name).stat().st_size
        except FileNotFoundError:
            problems.append(f"{folder / name}: is missing")
            continue
        if size != file.bytes:
            problems.append(f"{folder / name}: {size:,} bytes, not the {file.bytes:,} written")
    return problems


def _content_problem(
    folder: Path, advance: Callable[[int], None], item: tuple[str, FileRecord]
) -> str | None:
    name, file = item
    path = folder / name
    try:
        is_same = hash_file(path) == file.sha256
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"
    advance(file.bytes)
    return None if is_same else f"{path}: its content is not what was written"
