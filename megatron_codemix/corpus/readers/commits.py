"""Commits of a local git clone: message and changes, one document a commit.

Who wrote it is not in it, nor are lines of the message that name people (`Signed-off-by: ...`), nor
changes of notebooks, which are JSON with outputs in it.
Merges are left out: what they bring is in the commits that they merge. The settings and attributes
of the repository and of the user change nothing.
"""

import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.readers.chunks import pieces, split_lines, too_long
from megatron_codemix.corpus.readers.commit_messages import without_people
from megatron_codemix.corpus.readers.files import FileState
from megatron_codemix.corpus.readers.skipped import Skipped
from megatron_codemix.errors import DataError, UnavailableError

COMMITS_AT_ONCE = 2_000
"""What one input has of a clone: a few seconds of git's work."""
_COMMIT_BYTES = 2_000  # about, compressed: to deal the work
_FILE = b"diff --git "  # the first line about a file; lines of files begin with a sign
_NOTEBOOK = re.compile(rb'\.ipynb"?(?:$| "?b/)')  # as it was called, or is
# Set so that neither the user nor the repository decides what a commit looks like, and that nothing
# of the repository is run or fetched.
_SETTINGS = (
    "core.bare=true",  # attributes of the files that are checked out are not read
    "core.quotePath=false",
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.commentChar=#",
    "diff.orderFile=/dev/null",
    "diff.suppressBlankEmpty=false",
    "log.diffMerges=off",
    "log.showSignature=false",
    "log.follow=false",
)
_LOG = (
    *("log", "--no-merges", "--root", "--patch", "--unified=3", "--inter-hunk-context=0"),
    *("--no-color", "--no-ext-diff", "--no-textconv", "--no-notes", "--no-mailmap"),
    *("--no-show-signature", "--no-decorate", "--no-relative", "--submodule=short", "--full-index"),
    *("--diff-algorithm=myers", "--indent-heuristic", "--find-renames=50%", "-l1000"),
    *("--src-prefix=a/", "--dst-prefix=b/", "--encoding=UTF-8", "--ignore-submodules=none"),
)


@dataclass(frozen=True)
class GitCommits:
    """Some commits of a clone, newest first: `count` after the first `skip`, without merges."""

    folder: Path
    """Its .git, or the folder itself of a bare clone."""
    repository: str
    head: str
    skip: int
    count: int
    trusted: tuple[str, ...] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        return f"{self.repository}@{self.skip}"

    @property
    def place(self) -> str:
        return str(self.folder)

    def num_bytes(self) -> int:
        return self.count * _COMMIT_BYTES

    def state(self, known: FileState | None = None) -> FileState:
        """A commit's hash stands for all that led to it."""
        return FileState(self.name, self.num_bytes(), 0, f"{self.head}-{self.skip}-{self.count}")


def clone_inputs(clone: Path, repository: str, at_once: int = COMMITS_AT_ONCE) -> list[GitCommits]:
    """All commits that the checked out one has behind it, in pieces. repository: its name, which is
    the origin of the documents.

    Raises DataError: no clone, a shallow or partial one; UnavailableError: git is missing.
    """
    trusted = _trusted_folders()
    folder = Path(_git(clone, trusted, "rev-parse", "--absolute-git-dir").rstrip("\n"))
    if _git(folder, trusted, "rev-parse", "--is-shallow-repository").strip() == "true":
        raise DataError(
            f"{clone}: is a shallow clone, which lacks most commits; `git -C {clone} fetch "
            "--unshallow` brings them"
        )
    settings = _git(folder, trusted, "config", "--list", "--name-only")
    if re.search(r"^remote\..*\.promisor$|^extensions\.partialclone$", settings, re.M | re.I):
        raise DataError(
            f"{clone}: is a partial clone, which lacks files; clone it without --filter"
        )
    if not _git(folder, trusted, "rev-list", "--max-count=1", "--all").strip():
        raise DataError(f"{clone}: has no commits; name another clone")
    head = _git(folder, trusted, "rev-parse", "--verify", "HEAD^{commit}").strip()
    total = int(_git(folder, trusted, "rev-list", "--count", "--no-merges", head))
    return [
        GitCommits(folder, repository, head, skip, min(at_once, total - skip), trusted)
        for skip in range(0, total, at_once)
    ]


def commit_documents(
    commits: GitCommits, source: str, skipped: Skipped, max_bytes: int
) -> Iterator[Document]:
    """One document for each. Raises DataError: git cannot read the clone."""
    token = secrets.token_hex(16).encode()  # begins what no file can hold
    form = f"--format=tformat:{token.decode()} %H %ct%n%B%n{token.decode()}"
    arguments = (*_LOG, form, f"--skip={commits.skip}", f"--max-count={commits.count}")
    with ExitStack() as stack:
        store = stack.enter_context(_only_objects(commits))
        output = stack.enter_context(
            _git_output(store, (), *arguments, commits.head, called=commits.folder)
        )
        commit: _Commit | None = None
        for line in split_lines(pieces(output), max_bytes):
            if line is None:
                assert commit is not None, "git begins with a line of ours"
                commit.add_too_long_line()
            elif line.startswith(token):
                if line == token:
                    assert commit is not None, line
                    commit.is_message = False
                    continue
                if commit is not None:
                    yield from commit.documents(commits.repository, source, skipped)
                commit = _Commit(line.split(b" "), max_bytes)
            else:
                assert commit is not None, line
                commit.add(line)
        if commit is not None:
            yield from commit.documents(commits.repository, source, skipped)


@contextmanager
def _only_objects(commits: GitCommits) -> Iterator[Path]:
    """A repository with the objects of the clone and none of its settings: git reads attributes in
    .git/info whatever it is told."""
    place = _git(commits.folder, commits.trusted, "rev-parse", "--git-path", "objects")
    is_sha256 = len(commits.head) == 64
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "objects" / "info").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "HEAD").write_text("ref: refs/heads/none\n")
        (folder / "config").write_text(
            f"[core]\nrepositoryformatversion = {int(is_sha256)}\nbare = true\n"
            + ("[extensions]\nobjectformat = sha256\n" if is_sha256 else "")
        )
        objects = os.fsencode((commits.folder / place.rstrip("\n")).resolve())
        (folder / "objects" / "info" / "alternates").write_bytes(_quoted(objects) + b"\n")
        yield folder


def _quoted(path: bytes) -> bytes:
    """As git reads a path in double quotes."""
    return b'"' + path.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


class _Commit:
    """One commit as its lines come."""

    def __init__(self, head: Sequence[bytes], max_bytes: int) -> None:
        self._hash, self._date = head[1].decode(), _date(head[2])
        self._max_bytes = max_bytes
        self._num_bytes = 0
        self._message: list[bytes] = []
        self._changes: list[bytes] = []
        self.is_message = True
        self._is_left_out = False  # the file that the lines are of
        self._is_too_long = False

    def add(self, line: bytes) -> None:
        if not self.is_message and line.startswith(_FILE):
            self._is_left_out = _NOTEBOOK.search(line) is not None
        if self._is_left_out:
            return
        self._num_bytes += len(line) + 1
        if self._num_bytes > self._max_bytes:
            self._is_too_long = True
            self._changes.clear()
        elif self.is_message:
            self._message.append(line)
        elif not line.startswith(b"index "):  # hashes of files
            self._changes.append(line)

    def add_too_long_line(self) -> None:
        self._is_too_long = self._is_too_long or not self._is_left_out

    def documents(self, repository: str, source: str, skipped: Skipped) -> Iterator[Document]:
        """The commit as a document, unless it is none."""
        identity = f"{repository}@{self._hash}"
        if self._is_too_long:
            skipped.add(too_long(self._max_bytes), identity)
            return
        try:
            message = without_people(b"\n".join(self._message).decode())
            changes = b"\n".join(self._changes).decode().strip("\n")
        except UnicodeDecodeError:
            skipped.add("not UTF-8", identity)
            return
        if not changes:
            skipped.add("commit without changes", identity)
            return
        text = f"{message}\n\n{changes}\n" if message else f"{changes}\n"
        metadata = {"commit": self._hash}
        if self._date is not None:
            metadata["date"] = self._date
        yield Document(identity, source, repository, repository, None, text, metadata)


def _date(seconds: bytes) -> str | None:
    """None of a time that is missing, or of no year that dates have; git takes any number."""
    try:
        return datetime.fromtimestamp(int(seconds), UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None


def _trusted_folders() -> tuple[str, ...]:
    """Clones of other users that this user has allowed git to read (`safe.directory`)."""
    if shutil.which("git") is None:
        raise UnavailableError("git is not installed; it reads the commits of a clone")
    asked = ["git", "config", "--get-all", "safe.directory"]
    done = subprocess.run(asked, cwd="/", capture_output=True, text=True, check=False)
    return tuple(done.stdout.split("\n")[:-1])


def _git(folder: Path, trusted: Sequence[str], *arguments: str) -> str:
    """What a short command says. Raises DataError where it fails."""
    with _git_output(folder, trusted, *arguments) as output:
        return output.read().decode(errors="replace")


@contextmanager
def _git_output(
    folder: Path, trusted: Sequence[str], *arguments: str, called: Path | None = None
) -> Iterator[IO[bytes]]:
    """What a command writes, while it does. Raises DataError where it fails. called: the folder
    that the user knows."""
    settings = [*_SETTINGS, *(f"safe.directory={place}" for place in trusted)]
    named = [word for setting in settings for word in ("-c", setting)]
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            ["git", "-C", str(folder), "--no-pager", *named, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(folder),
        )
        assert process.stdout is not None
        try:
            yield process.stdout
            process.stdout.read()
            if process.wait() != 0:
                errors.seek(0)
                said = errors.read(4000).decode(errors="replace").strip().split("\n")
                raise DataError(
                    f"{called or folder}: git cannot read it as a clone ({said[0]}); name a "
                    "folder that `git clone` has made"
                )
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    return kept | {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",  # nor grafts: commits are those that the hash stands for
        "GIT_GRAFT_FILE": os.devnull,
        "GIT_CEILING_DIRECTORIES": str(folder.resolve().parent),  # no clone that it only lies in
        "GIT_ALLOW_PROTOCOL": "none",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
