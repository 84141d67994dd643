"""A process for each measurement, so that memory is fresh, and what ends it ends one row."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from megatron_codemix.backend.environment import gpu_settings
from megatron_codemix.files import read_json_object, write_json
from megatron_codemix.processes import die_with
from megatron_codemix.units import format_duration

JOB, RESULT = "job.json", "result.json"
"""In the folder of a measurement."""
LIMIT_SECONDS = 1800.0
"""Of one: compiling takes minutes, steps seconds."""


@dataclass(frozen=True)
class Ended:
    """How a measurement ended."""

    result: dict[str, Any]  # Any: JSON values
    """What it had written until then."""
    problem: str | None
    """None where it ended by itself and without an error."""


def measure_in_process(
    job: Mapping[str, Any],  # Any: JSON values
    folder: Path,
    *,
    command: Sequence[str] = (sys.executable, "-m", "megatron_codemix.bench.train.gpu.measure"),
    limit_seconds: float = LIMIT_SECONDS,
) -> Ended:
    """Writes the job into `folder`, which is new, and runs `command` with the folder behind it."""
    folder.mkdir(parents=True)
    write_json(folder / JOB, dict(job))
    log = folder / "output.log"
    with open(log, "wb") as handle:
        process = subprocess.Popen(
            [*command, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=handle,
            stderr=subprocess.STDOUT,
            env={**os.environ, **gpu_settings(os.environ)},
            preexec_fn=partial(die_with, os.getpid()),
        )
    try:
        code: int | None = process.wait(limit_seconds)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        process.kill()
        process.wait()
    result = folder / RESULT
    return Ended(
        read_json_object(result) if result.exists() else {},
        _problem(code, limit_seconds, log.read_text(encoding="utf-8", errors="replace")),
    )


def _problem(code: int | None, limit_seconds: float, output: str) -> str | None:
    if code == 0:
        return None
    if code is None:
        return f"its process had not ended after {format_duration(limit_seconds)}"
    if code < 0:
        return f"its process was killed by {signal.Signals(-code).name}"
    said = [line.strip() for line in output.splitlines() if line.strip()]
    return f"its process ended with exit code {code}" + (f": {said[-1]}" if said else "")
