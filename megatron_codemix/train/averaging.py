"""A run directory that holds the mean of other runs' checkpoints, as if it had been trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed

from megatron_codemix.checkpoints import read_marker
from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.plan import num_steps
from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.errors import RunError
from megatron_codemix.files import hash_json, rewrite_jsonl, write_text
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.ledgers import read_ledger, with_lines_of_checkpoints
from megatron_codemix.mcore.average import average_weights
from megatron_codemix.mcore.groups import initialize_model_parallel
from megatron_codemix.mcore.rank import start_rank
from megatron_codemix.run_checkpoints import run_of_checkpoint
from megatron_codemix.run_status import Status
from megatron_codemix.runs import RunDirectory


@dataclass(frozen=True)
class Term:
    """One checkpoint of a mean."""

    folder: Path
    weight: float


def average_into(
    out: RunDirectory,
    terms: Sequence[Term],
    context: RankContext,
    advance: Callable[[int], None],
) -> None:
    """Writes the run `out`, in a process of its own: weights are the mean of `terms`;
    configuration, ledger and step are those of the last term's run, which must be at its end.

    Evaluation and `init_from` (`load: weights`) take it like any other run. Raises RunError where
    the terms do not fit together or `out` is in use.
    """
    if out.path.exists() and any(out.path.iterdir()):
        raise RunError(f"{out.path}: is not empty; name a new directory")
    records = [read_marker(term.folder) for term in terms]
    last = run_of_checkpoint(terms[-1].folder)
    config, step = load_run_config(last.config), records[-1]["step"]
    if step != num_steps(config):
        raise RunError(
            f"{terms[-1].folder}: the last checkpoint that is named gives the mean its place on "
            f"the way, so it must be the last of its run (step {num_steps(config)})"
        )
    of = [
        {"identity": record["identity"], "step": record["step"], "weight": term.weight}
        for record, term in zip(records, terms, strict=True)
    ]
    identity = hash_json({"average": of})
    kept = ("step", "tokens", "ledger", "losses")
    record: dict[str, Any] = {
        **{name: records[-1][name] for name in kept},
        "is_scheduled": True,
        "is_kept": True,
        "identity": identity,
        "train_seconds": 0.0,
        "layout": LayoutConfig().model_dump(mode="json"),
        "world_size": 1,
        "average": [{**one, "folder": str(t.folder)} for one, t in zip(of, terms, strict=True)],
    }
    start_rank(config.backend.device, context)
    parallel = initialize_model_parallel(LayoutConfig(), config.train.seed)
    folders, weights = [term.folder for term in terms], [term.weight for term in terms]
    average_weights(folders, weights, out.checkpoint(step), record, parallel, advance)
    torch.distributed.destroy_process_group()
    rewrite_jsonl(out.ledger, with_lines_of_checkpoints(last, read_ledger(last), step))
    write_text(out.config, last.config.read_text(encoding="utf-8"))
    if last.chat_template.exists():
        write_text(out.chat_template, last.chat_template.read_text(encoding="utf-8"))
    out.write_status(Status(identity=identity, state="done", step=step, num_steps=step))
