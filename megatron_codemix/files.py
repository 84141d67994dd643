"""Files that are whole or absent: atomic writes, JSON lines that survive a kill, content hashes."""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, get_args

from megatron_codemix.errors import RunError, UnavailableError
from megatron_codemix.units import format_bytes

Json = Any  # the json module's own notion of a value


@contextlib.contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; it takes the final name, synced to disk, only if
    the block succeeds.

    Turns a full disk (OSError ENOSPC) inside the block into UnavailableError that names the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # With the machine's name: tasks on several nodes may write equal files in one folder.
    temporary = path.with_name(f".{path.name}.{os.uname().nodename}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        _name_as_given(error, path, temporary)
        raise full_disk(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(folder: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yields an empty temporary folder beside `folder`, which takes its name, synced to disk, only
    if the block succeeds. What a killed process has left of it is removed.

    replace: whether there may be a `folder`, whose place the new one takes.
    Turns a full disk inside the block into UnavailableError.
    """
    temporary = folder.with_name(f".{folder.name}.new.tmp")
    replaced = folder.with_name(f".{folder.name}.old.tmp")
    if replaced.exists() and not folder.exists():  # killed between the two renames below
        os.replace(replaced, folder)
    for remnant in (temporary, replaced):
        shutil.rmtree(remnant, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        for path in temporary.rglob("*"):
            if path.is_file():
                with open(path, "rb") as handle:
                    os.fsync(handle.fileno())
        if replace and folder.exists():
            os.replace(folder, replaced)
        os.replace(temporary, folder)
        sync_folder(folder.parent)
    except OSError as error:
        _name_as_given(error, folder, temporary, replaced)
        raise full_disk(error, folder) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if folder.exists():
            shutil.rmtree(replaced, ignore_errors=True)


def _name_as_given(error: OSError, path: Path, *temporary: Path) -> None:
    """Makes an error about a temporary file or folder, or something in it, one about `path`."""
    if error.filename is None or isinstance(error.filename, int):
        return
    name = Path(os.fsdecode(error.filename))
    if any(name.is_relative_to(own) for own in temporary):
        error.filename = str(path)


def unusable_path(error: OSError) -> UnavailableError | None:
    """The readable error for a path that the system refuses (read-only, no permission, a file where
    a folder is wanted); None for an OSError about no path, such as a lost connection."""
    if error.filename is None:
        return None
    path = Path(os.fsdecode(error.filename))
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        readable = full_disk(error, path)
        assert isinstance(readable, UnavailableError), error
        return readable
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return UnavailableError(
            f"{path}: {error.strerror}; a file is there, and a folder is wanted; give another path"
        )
    if error.errno == errno.EISDIR:
        return UnavailableError(f"{path}: is a folder, and a file is wanted; give another path")
    return UnavailableError(
        f"{path}: {error.strerror}; give a path that exists and may be read or written here"
    )


def full_disk(error: OSError, path: Path) -> OSError | UnavailableError:
    """`error` itself, or the readable error where it says that the disk under `path` is full, or
    holds no larger files."""
    if error.errno == errno.EFBIG:
        return UnavailableError(
            f"{path}: grows larger than files may be here (`ulimit -f`, or the file system's "
            "limit); raise it, or write elsewhere (nothing half-written is kept)"
        )
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return UnavailableError(
        f"{path}: the disk is full; free some space and run the same command again (nothing "
        "half-written is kept)"
    )


def sync_folder(folder: Path) -> None:
    """Makes a rename in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Writes `text` as UTF-8, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Json) -> None:
    """Writes indented JSON, keys in the order of `value`, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Json:
    """Parsed content. Raises OSError or json.JSONDecodeError: the caller knows what the file
    means."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_json_object(path: Path) -> dict[str, Json]:
    """As `read_json`; raises ValueError also where something else than an object stands there."""
    value = read_json(path)
    problem = field_problem(value, {})
    if problem is not None:
        raise ValueError(problem)
    assert isinstance(value, dict)
    return value


def append_jsonl(path: Path, record: Mapping[str, Json]) -> None:
    """Appends one line in one write, so that a kill leaves at most one cut line, at the end."""
    line = json.dumps(record, ensure_ascii=False) + "\n"
    try:
        with open(path, "a", encoding="utf-8") as handle:
            handle.write(line)
    except OSError as error:
        raise full_disk(error, path) from error


CUT_OFF = "restore the file from a copy, or delete this line and those after it"
"""What to do about a damaged line, where nothing better is known."""


def read_jsonl(
    path: Path,
    problem_of: Callable[[dict[str, Json]], str | None] = lambda record: None,
    *,
    advice: str = CUT_OFF,
) -> list[dict[str, Json]]:
    """All whole records; a cut last line is left out; [] where the file is absent.

    problem_of: what is wrong with a record for who reads it; None where nothing is.
    advice: what to do about a line that is damaged.
    Raises RunError that names file and line where something else than a JSON object stands in it,
    or one with a problem.
    """
    if not path.exists():
        return []
    records = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        if not line:
            continue
        try:
            record = json.loads(line)
            problem = field_problem(record, {}) or problem_of(record)
        except ValueError as error:  # not JSON, or not UTF-8
            problem = str(error)
        if problem is not None:
            raise RunError(f"{path}:{number}: damaged ({problem}); {advice}")
        records.append(record)
    return records


_JSON_NAMES = {
    list: "a list",
    str: "a text",
    bool: "a truth value",
    **dict.fromkeys((int, float), "a number"),
    type(None): "null",
}


def field_problem(
    record: Json, fields: Mapping[str, type | UnionType], *, may_be_nan: Collection[str] = ()
) -> str | None:
    """What is wrong with a value that was read where an object with these fields is wanted, in
    words; None where nothing is.

    fields: name -> type as the json module has it. Only those in `may_be_nan` may be no number or
        infinite.
    """
    if not isinstance(record, dict):
        return f"{_JSON_NAMES[type(record)]}, and an object is wanted"
    for name, wanted in fields.items():
        if name not in record:
            return f"{name!r} is missing"
        value = record[name]
        kind = type(value)  # True is no int
        is_wanted = kind is wanted or kind in get_args(wanted)
        is_number = kind is not float or math.isfinite(value) or name in may_be_nan
        if not is_wanted or not is_number:
            return f"{name!r} is {json.dumps(value)[:40]}"
    return None


def key_problem(record: Mapping[str, Json], kind: type) -> str | None:
    """Which key keeps the dataclass `kind` from being made of a record, in words; None where none
    does."""
    known = {field.name: field for field in fields(kind)}
    for name, field in known.items():
        if name not in record and field.default is field.default_factory is MISSING:
            return f"{name!r} is missing"
    unknown = next((name for name in record if name not in known), None)
    return None if unknown is None else f"{unknown!r} is unknown"


def rewrite_jsonl(path: Path, records: list[dict[str, Json]]) -> None:
    """Replaces the whole file, atomically."""
    write_text(path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def without_lone_surrogates(text: str) -> str:
    """JSON may hold half of a pair (`\\ud800`), which is no character and cannot be written."""
    return text.encode(errors="replace").decode()


def hash_json(value: Json) -> str:
    """sha256 (hex) of the canonical form: sorted keys, no spaces. Equal values have equal
    hashes."""
    text = json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode()).hexdigest()


def hash_file(path: Path) -> str:
    """sha256 (hex) of the content."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def require_free_bytes(folder: Path, wanted: int, purpose: str) -> None:
    """Raises UnavailableError if the file system of `folder` (or its nearest existing parent) has
    less than `wanted`."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if free < wanted:
        raise UnavailableError(
            f"{folder}: {purpose} needs about {format_bytes(wanted)} of disk, "
            f"{format_bytes(free)} is free; "
            "free some space or write elsewhere"
        )
