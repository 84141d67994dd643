"""Small trained runs, and what they are in `transformers`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import transformers

from megatron_codemix.hugging_face.export import export
from megatron_codemix.run_checkpoints import final_checkpoint
from megatron_codemix.runs import RunDirectory
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import SEQUENCE, write_run
from tests.helpers.training import train_run

LLAMA = {"num_layers": 4, "init_std": 0.2, "norm_epsilon": 1e-6, "tie_embeddings": False}
TIED = {"tie_embeddings": True}
COHERE = LLAMA | {
    "block": "parallel",
    "normalization": "layernorm_no_bias",
    "rope_interleaved": True,
    "logit_scale": 0.6,
}


@dataclass(frozen=True)
class Case:
    """A model, the layout that trains it, and what it is in transformers."""

    architecture: str
    model: Mapping[str, Any]
    layout: tuple[str, ...] = ()
    num_ranks: int = 1


def trained(folder: Path, case: Case, *overrides: str) -> RunDirectory:
    """A run of 4 large steps, so that no weight is what it began as."""
    config = write_run(
        folder,
        model=case.model,
        schedule={"peak_lr": 0.05},
        train={"train_tokens": 4 * 8 * SEQUENCE},
    )
    run = folder / "run"
    run_distributed(train_run, case.num_ranks, config, [*case.layout, *overrides], run)
    return RunDirectory(run)


def export_last(run: RunDirectory, out: Path, **options: Any) -> Path:
    defaults = {"dtype": None, "max_shard_bytes": 10**9, "overwrite": False}
    export(final_checkpoint(run), out, **defaults | options, advance=lambda num_bytes: None)
    return out


def load_exported(run: RunDirectory, out: Path) -> transformers.PreTrainedModel:
    """The run's model in transformers, exported to `out`."""
    return transformers.AutoModelForCausalLM.from_pretrained(export_last(run, out)).eval()
