"""What a run keeps of its checkpoints, and where it starts: at its own newest one, or at its
parent's last one."""

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megatron_codemix.config.plan import RunPlan
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import RunError
from megatron_codemix.files import append_jsonl, read_jsonl, rewrite_jsonl
from megatron_codemix.lineage import parent_checkpoint
from megatron_codemix.mcore.checkpoint import load_checkpoint, read_marker, save_checkpoint
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.runs import RunDirectory, newest_checkpoint
from megatron_codemix.train.phase import Phase

log = logging.getLogger(__name__)

Record = Mapping[str, Any]  # Any: JSON values


def is_save_due(step: int, plan: RunPlan) -> bool:
    """Whether the run saves after this step: at its intervals, and always at the end."""
    return step == plan.num_steps or step % plan.save_every_steps == 0 or is_kept(step, plan)


def is_kept(step: int, plan: RunPlan) -> bool:
    """Whether the checkpoint after this step stays for good."""
    return plan.keep_every_steps is not None and step % plan.keep_every_steps == 0


def starting_record(
    run: RunDirectory, config: RunConfig, model: Any, optimizer: Any
) -> dict[str, Any] | None:
    """Loads weights and optimizer state for the first step of this attempt: from the run's own
    newest checkpoint, whose record is returned, else from the parent's last one, else nothing
    (weights are those of the seed).

    model and optimizer are megatron-core's, as `mcore` builds them. Every rank calls it.
    """
    for folder in run.incomplete_checkpoints():
        log.warning("%s is not complete and is left out; the next save deletes it", folder)
    own = newest_checkpoint(run)
    if own is not None:
        record = read_marker(own)
        _require_same_optimizer(own, record, config)
        load_checkpoint(own, model, optimizer, with_state=True)
        log.info("resume after step %d of this run (%s)", record["step"], own.name)
        return record
    if config.init_from is not None:
        folder = parent_checkpoint(config.init_from)
        with_state = config.init_from.load == "weights+optimizer"
        if with_state:
            _require_same_optimizer(folder, read_marker(folder), config)
        load_checkpoint(folder, model, optimizer, with_state=with_state)
        log.info("start from %s (%s)", folder, config.init_from.load)
    return None


class CheckpointWriter:
    """Saves a run's state, with the lines of its ledger, and removes what is no longer kept. Every
    rank has one."""

    def __init__(self, phase: Phase, parallel: ModelParallel) -> None:
        self.phase, self.parallel = phase, parallel

    def save(
        self,
        model: Any,
        optimizer: Any,
        *,
        step: int,
        ledger: dict[str, Any],
        losses: list[float],
        train_seconds: float,
    ) -> None:
        """Weights, optimizer state and the record of where the run stands. Every rank calls it.

        losses: those by which the next step's is judged.
        """
        run, config, plan = self.phase.run, self.phase.config, self.phase.plan
        # A save because of a stop leaves no line, so that a run that was stopped ends with the same
        # ledger as one that was not; the checkpoint itself has the counts.
        is_scheduled = is_save_due(step, plan)
        record = {
            "step": step,
            "is_scheduled": is_scheduled,
            "identity": self.phase.identity,
            "ledger": ledger,
            "losses": losses,
            "train_seconds": train_seconds,
            "layout": config.layout.model_dump(mode="json"),
            "world_size": self.parallel.world_size,
            "distributed_optimizer": config.layout.distributed_optimizer,
        }
        if self.parallel.rank == 0:
            _remove_incomplete_checkpoints(run)
        save_checkpoint(run.checkpoint(step), model, optimizer, record, self.parallel)
        if self.parallel.rank == 0:
            if is_scheduled:
                append_jsonl(run.ledger, ledger)
            _remove_old_checkpoints(run, config.checkpoint.keep_last, plan)
        log.info("saved after step %d", step)

    def restore_ledger_file(self, record: Record | None) -> None:
        """The lines up to the checkpoint that `record` is of. Its own may be missing, if the run
        was killed between the two writes. One rank calls it."""
        step = record["step"] if record else 0
        ledger = self.phase.run.ledger
        lines = [line for line in read_jsonl(ledger) if line["step"] < step]
        own = [record["ledger"]] if record and record["is_scheduled"] else []
        rewrite_jsonl(ledger, lines + own)


def _remove_incomplete_checkpoints(run: RunDirectory) -> None:
    """Makes room before a save: nothing can be loaded from them."""
    for folder in run.incomplete_checkpoints():
        shutil.rmtree(folder)


def _remove_old_checkpoints(run: RunDirectory, keep_last: int, plan: RunPlan) -> None:
    """Deletes all complete checkpoints but the newest and those that stay for good."""
    for step in run.complete_steps()[:-keep_last]:
        if not is_kept(step, plan):
            shutil.rmtree(run.checkpoint(step))


def _require_same_optimizer(folder: Path, record: dict[str, Any], config: RunConfig) -> None:
    written = record["distributed_optimizer"]
    if written != config.layout.distributed_optimizer:
        raise RunError(
            f"{folder}: its optimizer state was written with "
            f"layout.distributed_optimizer={str(written).lower()}, which "
            "megatron-core stores differently; use the same setting"
        )
