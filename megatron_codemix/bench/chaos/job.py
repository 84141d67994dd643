"""The run that is disturbed: a small model on the Python installation's own sources."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from megatron_codemix.bench.small_data import SOURCES, write_small_data
from megatron_codemix.runs import RunDirectory

SEQUENCE = 64
BATCH = 8
VOCABULARY_SIZE = 512


class Layout(NamedTuple):
    """Processes, and how the model is spread over them."""

    num_ranks: int
    tensor: int = 1
    pipeline: int = 1


LAYOUTS = (Layout(2), Layout(1), Layout(2, tensor=2), Layout(2, pipeline=2))
"""Those that a run goes through, a start in each."""


@dataclass(frozen=True)
class ChaosJob:
    """One configuration, trained in as many run directories as are asked for."""

    config: Path
    num_steps: int
    num_ranks: int
    overrides: Sequence[str]

    def in_layout(self, layout: Layout) -> "ChaosJob":
        """The same training on other processes."""
        kept = [override for override in self.overrides if not override.startswith("layout.")]
        sizes = (f"layout.tensor={layout.tensor}", f"layout.pipeline={layout.pipeline}")
        return replace(self, num_ranks=layout.num_ranks, overrides=[*kept, *sizes])

    def start(self, run: RunDirectory, output: Path) -> "subprocess.Popen[bytes]":
        """`codemix train`, its output appended to a file."""
        command = [sys.executable, "-m", "megatron_codemix", "train", str(self.config)]
        command += [*self.overrides, "--run-dir", str(run.path), "--nproc", str(self.num_ranks)]
        with open(output, "ab") as handle:
            return subprocess.Popen(
                command,
                stdout=handle,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )


def write_job(
    folder: Path, *, num_steps: int, save_every: int, num_ranks: int, overrides: Sequence[str]
) -> ChaosJob:
    """Data and configuration, in some seconds."""
    data = write_small_data(folder, VOCABULARY_SIZE)
    config = folder / "chaos.yaml"
    config.write_text(yaml.safe_dump(small_config(data, num_steps, save_every)), encoding="utf-8")
    return ChaosJob(config, num_steps, num_ranks, overrides)


def small_config(data: Path, num_steps: int, save_every: int) -> dict[str, Any]:  # Any: YAML
    """A run of two narrow layers on the data that `write_small_data` has left in `data`, with a
    mixture that shifts."""
    step = BATCH * SEQUENCE
    return {
        "model": {
            "num_layers": 2,
            "hidden_size": 32,
            "ffn_hidden_size": 64,
            "num_attention_heads": 4,
            "num_query_groups": 2,
            "vocabulary_size": VOCABULARY_SIZE,
            "tie_embeddings": True,
        },
        "data": {
            "sequence_length": SEQUENCE,
            "sources": {name: {"train": str(data / f"{name}.train")} for name in SOURCES},
            "mixture": {
                "kind": "cosine",
                "start": {"a": 0.8, "b": 0.2},
                "end": {"a": 0.3, "b": 0.7},
            },
        },
        "tokenizer": {"path": str(data / "tokenizer.json")},
        "optimizer": {"weight_decay": 0.1},
        "schedule": {
            "kind": "wsd",
            # At 3e-3 rounding alone, of another layout, grows to 3e-5 nats in 200 steps; here 3e-7.
            "peak_lr": 1e-3,
            "final_lr": 1e-4,
            "warmup_tokens": 10 * step,
            "decay_tokens": num_steps * step // 4,
            "decay": "one_minus_sqrt",
        },
        "train": {"train_tokens": num_steps * step, "global_batch_sequences": BATCH, "seed": 1},
        "layout": {"microbatch_sequences": 2},
        "precision": {"kind": "fp32"},
        "checkpoint": {"save_every_tokens": save_every * step},
    }
