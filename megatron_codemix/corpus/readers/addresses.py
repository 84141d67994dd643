"""Files at addresses (`s3://`, `hf://`, `https://`, ...), through fsspec: who may read them is a
matter of fsspec's own configuration and of the environment, never of a file of ours.
"""

import glob
import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import IO, Any

from megatron_codemix.corpus.readers.files import NoFileError, RemoteFile
from megatron_codemix.errors import CodemixError, DataError, RetryableError, UnavailableError

_BUFFER_BYTES = 1 << 20


def expand_addresses(patterns: Sequence[str]) -> list[RemoteFile]:
    """The files that the patterns stand for, each once.

    Raises NoFileError: a pattern without files; DataError: an unknown kind of address;
    UnavailableError: a package is missing; RetryableError: the store does not answer.
    """
    found: dict[str, RemoteFile] = {}
    empty = []
    for pattern in patterns:
        if "::" in pattern:
            raise DataError(f"{pattern}: an address within another (::) is not read; copy the file")
        files = _expanded(pattern)
        if not files:
            empty.append(pattern)
        for file in files:
            found.setdefault(file.address, file)
    if empty:
        raise NoFileError(
            "\n".join(f"{pattern}: matches no file; check the address" for pattern in empty)
        )
    return list(found.values())


def _expanded(pattern: str) -> list[RemoteFile]:
    with _readable_errors(pattern):
        import fsspec  # type: ignore[import-untyped] # ships no types

        system, path = fsspec.core.url_to_fs(pattern)
        if not glob.has_magic(path):
            if system.isdir(path):
                path = f"{path.rstrip('/')}/**"
            elif not system.exists(path):
                return []
        entries = system.glob(path, detail=True) if glob.has_magic(path) else None
        if entries is None:
            entries = {path: system.info(path)}
        base = _fixed_folder(path)
        files = []
        for name, info in sorted(entries.items()):
            if info["type"] != "file":
                continue
            address = str(system.unstrip_protocol(name))
            relative = PurePosixPath(name.removeprefix(base).lstrip("/")).as_posix()
            if _is_hidden(relative) and not _is_hidden(path.removeprefix(base).lstrip("/")):
                continue
            size = int(info["size"] or 0)  # some web servers do not tell
            files.append(RemoteFile(address, relative, size, _version(info)))
        return files


def _is_hidden(path: str) -> bool:
    """Whether a name in it begins with a dot: wild cards match no such name, as on a disk."""
    return any(name.startswith(".") for name in path.split("/"))


def _fixed_folder(path: str) -> str:
    """The part of a path before the first name with a wild card, or before a file's name."""
    names = path.split("/")
    wild = [number for number, name in enumerate(names) if glob.has_magic(name)]
    return "/".join(names[: wild[0] if wild else -1])


def _version(info: dict[str, Any]) -> str:  # Any: what the store tells of a file
    """Stands for the content: of ETag, hash, size and time of change, whichever the store has.

    From the listing: fsspec's own `ukey` asks some stores anew for each file.
    """
    told = json.dumps(info, sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()


def opened(address: str) -> IO[bytes]:
    """The file at an address, to be read; it can seek."""
    with _readable_errors(address):
        import fsspec

        system, path = fsspec.core.url_to_fs(address)
        return io.BufferedReader(_Reading(address, system.open(path, "rb")), _BUFFER_BYTES)


class _Reading(io.RawIOBase):
    """A file of a store, with errors that say which."""

    def __init__(self, address: str, handle: Any) -> None:  # handle: of fsspec
        super().__init__()
        self._address, self._handle = address, handle

    def readinto(self, buffer: Any) -> int:  # buffer: anything of bytes that can be written to
        with _readable_errors(self._address):
            data = self._handle.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        with _readable_errors(self._address):
            return int(self._handle.seek(offset, whence))

    def tell(self) -> int:
        return int(self._handle.tell())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._handle.close()
        super().close()


@contextmanager
def _readable_errors(address: str) -> Iterator[None]:
    try:
        yield
    except CodemixError:
        raise
    except ImportError as error:
        raise UnavailableError(f"{address}: a package is missing ({error})") from error
    except FileNotFoundError as error:
        raise DataError(f"{address}: no such file; check the address") from error
    except PermissionError as error:
        raise DataError(
            f"{address}: may not be read ({error}); set up the store's credentials as fsspec "
            "describes"
        ) from error
    except ValueError as error:  # fsspec's, for a kind of address that it does not know
        raise DataError(f"{address}: {error}") from error
    except Exception as error:  # each store has errors of its own
        raise RetryableError(
            f"{address}: {type(error).__name__}: {error}; what is done is kept: give the same "
            "command again once it can be reached"
        ) from error
