"""Token files that other programs made, read as blocks of whole documents.

Megatron's `.bin` and `.idx` in every form that holds text, the token files of OLMo (raw numbers
that are called `.npy`, documents divided by the end-of-document token), numpy's own `.npy`, and
datatrove's `.ds` (nanotron), whose `.ds.index` holds the end of each document (uint64, in tokens).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.index_file import IndexHeader, index_arrays, read_header
from megatron_codemix.data.shards.mapped_file import map_bytes
from megatron_codemix.errors import DataError

_BLOCK_TOKENS = 1 << 21
_LOOKED_AT = 1 << 20
"""Numbers of a file without header by which a type that is too narrow shows."""
_FEWEST = 16
"""As many zeros among tokens are no accident."""
_NPY_MAGIC = b"\x93NUMPY"

_Array = npt.NDArray[Any]
_Int64s = npt.NDArray[np.int64]


class DocumentBlock(NamedTuple):
    """Whole documents, one after the other in `tokens`; `lengths` of each."""

    tokens: _Array
    lengths: _Int64s


@dataclass(frozen=True)
class ForeignTokens:
    """A file of tokens, mapped. `ends` of its documents, in tokens; None: at each `end_id`."""

    path: Path
    tokens: _Array
    ends: _Int64s | None
    end_id: int

    def blocks(self) -> Iterator[DocumentBlock]:
        """All documents, a few million tokens at a time."""
        return self._by_ends(self.ends) if self.ends is not None else self._by_token()

    def _by_ends(self, ends: _Int64s) -> Iterator[DocumentBlock]:
        document = start = 0
        while document < len(ends):
            stop = int(np.searchsorted(ends, start + _BLOCK_TOKENS, side="right"))
            stop = min(max(stop, document + 1), document + _BLOCK_TOKENS)
            chosen = ends[document:stop]
            lengths = np.diff(chosen, prepend=start)
            yield DocumentBlock(self.tokens[start : int(chosen[-1])], lengths)
            document, start = stop, int(chosen[-1])

    def _by_token(self) -> Iterator[DocumentBlock]:
        start, size = 0, _BLOCK_TOKENS
        while start < len(self.tokens):
            piece = self.tokens[start : start + size]
            ends = np.flatnonzero(piece == self.end_id) + 1
            is_last = start + len(piece) == len(self.tokens)
            if is_last and (not len(ends) or ends[-1] < len(piece)):
                ends = np.append(ends, len(piece))  # without an end of its own
            if not len(ends):  # a document longer than the piece
                size *= 2
                continue
            yield DocumentBlock(piece[: ends[-1]], np.diff(ends, prepend=0))
            start, size = start + int(ends[-1]), _BLOCK_TOKENS


def open_foreign(path: Path, dtype: str | None, end_id: int) -> ForeignTokens:
    """The tokens at `path`: a `.ds`, a `.npy`, or the prefix (or `.bin`) of a Megatron data set.

    dtype: of files that do not say it themselves. Raises DataError where the file is absent, cut,
    or of a form that holds something else than text.
    """
    if path.suffix == ".ds":
        return _open_datatrove(path, dtype, end_id)
    if path.suffix == ".npy":
        return ForeignTokens(path, _npy_tokens(path, dtype), None, end_id)
    return _open_megatron(path if path.suffix == ".bin" else _beside(path, ".bin"), dtype, end_id)


def _open_megatron(path: Path, dtype: str | None, end_id: int) -> ForeignTokens:
    idx_path = path.with_name(path.name.removesuffix(".bin") + ".idx")
    header = read_header(idx_path)
    if header.dtype.kind == "f":
        raise DataError(f"{idx_path}: holds {header.dtype.name}, which are no tokens")
    _require_same_type(idx_path, header.dtype, dtype)
    data = map_bytes(idx_path)
    if len(data) == header.num_bytes + header.num_sequences and header.num_sequences:
        raise DataError(
            f"{idx_path}: has a mode for each sequence (multimodal data); only text can be imported"
        )
    if header.num_borders < 1 or len(data) != header.num_bytes:
        raise DataError(
            f"{idx_path}: {len(data)} bytes, {header.num_bytes} expected for "
            f"{header.num_sequences} sequences; copy it again"
        )
    ends = _document_ends(idx_path, header, data)
    tokens = _whole(path, map_bytes(path), header.dtype)
    if len(tokens) != (ends[-1] if len(ends) else 0):
        raise DataError(
            f"{path}: {len(tokens)} tokens, the index wants {ends[-1] if len(ends) else 0}; copy "
            "both files again"
        )
    return ForeignTokens(path, tokens, ends, end_id)


def _document_ends(path: Path, header: IndexHeader, data: npt.NDArray[np.uint8]) -> _Int64s:
    """Ends of documents in tokens: of their last sequences. 16 bytes a sequence for a while."""
    lengths, pointers, borders = index_arrays(data, header)
    sequence_ends = np.cumsum(lengths, dtype=np.int64)
    is_sound = (
        (len(lengths) == 0 or lengths.min() >= 0)
        and np.array_equal(pointers, (sequence_ends - lengths) * header.dtype.itemsize)
        and borders[0] == 0
        and borders[-1] == header.num_sequences
        and (np.diff(borders) >= 0).all()
    )
    if not is_sound:
        raise DataError(
            f"{path}: sequences do not follow one another in the .bin, or documents do not in the "
            "sequences; damaged, or not a data set of text"
        )
    return np.concatenate([np.zeros(1, np.int64), sequence_ends])[borders[1:]]


def _open_datatrove(path: Path, dtype: str | None, end_id: int) -> ForeignTokens:
    if _beside(path, ".loss").exists():
        raise DataError(
            f"{_beside(path, '.loss')}: some tokens are not to be learned, which a shard cannot "
            "say; only files without a loss mask can be imported"
        )
    data, index_path = map_bytes(path), _beside(path, ".index")
    if not index_path.exists():
        return ForeignTokens(path, _raw_tokens(path, data, dtype), None, end_id)
    index = map_bytes(index_path)
    if len(index) % 8:
        raise DataError(f"{index_path}: {len(index)} bytes are not whole numbers; copy it again")
    ends = index.view(np.uint64)
    num_tokens = int(ends[-1]) if len(ends) else 0
    if (ends[1:] < ends[:-1]).any() or num_tokens > len(data):
        raise DataError(f"{index_path}: the ends of documents do not ascend to the file's end")
    itemsize = len(data) // num_tokens if num_tokens else 2
    if itemsize not in (2, 4) or len(data) != num_tokens * itemsize:
        raise DataError(
            f"{path}: {len(data)} bytes for {num_tokens} tokens (by {index_path.name}); tokens "
            "have 2 or 4 bytes; copy both files again"
        )
    tokens = data.view(np.uint16 if itemsize == 2 else np.uint32)
    _check_metadata(_beside(path, ".metadata"), num_tokens)
    return ForeignTokens(path, tokens, ends.astype(np.int64), end_id)


def _check_metadata(path: Path, num_tokens: int) -> None:
    """The second line is the number of tokens (the first, the tokenizer's name)."""
    if not path.exists():
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) < 2 or lines[1].strip() != str(num_tokens):
        raise DataError(
            f"{path}: says {lines[1] if len(lines) > 1 else 'nothing'!r} of the number of tokens, "
            f"the index {num_tokens}; the files are of different data sets"
        )


def _npy_tokens(path: Path, dtype: str | None) -> _Array:
    data = map_bytes(path)
    if data[: len(_NPY_MAGIC)].tobytes() != _NPY_MAGIC:
        return _raw_tokens(path, data, dtype)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not a whole numpy file ({error})") from error
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            f"{path}: an array of shape {array.shape} of {array.dtype}; tokens are integers in one "
            "dimension"
        )
    _require_same_type(path, array.dtype, dtype)
    return np.asarray(array)


def _require_same_type(path: Path, found: np.dtype[Any], asked: str | None) -> None:
    if asked is not None and np.dtype(asked) != found:
        raise DataError(
            f"{path}: says that its tokens are {found.name}, not {asked}; leave --dtype out, it is "
            "for files without a header"
        )


def _raw_tokens(path: Path, data: npt.NDArray[np.uint8], dtype: str | None) -> _Array:
    if dtype is None:
        raise DataError(
            f"{path}: raw numbers without a header; say their type with --dtype (OLMo: uint16 up "
            "to 65,535 entries of the vocabulary, else uint32)"
        )
    tokens = _whole(path, data, np.dtype(dtype))
    start = tokens[:_LOOKED_AT]
    if len(start) >= _FEWEST and start[::2].any() and not start[1::2].any():
        raise DataError(
            f"{path}: every second number is 0 when read as {dtype}: these are the upper halves of "
            f"wider ones; say a type of more than {np.dtype(dtype).itemsize} bytes with --dtype"
        )
    return tokens


def _whole(path: Path, data: npt.NDArray[np.uint8], dtype: np.dtype[Any]) -> _Array:
    if len(data) % dtype.itemsize:
        raise DataError(
            f"{path}: {len(data)} bytes are not whole tokens of {dtype.name}; cut, or of another "
            "type"
        )
    return data.view(dtype)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
