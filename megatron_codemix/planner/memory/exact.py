"""Parameters, gradient buffers and optimizer shards of a job as megatron-core builds them, counted
in a process of its own: this package loads without torch."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT, ConfigError, UnavailableError
from megatron_codemix.planner.job import Job

TIMEOUT_SECONDS = 300
_ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
"""No GPU is looked at, and there is nothing to compute."""


@dataclass(frozen=True, kw_only=True)
class StageCounts:
    """Of the first rank of one pipeline stage; others of the stage may have a few padded elements
    less."""

    parameters: int
    weight_bytes: int
    """Of weights, or of the buffer that they lie in, with its padding."""
    gradient_bytes: int
    optimizer_elements: int
    """Parameters whose state this rank has."""
    master_weight_bytes: int
    """Of all of them."""
    moment_bytes: int
    """Of AdamW's two, of all of them."""
    buckets: int
    """Parts in which gradients are reduced over data-parallel ranks."""

    @property
    def optimizer_bytes(self) -> int:
        return self.master_weight_bytes + self.moment_bytes


@dataclass(frozen=True, kw_only=True)
class ExactCounts:
    """Of a job."""

    stages: tuple[StageCounts, ...]
    """By pipeline rank."""


def exact_counts(job: Job) -> ExactCounts:
    """Builds the job's model without its memory, for one rank of each pipeline stage: some ten
    seconds. Raises ConfigError where megatron-core refuses the job, UnavailableError where the
    count fails."""
    if job.fully_sharded:
        raise ConfigError(
            [
                "fully sharded weights (FSDP) are not built by this project, so there is nothing "
                "to count; take the formula (--no-exact)"
            ]
        )
    try:
        result = subprocess.run(
            [sys.executable, "-m", "megatron_codemix.mcore.planning"],
            input=_request(job),
            capture_output=True,
            text=True,
            env={**os.environ, **_ENVIRONMENT},
            timeout=TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            f"the exact count took more than {TIMEOUT_SECONDS} s; take the formula (--no-exact)"
        ) from error
    if result.returncode == EXIT_INPUT:
        raise ConfigError(json.loads(result.stdout)["problems"])
    if result.returncode != EXIT_DONE:
        last = "\n".join(result.stderr.splitlines()[-5:])
        raise UnavailableError(
            f"the exact count ended with exit code {result.returncode}; take the formula "
            f"(--no-exact). Its last words:\n{last}"
        )
    stages = json.loads(result.stdout)["stages"]
    return ExactCounts(stages=tuple(StageCounts(**stage) for stage in stages))


def _request(job: Job) -> str:
    return json.dumps(
        {
            "model": job.model.model_dump(mode="json"),
            "layout": job.layout.model_dump(mode="json"),
            "precision": job.precision.model_dump(mode="json"),
            "sequence_length": job.sequence_length,
            "world_size": job.world_size,
        }
    )
