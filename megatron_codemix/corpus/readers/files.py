"""Files to read, on this machine or at an address (`s3://...`), and what decides their content."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from megatron_codemix.errors import DataError
from megatron_codemix.files import hash_file


class NoFileError(DataError):
    """A pattern that matches no file."""


def utf8_name(name: str) -> str:
    """The name of a file in UTF-8; a byte that is none is spelled `\\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


class FileState(NamedTuple):
    """A file as it was. `sha256` is of its content, or stands for it."""

    name: str
    num_bytes: int
    modified_ns: int
    sha256: str


class Input(Protocol):
    """Something that documents are read from."""

    @property
    def name(self) -> str:
        """Of the same input wherever it lies, and unlike those of the others beside it."""

    @property
    def place(self) -> str:
        """Where it is, for messages."""

    def num_bytes(self) -> int:
        """Its size, as it is (compressed)."""

    def state(self, known: FileState | None = None) -> FileState:
        """The input as it is now. known: an earlier state, which may save reading it."""


class OpenFile(Input, Protocol):
    """An input of bytes."""

    def open(self) -> IO[bytes]:
        """A binary file, from its start; it can seek. Raises DataError, RetryableError."""


@dataclass(frozen=True)
class InputFile:
    """`name` is relative to the fixed part of the pattern, so that moving the folder changes no
    origin. It is UTF-8 whatever the file system has (`utf8_name`).
    """

    path: Path
    name: str
    sha256: str | None = field(default=None, compare=False)
    """As recorded by who has written it; None where nobody has."""

    @property
    def place(self) -> str:
        return utf8_name(str(self.path))

    def open(self) -> IO[bytes]:
        """Raises DataError."""
        try:
            return open(self.path, "rb")
        except OSError as error:
            raise DataError(f"{self.place}: cannot be read ({error.strerror or error})") from error

    def num_bytes(self) -> int:
        return self.path.stat().st_size

    def hashed(self) -> str:
        """sha256 of its content, for which it is read. Raises DataError where another is
        recorded."""
        content = hash_file(self.path)
        if self.sha256 is not None and self.sha256 != content:
            raise DataError(
                f"{self.path}: is not the file that corpus.json lists: its sha256 is "
                f"{content[:12]}..., not {self.sha256[:12]}...; remove it, and give the command "
                "that made the corpus again"
            )
        return content

    def state(self, known: FileState | None = None) -> FileState:
        """It is read for its hash, unless that is recorded or `known` has the same size and
        time."""
        status = self.path.stat()
        size, modified_ns = status.st_size, status.st_mtime_ns
        if self.sha256 is not None:
            content = self.sha256
        elif known is not None and (known.num_bytes, known.modified_ns) == (size, modified_ns):
            content = known.sha256
        else:
            content = hash_file(self.path)
        return FileState(self.name, size, modified_ns, content)


@dataclass(frozen=True)
class RemoteFile:
    """A file at an fsspec address. `version` stands for its content, as the store tells it (ETag,
    time of change); it is not read for a hash."""

    address: str
    name: str
    size: int
    version: str

    @property
    def place(self) -> str:
        return self.address

    def open(self) -> IO[bytes]:
        """Raises DataError, RetryableError."""
        from megatron_codemix.corpus.readers.addresses import opened

        return opened(self.address)

    def num_bytes(self) -> int:
        return self.size

    def state(self, known: FileState | None = None) -> FileState:
        return FileState(self.name, self.size, 0, self.version)
