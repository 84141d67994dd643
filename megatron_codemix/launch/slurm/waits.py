"""How often a job has found another process at work on its run, and put itself back: a line in a
file for each time. None of them is a start that has failed."""

import time
from pathlib import Path

from megatron_codemix.files import append_jsonl, read_jsonl
from megatron_codemix.units import format_duration


def waits_beside(log: Path) -> Path:
    """Where the waits of the job are noted whose log this is."""
    return log.with_suffix(".waits.jsonl")


def count_waits(path: Path, job: str) -> int:
    """Of the job of this number. Raises RunError where the file is damaged."""
    return sum(line.get("job") == job for line in read_jsonl(path))


def note_wait(path: Path, job: str) -> str:
    """Notes one more; for the log: `time 3, the first 30m12s ago`. Raises RunError where the file
    is damaged, UnavailableError on a full disk."""
    now = time.time()
    append_jsonl(path, {"job": job, "unix": now})
    times = [line["unix"] for line in read_jsonl(path) if line.get("job") == job]
    since = f", the first {format_duration(now - times[0])} ago" if len(times) > 1 else ""
    return f"time {len(times)}{since}"
