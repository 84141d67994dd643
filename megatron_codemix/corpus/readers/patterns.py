"""Patterns, folders and addresses to the files that they stand for."""

import glob
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import takewhile
from pathlib import Path

from megatron_codemix.corpus.readers.files import InputFile, NoFileError, RemoteFile, utf8_name

_MAGIC = "*?["
_ESCAPED = re.compile(r"\[([*?\[])\]")  # as glob.escape writes them
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(pattern: str) -> bool:
    """Whether it is an address such as `s3://bucket/*.parquet`, for fsspec, and no local path."""
    return _ADDRESS.match(pattern) is not None


def is_wild(pattern: str) -> bool:
    """Whether it may match several names; `g[[]1]` is only how a pattern spells `g[1]`."""
    return glob.has_magic(_ESCAPED.sub("", pattern))


def unescaped(pattern: str) -> str:
    """The name that a pattern without wild cards spells."""
    return _ESCAPED.sub(r"\1", pattern)


def of_place(pattern: str) -> str:
    """The pattern; of a file or folder that is there by that very name, brackets and all, the
    pattern that matches it alone."""
    is_name = "*" not in pattern and "?" not in pattern
    is_there = os.path.exists(pattern) if is_name else os.path.isdir(pattern)
    return glob.escape(pattern) if is_there else pattern


def find_files(patterns: Sequence[str]) -> list[InputFile | RemoteFile]:
    """As `expand_patterns`; a pattern may be an address. Raises UnavailableError for one whose
    package is missing, RetryableError where it cannot be reached."""
    local = [pattern for pattern in patterns if not is_address(pattern)]
    remote = [pattern for pattern in patterns if is_address(pattern)]
    found: list[InputFile | RemoteFile] = list(expand_patterns(local)) if local else []
    if remote:
        from megatron_codemix.corpus.readers.addresses import expand_addresses

        found += expand_addresses(remote)
    return sorted(found, key=lambda file: (file.name, file.place))


def expand_patterns(patterns: Sequence[str]) -> list[InputFile]:
    """Files that the glob patterns (or folders, or plain names) stand for, each once, sorted by
    name. Links are followed, and each folder is entered once: a circle of links ends.

    Raises NoFileError for every pattern that matches no file.
    """
    found: dict[Path, InputFile] = {}
    empty = []
    for pattern in patterns:
        whole = of_place(pattern)
        if not is_wild(whole) and Path(unescaped(whole)).is_dir():
            whole = f"{whole}/**/*"
        files = [path for path in _matches(whole) if path.is_file()]
        if not files:
            empty.append(pattern)
        base = _fixed_folder(whole)
        for path in files:
            name = utf8_name(path.relative_to(base).as_posix())
            found.setdefault(path.resolve(), InputFile(path, name))
    if empty:
        raise NoFileError(
            "\n".join(f"{unescaped(one)}: matches no file; check the pattern" for one in empty)
        )
    return sorted(found.values(), key=lambda file: (file.name, str(file.path)))


def _fixed_folder(pattern: str) -> Path:
    fixed = takewhile(lambda part: not is_wild(part), Path(pattern).parts[:-1])
    return Path(*map(unescaped, fixed))


def _matches(pattern: str) -> list[Path]:
    """Paths that match, sorted. `**` is any number of folders, as in the glob module."""
    if "**" not in Path(pattern).parts:
        return sorted(Path(name) for name in glob.glob(pattern))
    # Not glob's: it enters a folder as often as links lead there, through a circle 40 times.
    base = _fixed_folder(pattern)
    wanted = _expression(Path(pattern).parts[len(base.parts) :])
    return sorted(
        path for path in _walk(base) if wanted.fullmatch(path.relative_to(base).as_posix())
    )


def _walk(base: Path) -> Iterator[Path]:
    """Files and folders below `base`; a folder by the name that needs the fewest links."""
    seen: set[tuple[int, int]] = set()
    real, linked = deque([base]), deque[Path]()
    while real or linked:
        folder = (real or linked).popleft()
        try:
            status = folder.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # not ours to read, or a link that leads nowhere, as glob has it
            continue
        for entry in entries:
            path = Path(entry.path)
            yield path
            if entry.is_dir(follow_symlinks=False):
                real.append(path)
            elif entry.is_symlink() and _is_folder(path):
                linked.append(path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # links in a circle
        return False


def _expression(parts: Sequence[str]) -> re.Pattern[str]:
    """What a path below the fixed folder looks like, names joined by `/`. Wild cards match no name
    that begins with a dot, unless the pattern says so."""
    pieces = []
    for position, part in enumerate(parts):
        is_last = position == len(parts) - 1
        if part == "**":
            name = r"(?:[^/.][^/]*)"
            pieces.append(rf"(?:{name}(?:/{name})*)?" if is_last else rf"(?:{name}/)*")
        else:
            pieces.append(_name_expression(part) + ("" if is_last else "/"))
    return re.compile("".join(pieces), re.DOTALL)


@cache
def _name_expression(part: str) -> str:
    is_hidden_wanted = part.startswith(".")
    pieces = [] if is_hidden_wanted or part[:1] not in _MAGIC else [r"(?!\.)"]
    position = 0
    while position < len(part):
        char = part[position]
        end = part.find("]", position + 2) if char == "[" else -1
        if char == "*":
            pieces.append("[^/]*")
        elif char == "?":
            pieces.append("[^/]")
        elif end > 0:
            inside = part[position + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            pieces.append(_one_of("^" + inside[1:] if inside.startswith("!") else inside))
            position = end
        else:
            pieces.append(re.escape(char))
        position += 1
    return "".join(pieces)


def _one_of(inside: str) -> str:
    try:
        re.compile(f"[{inside}]")
    except re.error:  # a range that ends before it begins, `[b-a]`: of no name
        return "(?!)"
    return f"[{inside}]"
