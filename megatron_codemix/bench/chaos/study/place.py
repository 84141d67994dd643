"""The folder that a benchmark works in: whether it may, and how it goes."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

from megatron_codemix.bench.chaos.study.asked import StudyChaos
from megatron_codemix.bench.chaos.study.damage import repair
from megatron_codemix.bench.chaos.study.disk import unmount
from megatron_codemix.bench.chaos.study.disturb import Tell
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json, write_json

DISK = "disk"
"""In the folder: what fills up."""
_NOTE = "chaos.json"
"""What was asked for."""
_FINISHED = "finished"
_KILLED_WRITE = ".tmp"
"""End of the name of what is left by a process that was killed while it wrote."""


def prepare_place(work: Path, asked: StudyChaos, tell: Tell) -> None:
    """What a killed call has left is put right, or taken away where it was asked for something
    else. Raises RunError where the folder holds what is not to be touched."""
    _clear(_removed(work))
    note, wanted = work / _NOTE, json.loads(json.dumps(asdict(asked)))
    if not note.exists() and _holds_something(work):
        raise RunError(f"{work}: holds something else; give --work a folder of its own")
    if (work / _FINISHED).exists():
        raise RunError(
            f"{work}: holds two studies that were not alike, or met too few faults; look at them, "
            "and delete the folder or give another --work"
        )
    if note.exists() and read_json(note) == wanted:
        tell(f"going on in {work}, where an earlier call was interrupted")
        repair(work)
        return
    if note.exists():
        tell(f"beginning anew in {work}, where an interrupted call was asked for something else")
        remove_place(work)
    write_json(note, wanted)


def keep_place(work: Path) -> None:
    """The next call leaves it alone."""
    (work / _FINISHED).touch()


def remove_place(work: Path) -> None:
    """With what is mounted in it. Half of it is never taken for an interrupted call's: a kill
    leaves all of it, or something else's name, which the next call removes."""
    _clear(_removed(work))
    work.rename(_removed(work))
    _clear(_removed(work))


def _removed(work: Path) -> Path:
    return work.with_name(f".{work.name}.chaos-removed")


def _clear(folder: Path) -> None:
    unmount(folder / DISK)
    if folder.exists():
        shutil.rmtree(folder)


def _holds_something(work: Path) -> bool:
    return work.exists() and any(path.suffix != _KILLED_WRITE for path in work.iterdir())
