"""Bytes of a file in pieces, decompressed, and its lines: memory is bounded whatever it is."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

from megatron_codemix.corpus.readers.files import OpenFile
from megatron_codemix.errors import DataError

COMPRESSIONS = (".gz", ".zst")
MAX_LINE_BYTES = 64 << 20
"""A longer line, or file of one document, is no document. Reading one takes four times as much."""
_CHUNK_BYTES = 1 << 20
_ZSTD_BYTES = 2048
_ZSTD_WINDOW = 128 << 20


def without_compression(name: str) -> str:
    """The name without the suffix of a compression."""
    suffix = next((suffix for suffix in COMPRESSIONS if name.endswith(suffix)), "")
    return name.removesuffix(suffix)


def too_long(max_bytes: int) -> str:
    """The reason why a line or a file is skipped."""
    return f"longer than {max_bytes >> 20} MiB"


def read_chunks(file: OpenFile) -> Iterator[bytes]:
    """Content in pieces of about 1 MiB, decompressed by suffix; DataError where it is cut or
    damaged.
    """
    try:
        with file.open() as raw:
            if file.name.endswith(COMPRESSIONS):
                _require_content(raw, file.place)
            if file.name.endswith(".gz"):
                with gzip.open(raw) as unzipped:
                    yield from pieces(unzipped)
            elif file.name.endswith(".zst"):
                yield from _zstd_pieces(raw, file.place)
            else:
                yield from pieces(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{file.place}: truncated or damaged gzip ({error}); copy it again"
        ) from error
    except OSError as error:
        raise DataError(f"{file.place}: cannot be read ({error.strerror or error})") from error


def _require_content(raw: IO[bytes], place: str) -> None:
    """Nothing at all is no compressed file, though gzip takes it for one."""
    if not raw.read(1):
        raise DataError(f"{place}: has no bytes, not even those of an empty archive; copy it again")
    raw.seek(0)


def pieces(handle: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """What is left of an open file, in pieces of about 1 MiB."""
    while chunk := handle.read(_CHUNK_BYTES):
        yield chunk


def _zstd_pieces(handle: IO[bytes], place: str) -> Iterator[bytes]:
    import zstandard  # 20 ms: only where a file needs it

    # Not stream_reader: it ends quietly where a frame is cut. Little at a time: 4 bytes may stand
    # for 128 KiB, so this makes 64 MiB at most.
    decoder = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).decompressobj()
    is_fresh = True
    parts: list[bytes] = []
    num_bytes = 0
    try:
        while data := handle.read(_ZSTD_BYTES):
            while data:
                if decoder.eof:
                    context = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
                    decoder = context.decompressobj()
                parts.append(decoder.decompress(data))
                num_bytes += len(parts[-1])
                is_fresh = False
                data = decoder.unused_data if decoder.eof else b""
            if num_bytes >= _CHUNK_BYTES:
                yield b"".join(parts)
                parts, num_bytes = [], 0
    except zstandard.ZstdError as error:
        if "too much memory" in str(error):
            raise DataError(
                f"{place}: was compressed with a window of more than {_ZSTD_WINDOW >> 20} MiB "
                "(zstd --long), which takes as much memory; compress it anew without: "
                "zstd -d --long=31 -c OLD | zstd -o NEW"
            ) from error
        raise DataError(f"{place}: damaged zstd ({error}); copy it again") from error
    if parts:
        yield b"".join(parts)
    if not decoder.eof and not is_fresh:
        raise DataError(f"{place}: truncated zstd; copy it again")


def split_lines(
    chunks: Iterable[bytes], max_line_bytes: int = MAX_LINE_BYTES
) -> Iterator[bytes | None]:
    """Lines without their ends; None for one that is longer, which is not held while it is passed
    over."""
    held: list[bytes] = []
    num_held = 0  # bytes of the line that is not whole yet, held or not
    for chunk in chunks:
        first, *lines = chunk.split(b"\n")
        num_held += len(first)
        if num_held > max_line_bytes:
            held.clear()
        else:
            held.append(first)
        if not lines:
            continue
        yield b"".join(held) if num_held <= max_line_bytes else None
        rest = lines.pop()
        for line in lines:
            yield line if len(line) <= max_line_bytes else None
        held, num_held = [rest], len(rest)
    if num_held:
        yield b"".join(held) if num_held <= max_line_bytes else None


def whole_content(file: OpenFile, max_bytes: int = MAX_LINE_BYTES) -> bytes | None:
    """All of a file; None where it is longer. Raises DataError."""
    parts: list[bytes] = []
    num_bytes = 0
    for chunk in read_chunks(file):
        num_bytes += len(chunk)
        if num_bytes > max_bytes:
            return None
        parts.append(chunk)
    return b"".join(parts)
