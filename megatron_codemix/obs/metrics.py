"""The metrics of a run: a JSON line for each logged step, numbers exactly as they were.

A name ends in its unit: `loss/train_nats`, `throughput/tokens_per_second`. Trackers are written
beside the file where they are asked for; the file is what the report reads.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from megatron_codemix.files import append_jsonl, field_problem, read_jsonl, rewrite_jsonl
from megatron_codemix.obs.trackers import Number, Tracker

_TAIL_BYTES = 64 * 1024
"""More than a line has."""
_VALUE_TYPES = frozenset(get_args(int | float | None))
"""As the json module has them; a loss that is lost is null, or no finite number."""


def read_metrics(path: Path) -> list[dict[str, Any]]:  # Any: JSON values
    """Lines as they were written; [] where the file is absent. Raises RunError that names file and
    line where one is damaged."""
    return read_jsonl(path, _line_problem)


def last_lines(path: Path) -> list[dict[str, Any]]:  # Any: as above
    """The whole lines in the last 64 KiB, of which alone is read; [] where the file is absent.
    Damaged ones are left out: who reads all of it tells."""
    try:
        with open(path, "rb") as handle:
            size = handle.seek(0, os.SEEK_END)
            handle.seek(max(0, size - _TAIL_BYTES))
            lines = handle.read().split(b"\n")
    except FileNotFoundError:
        return []
    whole = lines[1:-1] if size > _TAIL_BYTES else lines[:-1]
    return [record for line in whole if (record := _line_in(line)) is not None]


def _line_in(text: bytes) -> dict[str, Any] | None:  # Any: as above
    try:
        record: dict[str, Any] = json.loads(text)
    except ValueError:
        return None
    return record if field_problem(record, {"step": int}) is None else None


def _line_problem(line: Mapping[str, Any]) -> str | None:  # Any: as above
    problem = field_problem(line, {"step": int, "tokens": int})
    # A long training has a million values: each alone would take as long as reading the file.
    if problem is None and not _VALUE_TYPES.issuperset(map(type, line.values())):
        numbers = dict.fromkeys(line, int | float | None)
        problem = field_problem(line, numbers, may_be_nan=line)
    return problem


class MetricWriter:
    """Appends to `metrics.jsonl`. One process of a run owns it."""

    def __init__(self, path: Path, trackers: Sequence[Tracker] = ()) -> None:
        """trackers: told every line too, and closed with this."""
        self.path, self.trackers = path, trackers

    def write(self, record: Mapping[str, Number]) -> None:
        """Appends one line. `record` has "step"; floats are read back bit for bit."""
        assert "step" in record, f"a metrics line without its step: {sorted(record)}"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        append_jsonl(self.path, record)
        self.show(record)

    def show(self, record: Mapping[str, Number]) -> None:
        """Tells the trackers alone, of numbers that have a file of their own."""
        for tracker in self.trackers:
            tracker.write(record)

    def truncate_after(self, step: int) -> None:
        """Drops what was written after `step`, and a last line cut by a kill.

        A resumed run calls it first, because it writes the later steps again.
        """
        if self.path.exists():
            records = read_jsonl(self.path, lambda line: field_problem(line, {"step": int}))
            rewrite_jsonl(self.path, [line for line in records if line["step"] <= step])

    def close(self) -> None:
        """Closes the trackers."""
        for tracker in self.trackers:
            tracker.close()
