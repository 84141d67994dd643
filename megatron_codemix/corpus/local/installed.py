"""Where this machine's Python sources, package texts and manual pages lie, and who licensed
them.
"""

import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from pathlib import Path

from megatron_codemix.corpus.readers import utf8_name

# Copies of other packages (near duplicates that would cross the split) and test data.
_SKIPPED_FOLDER_NAMES = """
    test tests testing _testing test_data testdata idle_test __pycache__ node_modules site-packages
    dist-packages _vendor _vendored vendor vendored extern third_party lib2to3 sboms
    megatron_codemix
"""
_SKIPPED_FOLDERS = frozenset(_SKIPPED_FOLDER_NAMES.split())
_SHARED_FOLDERS = ("/usr/lib/python3/dist-packages", "/usr/lib/node_modules", "/usr/share")
# /usr/share/doc and the manual pages are a source of prose.
_PROSE_FOLDERS = ("doc", "man", "info", "common-licenses", "licenses")
STANDARD_LIBRARY = "python standard library"
_STANDARD_LIBRARY_LICENCE = "PSF-2.0"


@dataclass(frozen=True)
class Machine:
    """Folders to collect from. A missing folder has nothing in it."""

    standard_library: Path
    packages: tuple[Path, ...]
    manual_pages: Path
    system_docs: Path
    system_licences: Path
    shared: tuple[Path, ...] = ()
    """Folders of other software, and of the interpreter below a virtual environment."""


def this_machine() -> Machine:
    """The running interpreter's standard library and packages, and the system's documentation."""
    paths = sysconfig.get_paths()
    folders = [paths["purelib"], paths["platlib"], *site.getsitepackages()]
    packages = dict.fromkeys(Path(folder).resolve() for folder in folders)
    below = Path(sys.base_prefix, *Path(paths["purelib"]).parts[-3:])  # lib/python3.x/site-packages
    shared = (below, *map(Path, _SHARED_FOLDERS))
    return Machine(
        standard_library=Path(paths["stdlib"]).resolve(),
        packages=tuple(folder for folder in packages if folder.is_dir()),
        manual_pages=Path("/usr/share/man"),
        system_docs=Path("/usr/share/doc"),
        system_licences=Path("/usr/share/common-licenses"),
        shared=tuple(folder for folder in shared if folder.resolve() not in packages),
    )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file that may become a document; `origin` is its path from the root of its kind, for any
    machine.
    """

    path: Path
    origin: str
    package: str
    licence: str | None
    size_bytes: int


def package_files(machine: Machine, suffixes: Iterable[str]) -> Iterator[Candidate]:
    """Files of the standard library and of installed packages, without tests and vendored
    copies.
    """
    wanted = tuple(suffixes)
    for path, relative, size in walk(machine.standard_library, wanted):
        origin = f"stdlib/{relative}"
        yield Candidate(path, origin, STANDARD_LIBRARY, _STANDARD_LIBRARY_LICENCE, size)
    for folder in machine.packages:
        licences = _licences_by_top_level(folder)
        for path, relative, size in walk(folder, wanted):
            top = relative.split("/")[0]
            if top.endswith((".dist-info", ".egg-info")):
                continue
            name = top.removesuffix(".py")
            yield Candidate(path, f"packages/{relative}", name, licences.get(name), size)


def shared_files(machine: Machine, suffixes: Iterable[str]) -> Iterator[Candidate]:
    """Files of other software on this machine; a folder of the first level counts as a package."""
    wanted = tuple(suffixes)
    for folder in machine.shared:
        for path, relative, size in walk(folder, wanted):
            top = relative.split("/")[0]
            if top in _PROSE_FOLDERS or top.endswith((".dist-info", ".egg-info")):
                continue
            yield Candidate(path, f"{folder.as_posix().strip('/')}/{relative}", top, None, size)


def walk(root: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[Path, str, int]]:
    """(path, path below `root`, bytes) of regular files that end so; links are not followed."""
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:  # absent, or not ours to read: nothing to collect there
            continue
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                if entry.name not in _SKIPPED_FOLDERS:
                    pending.append(Path(entry.path))
            elif entry.name.endswith(suffixes) and entry.is_file(follow_symlinks=False):
                path = Path(entry.path)
                yield path, utf8_name(path.relative_to(root).as_posix()), entry.stat().st_size


@dataclass(frozen=True)
class Distribution:
    """An installed package's METADATA: the description is the README its authors wrote."""

    folder: Path
    name: str
    licence: str | None
    description: str | None
    """None where METADATA is not UTF-8."""


def distributions(folder: Path) -> Iterator[Distribution]:
    """Installed packages below `folder` (.dist-info), by name, without this project."""
    for info in sorted(folder.glob("*.dist-info")):
        try:
            data = (info / "METADATA").read_bytes()
        except OSError:
            continue
        message = BytesParser().parsebytes(data)
        name = str(message.get("Name") or info.name.split("-")[0])
        if name.replace("-", "_").lower() == "megatron_codemix":
            continue
        payload = message.get_payload(decode=True)
        body = payload if isinstance(payload, bytes) else b""
        try:
            text = body.decode() or str(message.get("Description") or "")
        except UnicodeDecodeError:
            text = None
        classifiers = [str(value) for value in message.get_all("Classifier") or []]
        declared = [str(message.get(key) or "") for key in ("License-Expression", "License")]
        yield Distribution(info, name, _licence(declared, classifiers), text)


def _licence(declared: list[str], classifiers: list[str]) -> str | None:
    for value in declared:
        if value.strip() and len(value) <= 80 and "\n" not in value:
            return value.strip()
    known = [value for value in classifiers if value.startswith("License ::")]
    return known[0].split("::")[-1].strip() if known else None


def _licences_by_top_level(folder: Path) -> dict[str, str]:
    """Licence of each importable top-level name, from the packages' RECORD files."""
    found: dict[str, str] = {}
    for package in distributions(folder):
        record = package.folder / "RECORD"
        if package.licence is None or not record.is_file():
            continue
        for line in record.read_text(encoding="utf-8", errors="replace").split("\n"):
            top, slash, _ = line.partition("/")
            name = top if slash else top.split(",")[0].removesuffix(".py")
            if name and not name.endswith((".dist-info", "..")):
                found.setdefault(name, package.licence)
    return found


def python_version() -> str:
    return ".".join(map(str, sys.version_info[:3]))
