"""The study that is disturbed: six phases of a small model, three of which start from others."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from megatron_codemix.bench.chaos.job import BATCH, SEQUENCE, VOCABULARY_SIZE, small_config
from megatron_codemix.bench.chaos.lines import LineCounts
from megatron_codemix.bench.small_data import SOURCES, write_small_data
from megatron_codemix.processes import die_with
from megatron_codemix.runs import RunDirectory

NUM_RANKS = 2
SIDE_BY_SIDE = 2
SAVE_EVERY = 8
"""Steps between checkpoints."""
_STEP = BATCH * SEQUENCE
"""Tokens."""
HANG_SECONDS = 4.0
"""After which the watchdog takes a step for a hang; on two cores one lasts tens of milliseconds."""


@dataclass(frozen=True)
class StudyJob:
    """A study file, and the folder that it is run in."""

    file: Path
    out: Path
    shards: list[Path]
    """Tokens that every phase reads, `.bin` files."""
    num_steps: int
    """Of all phases."""
    _counts: LineCounts = field(default_factory=LineCounts, repr=False, compare=False)

    def start(self, output: Path) -> "subprocess.Popen[bytes]":
        """`codemix study run`, its output appended to a file. It dies with this process."""
        command = [sys.executable, "-m", "megatron_codemix", "study", "run", str(self.file)]
        command += ["--out", str(self.out), "--jobs", str(SIDE_BY_SIDE)]
        # Wide, so that no line of its output is broken.
        surroundings = {"OMP_NUM_THREADS": "1", "NO_COLOR": "1", "COLUMNS": "1000"}
        with open(output, "ab") as handle:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env={**os.environ, **surroundings},
                start_new_session=True,
                preexec_fn=partial(die_with, os.getpid(), by=signal.SIGKILL),
            )

    def runs(self) -> list[RunDirectory]:
        """Of the phases that were started."""
        return runs_below(self.out)

    def steps_made(self) -> int:
        """Of all phases; fewer again where one goes back to its last checkpoint."""
        return sum(self.steps_of(run) for run in self.runs())

    def steps_of(self, run: RunDirectory) -> int:
        """A line of its metrics each."""
        return self._counts.of(run.metrics)


def runs_below(out: Path) -> list[RunDirectory]:
    """The runs in a study's folder."""
    return [RunDirectory(path.parent) for path in sorted(out.glob("*/*-????????/status.json"))]


def write_study_job(folder: Path, out: Path, *, steps_of_a_phase: int) -> StudyJob:
    """Data, in some seconds where it is not there, and study file."""
    data = folder / "data"
    is_written = folder / "data.written"
    if not is_written.exists():
        write_small_data(folder, VOCABULARY_SIZE)
        is_written.touch()
    phases = _phases(steps_of_a_phase)
    file = folder / "study.yaml"
    study = _study(data, phases, steps_of_a_phase)
    # JSON is YAML; yaml's own writer makes aliases of what is said twice, which are not read.
    file.write_text(json.dumps(study, indent=1), encoding="utf-8")
    shards = [data / f"{name}.train.bin" for name in SOURCES]
    return StudyJob(file, out, shards, num_steps=len(phases) * steps_of_a_phase)


def _study(data: Path, phases: Mapping[str, Any], num_steps: int) -> dict[str, Any]:  # Any: YAML
    defaults = small_config(data, num_steps, SAVE_EVERY)
    defaults["data"]["sources"] = {
        name: {"train": str(data / f"{name}.train"), "validation": str(data / f"{name}.validation")}
        for name in SOURCES
    }
    defaults["schedule"] = {
        "kind": "cosine",
        "peak_lr": 1e-3,
        "min_lr": 1e-4,
        "warmup_tokens": 4 * _STEP,
    }
    # One microbatch for each rank: most of so small a step is what it costs to begin one.
    defaults["layout"] = {"microbatch_sequences": BATCH // NUM_RANKS}
    defaults |= {
        "backend": {"device": "cpu"},
        "validation": {"every_tokens": 25 * _STEP, "max_bytes_per_source": "2KiB"},
        "survival": {"hang_factor": 2, "hang_floor_seconds": HANG_SECONDS},
    }
    return {
        "name": "chaos",
        "world_size": NUM_RANKS,
        "defaults": defaults,
        "phases": phases,
        "variants": {
            "steady": "steady",
            "shifted": "shifted",
            "switched": "switched",
            "cooled": "cooled",
            "cut": "cut",
        },
        "compare": {"baseline": "steady"},
        "evaluation": {"heldout": {"world_size": NUM_RANKS, "max_bytes_per_source": "8KiB"}},
    }


def _phases(num_steps: int) -> dict[str, Any]:  # Any: YAML
    """Two roots, so that two run side by side; mixtures of every kind; an edge with the optimizer's
    state and edges without; one phase in another layout than its parent."""
    first, second = {"a": 0.9, "b": 0.1}, {"a": 0.4, "b": 0.6}
    half = num_steps * _STEP // 2
    steps = [{"from_tokens": 0, "weights": first}, {"from_tokens": half, "weights": second}]
    return {
        "steady": {"set": {"data.mixture": {"kind": "constant", "weights": first}}},
        "shifting": {"set": {"data.mixture": {"kind": "cosine", "start": first, "end": second}}},
        "switched": {
            "init_from": {"phase": "steady", "load": "weights"},
            "set": {"data.mixture": {"kind": "step", "steps": steps}},
        },
        "shifted": {
            "init_from": {"phase": "shifting", "load": "weights+optimizer"},
            "set": {"data.mixture": {"kind": "linear", "start": second, "end": first}},
        },
        "cut": {
            "init_from": {"phase": "switched", "load": "weights"},
            "set": {
                "data.mixture": {"kind": "constant", "weights": second},
                "layout.tensor": NUM_RANKS,
                "layout.microbatch_sequences": BATCH,
            },
        },
        "cooled": {
            "init_from": {"phase": "shifted", "load": "weights+optimizer"},
            "set": {
                "data.mixture": {"kind": "constant", "weights": second},
                "schedule": {"kind": "linear", "start_lr": 1e-4, "final_lr": 1e-6},
            },
        },
    }
