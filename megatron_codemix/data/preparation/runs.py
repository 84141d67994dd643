"""Runs: tokenised documents on disk, one after another, and their merge by key in bounded memory.

A run is three files: `<path>.tokens`, `<path>.lines` (a line of documents.jsonl for each document)
and `<path>.entries` (ENTRY for each). It is read from its start to its end, never mapped: pages of
a map would count as this process's memory.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.data.shards.layout import shard_file

KEY_BYTES = 24
ENTRY = np.dtype(
    [
        ("key", f"S{KEY_BYTES}"),  # big endian: documents are ordered by it; empty without an order
        ("num_tokens", "<i8"),
        ("num_bytes", "<i8"),  # UTF-8 bytes of the text
        ("line_bytes", "<i4"),
    ]
)
RUN_SUFFIXES = (".tokens", ".lines", ".entries")
_MERGE_BYTES = 32 << 20
"""Tokens and lines of all runs that a merge holds at once."""
_READ_BYTES = 8 << 20
_MAX_ENTRIES = 2048


class Documents(NamedTuple):
    """Some documents that follow one another in a run. entries: ENTRY [documents]; tokens and
    lines: of all of them."""

    entries: npt.NDArray[Any]
    tokens: npt.NDArray[Any]
    lines: bytes

    def in_order(self, order: npt.NDArray[np.intp]) -> "Documents":
        """The same documents, `order[i]` becomes number i."""
        entries = self.entries[order]
        lines = memoryview(self.lines)
        return Documents(
            entries,
            _gathered(self.tokens, self.entries["num_tokens"], order),
            b"".join(_spans(lines, self.entries["line_bytes"], order)),
        )


def _spans(values: Any, lengths: npt.NDArray[Any], order: npt.NDArray[np.intp]) -> list[Any]:
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = (ends - lengths)[order].tolist()
    return [values[a:b] for a, b in zip(starts, ends[order].tolist(), strict=True)]


def _gathered(
    tokens: npt.NDArray[Any], lengths: npt.NDArray[Any], order: npt.NDArray[np.intp]
) -> npt.NDArray[Any]:
    return np.concatenate([tokens[:0], *_spans(tokens, lengths, order)])


class RunWriter:
    """Appends documents to the files of a run; a context manager."""

    def __init__(self, path: Path) -> None:
        self._stack = stack = ExitStack()
        self._tokens, self._lines, self._entries = (
            stack.enter_context(open(shard_file(path, suffix), "wb"))  # noqa: SIM115
            for suffix in RUN_SUFFIXES
        )

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()

    def append(self, documents: Documents) -> None:
        self._tokens.write(documents.tokens.data)
        self._lines.write(documents.lines)
        self._entries.write(documents.entries.tobytes())


class RunReader:
    """Reads a run from its start to its end; a context manager."""

    def __init__(self, path: Path, dtype: npt.DTypeLike) -> None:
        self._stack = stack = ExitStack()
        self._dtype = np.dtype(dtype)
        self._files: list[IO[bytes]] = [
            # Unbuffered: what is read is large, and a buffer a file would add up over many runs.
            stack.enter_context(open(shard_file(path, suffix), "rb", buffering=0))  # noqa: SIM115
            for suffix in RUN_SUFFIXES
        ]
        self._unread = shard_file(path, ".entries").stat().st_size // ENTRY.itemsize
        self.waiting: npt.NDArray[Any] = np.empty(0, ENTRY)
        """Entries of the next documents: of all that are left once `is_all_waiting`."""

    def __enter__(self) -> "RunReader":
        return self

    def __exit__(self, *reason: object) -> None:
        self._stack.close()

    @property
    def is_all_waiting(self) -> bool:
        return self._unread == 0

    def look_ahead(self) -> bool:
        """Reads more entries where none wait; False at the end of the run."""
        if len(self.waiting) == 0 and self._unread:
            count = min(_MAX_ENTRIES, self._unread)
            self.waiting = self._read(2, ENTRY, count)
            self._unread -= count
        return len(self.waiting) > 0

    def take(self, count: int) -> Documents:
        """The next `count` documents, of those that wait."""
        entries, self.waiting = self.waiting[:count], self.waiting[count:]
        tokens = self._read(0, self._dtype, int(entries["num_tokens"].sum()))
        lines = self._read(1, np.dtype(np.uint8), int(entries["line_bytes"].sum()))
        return Documents(entries, tokens, lines.tobytes())

    def _read(self, number: int, dtype: np.dtype[Any], count: int) -> npt.NDArray[Any]:
        values = np.fromfile(self._files[number], dtype, count)
        assert len(values) == count, (self._files[number].name, len(values), count)
        return values


def read_run(
    path: Path, dtype: npt.DTypeLike, piece_bytes: int = _MERGE_BYTES // 4
) -> Iterator[Documents]:
    """All documents of a run, in its order, in pieces of about `piece_bytes`."""
    with RunReader(path, dtype) as run:
        while run.look_ahead():
            yield run.take(_affordable(run.waiting, np.dtype(dtype).itemsize, _READ_BYTES))


def _affordable(entries: npt.NDArray[Any], itemsize: int, max_bytes: int) -> int:
    """How many of the documents, from the first on, have at most `max_bytes`; at least one."""
    sizes = entries["num_tokens"] * itemsize + entries["line_bytes"]
    return max(1, int(np.searchsorted(np.cumsum(sizes), max_bytes, side="right")))


def merge_runs(paths: Sequence[Path], dtype: npt.DTypeLike) -> Iterator[Documents]:
    """All documents of runs that are each sorted by key, sorted by key.

    Equal keys are of equal documents, so their order is no matter. Memory: 64 MiB and 100 kB a run,
    whatever they hold (and the largest document of each).
    """
    itemsize = np.dtype(dtype).itemsize
    with ExitStack() as stack:
        runs = [stack.enter_context(RunReader(path, dtype)) for path in paths]
        while live := [run for run in runs if run.look_ahead()]:
            share = _MERGE_BYTES // len(live)
            seen = [_affordable(run.waiting, itemsize, share) for run in live]
            # What lies behind these in a run has a key at least as large as the last of them.
            bounds = [
                run.waiting["key"][count - 1]
                for run, count in zip(live, seen, strict=True)
                if count < len(run.waiting) or not run.is_all_waiting
            ]
            if bounds:
                bound = min(bounds)
                seen = [
                    min(count, int(np.searchsorted(run.waiting["key"], bound, side="right")))
                    for run, count in zip(live, seen, strict=True)
                ]
            yield _sorted([run.take(count) for run, count in zip(live, seen, strict=True) if count])


def _sorted(parts: Sequence[Documents]) -> Documents:
    joined = Documents(
        np.concatenate([part.entries for part in parts]),
        np.concatenate([part.tokens for part in parts]),
        b"".join(part.lines for part in parts),
    )
    return joined.in_order(np.argsort(joined.entries["key"], kind="stable"))
