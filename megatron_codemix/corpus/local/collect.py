"""Documents of this machine: `code`, `markup` and `text`, each up to a cap and no package above a
quarter of it.

Files are taken in a keyed-hash order of their origin, so that the choice is the same wherever the
files are the same.
"""

import ast
import gzip
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from megatron_codemix.corpus.document import Document, normalise
from megatron_codemix.corpus.local.docstrings import extract_docstrings
from megatron_codemix.corpus.local.installed import (
    STANDARD_LIBRARY,
    Candidate,
    Machine,
    distributions,
    package_files,
    shared_files,
    walk,
)
from megatron_codemix.corpus.local.roff import roff_to_text
from megatron_codemix.corpus.local.screening import data_like, is_english_prose
from megatron_codemix.corpus.readers import Skipped
from megatron_codemix.corpus.split import selection_position

Advance = Callable[[int], None]

MARKUP_SUFFIXES = (".md", ".rst", ".toml", ".json", ".yaml", ".yml")
MAX_CODE_FILE_BYTES = 256 * 1024  # above: tables and generated code
MAX_MARKUP_FILE_BYTES = 1024 * 1024
MIN_DOCUMENT_CHARS = 100
PACKAGE_SHARE = 0.25
_SYSTEM_SHARE = {"manual pages": 0.1, "system docs": 0.05}  # of text's cap
_MANUAL_SECTIONS = ("man1", "man5", "man7", "man8")  # 2 and 3 describe C functions
_LICENCE_NAME = re.compile(r"(?i)^(licen[cs]e|copying|notice)")
_COPYRIGHT_LINE = re.compile(r"copyright.*(\(c\)|\d{4}|yyyy)")
_TOPICS = "stdlib/pydoc_data/topics.py"


class Quota:
    """Bytes still free in a source, in total and for each package."""

    def __init__(self, total_bytes: int, package_share: float = PACKAGE_SHARE) -> None:
        self._total_bytes = total_bytes
        self._package_bytes = int(total_bytes * package_share)
        self._taken: defaultdict[str, int] = defaultdict(int)
        self._sum = 0

    def is_full(self) -> bool:
        """Nearly: looking through every file left for one small enough would cost more than it
        brings.
        """
        return self._sum >= 0.99 * self._total_bytes

    def has_room(self, package: str, size_bytes: int) -> bool:
        return (
            self._sum + size_bytes <= self._total_bytes
            and self._taken[package] + size_bytes <= self._package_bytes
        )

    def takes(self, package: str, size_bytes: int) -> bool:
        """Counts the bytes if they fit."""
        if not self.has_room(package, size_bytes):
            return False
        self._taken[package] += size_bytes
        self._sum += size_bytes
        return True


def code_and_docstrings(
    machine: Machine, source_bytes: int, skipped: Skipped, advance: Advance
) -> tuple[list[Document], list[Document]]:
    """Python files without their long docstrings, and those docstrings that are English prose."""
    code: list[Document] = []
    docstrings: list[Document] = []
    quota = Quota(source_bytes)
    for candidate in _in_selection_order(package_files(machine, (".py",))):
        if quota.is_full():
            break
        if candidate.origin == _TOPICS:  # a table of prose, collected as text
            continue
        if not quota.has_room(candidate.package, candidate.size_bytes):
            continue
        text = _screened_file(candidate, MAX_CODE_FILE_BYTES, skipped)
        if text is None or not quota.takes(candidate.package, len(text.encode())):
            continue
        advance(len(text))
        extracted = extract_docstrings(text)
        if extracted is None:
            skipped.add("does not parse", candidate.origin)
            continue
        code.append(_file_document("code", candidate, extracted.code))
        docstrings += _docstring_documents(candidate, extracted.docstrings, skipped)
    return code, docstrings


def _docstring_documents(
    candidate: Candidate, docstrings: list[tuple[str, str]], skipped: Skipped
) -> Iterator[Document]:
    origin = candidate.origin
    times: Counter[str] = Counter()
    for name, text in docstrings:
        times[name] += 1
        again = f"~{times[name]}" if times[name] > 1 else ""  # one name, defined in two branches
        identity = f"{origin}#{name or 'module'}{again}"
        if is_english_prose(text):
            yield Document(identity, "text", origin, origin, candidate.licence, text + "\n")
        else:
            skipped.add("docstring is not prose", identity)


def markup(
    machine: Machine, source_bytes: int, skipped: Skipped, advance: Advance
) -> list[Document]:
    """Markdown, reST, TOML, JSON and YAML files of the standard library, of installed packages and
    of other software here.
    """
    documents = []
    quota = Quota(source_bytes)
    candidates = chain(
        package_files(machine, MARKUP_SUFFIXES), shared_files(machine, MARKUP_SUFFIXES)
    )
    for candidate in _in_selection_order(candidates):
        text = _screened_file(candidate, MAX_MARKUP_FILE_BYTES, skipped)
        if text is not None and quota.takes(candidate.package, len(text.encode())):
            advance(len(text))
            documents.append(_file_document("markup", candidate, text))
    return documents


def prose(
    machine: Machine, source_bytes: int, skipped: Skipped, advance: Advance
) -> list[Document]:
    """Language reference, package descriptions, licences, manual pages and system docs; English
    only.
    """
    documents = []
    for document in (
        *_topics(machine),
        *_descriptions(machine, skipped),
        *_licences(machine, skipped),
        *_manual_pages(machine, source_bytes, skipped),
        *_system_docs(machine, source_bytes, skipped),
    ):
        if is_english_prose(document.text):
            advance(len(document.text))
            documents.append(document)
        else:
            skipped.add("not English prose", document.id)
    return documents


def capped(documents: list[Document], source_bytes: int, skipped: Skipped) -> list[Document]:
    """Documents in selection order until the cap; no package above its share."""
    quota = Quota(source_bytes)
    kept = []
    for document in sorted(documents, key=lambda one: (selection_position(one.id), one.id)):
        package = "/".join(document.origin.split("/")[:2])
        if document.origin.startswith("stdlib/"):
            package = STANDARD_LIBRARY
        if quota.takes(package, len(document.text.encode())):
            kept.append(document)
        else:
            skipped.add("above the cap", document.id)
    return kept


def _in_selection_order(candidates: Iterable[Candidate]) -> list[Candidate]:
    unique = {candidate.origin: candidate for candidate in candidates}
    return sorted(unique.values(), key=lambda one: (selection_position(one.origin), one.origin))


def _file_document(source: str, candidate: Candidate, text: str) -> Document:
    origin = candidate.origin
    return Document(origin, source, origin, origin, candidate.licence, text)


def _screened_file(candidate: Candidate, max_bytes: int, skipped: Skipped) -> str | None:
    if candidate.size_bytes > max_bytes:
        skipped.add("too large", candidate.origin)
        return None
    if candidate.size_bytes < MIN_DOCUMENT_CHARS:
        skipped.add("too short", candidate.origin)
        return None
    text = _read_text(candidate.path, candidate.origin, skipped)
    reason = data_like(text) if text is not None else None
    if reason is not None:
        skipped.add(reason, candidate.origin)
        return None
    return text


def _read_text(path: Path, name: str, skipped: Skipped) -> str | None:
    try:
        data = path.read_bytes()
        if path.name.endswith(".gz"):
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        skipped.add("not UTF-8", name)
        return None
    except (OSError, EOFError, zlib.error) as error:
        skipped.add(f"unreadable ({type(error).__name__})", name)
        return None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _topics(machine: Machine) -> Iterator[Document]:
    path = machine.standard_library / "pydoc_data" / "topics.py"
    if not path.is_file():
        return
    tree = ast.parse(path.read_bytes())
    assignment = next(node for node in tree.body if isinstance(node, ast.Assign))
    for name, text in sorted(ast.literal_eval(assignment.value).items()):
        body = text.strip() + "\n"
        yield Document(f"{_TOPICS}#{name}", "text", _TOPICS, _TOPICS, "PSF-2.0", body)


def _descriptions(machine: Machine, skipped: Skipped) -> Iterator[Document]:
    for folder in machine.packages:
        for package in distributions(folder):
            origin = f"packages/{package.folder.name}/METADATA"
            if package.description is None:
                skipped.add("not UTF-8", origin)
                continue
            text = package.description.replace("\r\n", "\n").strip() + "\n"
            yield Document(f"{origin}#description", "text", origin, origin, package.licence, text)


def _licences(machine: Machine, skipped: Skipped) -> Iterator[Document]:
    files = [
        (path, f"packages/{folder.name}/{info.name}/{relative}".replace(f"{folder.name}/", "", 1))
        for folder in machine.packages
        for info in sorted(folder.glob("*.dist-info"))
        for path, relative, _ in walk(info, ("",))
        if _LICENCE_NAME.match(path.name)
    ]
    files += [
        (path, f"common-licenses/{relative}")
        for path, relative, _ in walk(machine.system_licences, ("",))
    ]
    seen: set[str] = set()
    for path, origin in files:
        text = _read_text(path, origin, skipped)
        if text is None:
            continue
        terms = licence_terms(text)
        if terms in seen:
            skipped.add("licence with the same terms", origin)
            continue
        seen.add(terms)
        yield Document(origin, "text", origin, origin, None, text.strip() + "\n")


def licence_terms(text: str) -> str:
    """A licence without whose it is: two MIT licences are one text, and would otherwise cross the
    split.
    """
    lines = [line for line in text.lower().split("\n") if not _COPYRIGHT_LINE.search(line)]
    return re.sub(r"[^a-z]+", " ", " ".join(lines))


def _manual_pages(machine: Machine, source_bytes: int, skipped: Skipped) -> Iterator[Document]:
    quota = Quota(int(source_bytes * _SYSTEM_SHARE["manual pages"]))
    pages = [
        (path, f"man/{section}/{relative}")
        for section in _MANUAL_SECTIONS
        for path, relative, _ in walk(machine.manual_pages / section, ("",))
    ]
    for path, origin in sorted(pages, key=lambda page: (selection_position(page[1]), page[1])):
        if quota.is_full():
            break
        text = _read_text(path, origin, skipped)
        if text is None:
            continue
        text = roff_to_text(text) + "\n"
        if len(normalise(text)) < 10 * MIN_DOCUMENT_CHARS or not is_english_prose(text):
            skipped.add("not English prose", origin)
        elif quota.takes(_page_family(path), len(text.encode())):
            yield Document(origin, "text", origin, origin, None, text)


def _page_family(path: Path) -> str:
    """git-add.1 and git-log.1 are both "git": one program's pages must not dominate."""
    return re.split(r"[-_.]", path.name)[0]


def _system_docs(machine: Machine, source_bytes: int, skipped: Skipped) -> Iterator[Document]:
    quota = Quota(int(source_bytes * _SYSTEM_SHARE["system docs"]))
    files = [
        (path, f"doc/{relative}")
        for path, relative, size in walk(
            machine.system_docs, (".txt", ".txt.gz", "README", "README.gz")
        )
        if size < MAX_MARKUP_FILE_BYTES
    ]
    for path, origin in sorted(files, key=lambda file: (selection_position(file[1]), file[1])):
        text = _read_text(path, origin, skipped)
        if text is None or data_like(text) is not None or not is_english_prose(text):
            skipped.add("not English prose", origin)
        elif quota.takes(origin.split("/")[1], len(text.encode())):
            yield Document(origin, "text", origin, origin, None, text.strip() + "\n")
