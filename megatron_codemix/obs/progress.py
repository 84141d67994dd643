"""Progress with the remaining time: a bar on a terminal, elsewhere a line every ten seconds."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

from megatron_codemix.units import format_bytes, format_count, format_duration

LINE_EVERY_SECONDS = 10.0


class Advance(Protocol):
    """Reports `n` more units as done."""

    def __call__(self, n: float = 1) -> None: ...


@contextlib.contextmanager
def progress_bar(
    description: str,
    total: float | None,
    unit: str,
    *,
    stream: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Advance]:
    """Yields `advance(n)`. Writes to stderr, so that standard output stays machine-readable.

    Nothing is said at the end of what had nothing to do.

    total: absent where it is not known; then there is no remaining time. It may be a guess: one
    that is passed is not shown any more, and in the end what was done is all.
    unit: what is counted, in the plural; "bytes" are shown as KiB, MiB, ...
    """
    stream = stream or sys.stderr
    if stream.isatty():
        with _terminal_bar(description, total, unit, stream) as advance:
            yield advance
        return
    lines = _Lines(description, total, unit, stream, clock)
    yield lines.advance
    lines.finish()


@contextlib.contextmanager
def _terminal_bar(
    description: str, total: float | None, unit: str, stream: TextIO
) -> Iterator[Advance]:
    # Here, not at the top: rich takes 40 ms to load, and most commands show no bar.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[amount]}"),
        *([TransferSpeedColumn()] if unit == "bytes" else []),
        TimeRemainingColumn(compact=True),
    ]
    with Progress(*columns, console=Console(file=stream)) as bar:
        done = 0.0
        task = bar.add_task(description, total=total, amount=_amount(0, total, unit))

        def advance(n: float = 1) -> None:
            nonlocal done
            done += n
            bar.update(task, completed=done, amount=_amount(done, total, unit))

        yield advance
        if done == 0:
            bar.update(task, visible=False)
        elif total is not None:
            bar.update(task, total=done, amount=_amount(done, done, unit))


class _Lines:
    """Plain lines for a log file or a pipe."""

    def __init__(
        self,
        description: str,
        total: float | None,
        unit: str,
        stream: TextIO,
        clock: Callable[[], float],
    ) -> None:
        self.description = description
        self.total = total
        self.unit = unit
        self.stream = stream
        self.clock = clock
        self.done = 0.0
        self.start = self.last_line = clock()

    def advance(self, n: float = 1) -> None:
        self.done += n
        now = self.clock()
        if now - self.last_line >= LINE_EVERY_SECONDS:
            self.last_line = now
            self.write(self.remaining(now - self.start))

    def remaining(self, elapsed: float) -> str:
        if self.total is None or not 0 < self.done <= self.total:
            return f"{format_duration(elapsed)} so far{self.rate(elapsed)}"
        left = (self.total - self.done) * elapsed / self.done
        return f"about {format_duration(left)} left{self.rate(elapsed)}"

    def rate(self, elapsed: float) -> str:
        """`, 31.2 MB/s`; nothing where something else than bytes is counted."""
        if self.unit != "bytes" or elapsed <= 0:
            return ""
        return f", {self.done / 1e6 / elapsed:.1f} MB/s"

    def finish(self) -> None:
        if self.done:
            self.total = self.total and self.done
            elapsed = self.clock() - self.start
            self.write(f"done in {format_duration(elapsed)}{self.rate(elapsed)}")

    def write(self, text: str) -> None:
        amount = _amount(self.done, self.total, self.unit)
        self.stream.write(f"{self.description}: {amount}, {text}\n")
        self.stream.flush()


def _amount(done: float, total: float | None, unit: str) -> str:
    """`12 of 80 files`, `1.5 MiB of 3.0 MiB`."""
    if total is not None and done > total:
        total = None
    if unit == "bytes":
        return format_bytes(done) + ("" if total is None else f" of {format_bytes(total)}")
    of_total = "" if total is None else f" of {format_count(round(total))}"
    is_one = round(done if total is None else total) == 1
    return f"{format_count(round(done))}{of_total} {unit.removesuffix('s') if is_one else unit}"
