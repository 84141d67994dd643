"""What a run keeps of its checkpoints, and where it starts: at its own newest one, or at its
parent's last one."""

import logging
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from megatron_codemix.backend.devices import Backend
from megatron_codemix.checkpoints import (
    DamagedCheckpointError,
    refusing_damage,
    remove_checkpoint,
)
from megatron_codemix.config.parameters import checkpoint_bytes
from megatron_codemix.config.plan import RunPlan, is_kept, is_save_due
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import RetryableError, RunError, UnavailableError
from megatron_codemix.files import require_free_bytes, rewrite_jsonl
from megatron_codemix.ledgers import read_ledger, with_lines_of_checkpoints
from megatron_codemix.lineage import parent_checkpoint
from megatron_codemix.mcore.background_save import SaveInFlight, run_on_rank_0
from megatron_codemix.mcore.checkpoint import begin_save, load_checkpoint
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.runs import RunDirectory
from megatron_codemix.train.agreement import any_rank
from megatron_codemix.train.phase import Phase

log = logging.getLogger(__name__)

Record = Mapping[str, Any]  # Any: JSON values

# How long ranks wait before they ask one another again who is writing: first, and at most.
_POLL_SECONDS = 0.002
_MAX_POLL_SECONDS = 0.05


def starting_record(
    run: RunDirectory, config: RunConfig, model: Any, optimizer: Any
) -> dict[str, Any] | None:
    """Loads weights and optimizer state for the first step of this attempt: from the run's own
    newest checkpoint that is whole, whose record is returned, else from the parent's last one, else
    nothing (weights are those of the seed).

    model and optimizer are megatron-core's, as `mcore` builds them. Every rank calls it. Raises
    RunError where the run has complete checkpoints and all are damaged.
    """
    for folder in run.incomplete_checkpoints():
        log.warning("%s is not complete and is left out; the next save deletes it", folder)
    steps = run.complete_steps()
    for step in reversed(steps):
        record = _load_own(run.checkpoint(step), model, optimizer)
        if record is not None:
            log.info("resume after step %d of this run", step)
            return record
    if steps:
        raise RunError(
            f"{run.checkpoints}: all complete checkpoints are damaged (the log names the files): "
            "restore one, or delete the folder to train from the start"
        )
    if config.init_from is not None:
        folder = parent_checkpoint(config.init_from)
        with_state = config.init_from.load == "weights+optimizer"
        with refusing_damage(folder):
            load_checkpoint(folder, model, optimizer, with_state=with_state)
        log.info("start from %s (%s)", folder, config.init_from.load)
    return None


def _load_own(folder: Path, model: Any, optimizer: Any) -> dict[str, Any] | None:
    """The record of the checkpoint, loaded; None, with a word, where its files are damaged."""
    try:
        return load_checkpoint(folder, model, optimizer, with_state=True)
    except DamagedCheckpointError as damage:
        log.warning("%s is damaged; going on from the one before it:\n%s", folder, damage)
        return None


class CheckpointWriter:
    """Saves a run's state, with the lines of its ledger, and removes what is no longer kept. Every
    rank has one, and calls it after the same steps."""

    def __init__(
        self, phase: Phase, parallel: ModelParallel, backend: Backend, process: CheckpointProcess
    ) -> None:
        """process: this rank's, which it ends when it is closed."""
        self.phase, self.parallel, self.backend = phase, parallel, backend
        self._process = process
        self._in_flight: SaveInFlight | None = None
        self._ledger_lines: list[dict[str, Any]] = []
        """Not yet in the file; those of saves that have failed come with the next."""

    def save(
        self,
        model: Any,
        optimizer: Any,
        *,
        step: int,
        ledger: dict[str, Any],
        losses: list[float],
        train_seconds: float,
        is_required: bool,
        beat: Callable[[], None],
    ) -> None:
        """Weights, optimizer state and the record of where the run stands.

        losses: those by which the next step's is judged.
        is_required: wait for the end, try twice, and raise if that fails; otherwise a save that
            fails is told of, and the next one is made in its place.
        beat: called as long as writers that are waited for get on.

        Raises UnavailableError if the disk is full, RetryableError for another reason.
        """
        run, config, plan = self.phase.run, self.phase.config, self.phase.plan
        record = {
            "step": step,
            "tokens": plan.batches.tokens(step),
            # A save because of a stop leaves no line, so that a run that was stopped ends with the
            # same ledger as one that was not; the checkpoint itself has the counts.
            "is_scheduled": is_save_due(step, plan),
            "is_kept": is_kept(step, plan),
            "identity": self.phase.identity,
            "ledger": ledger,
            "losses": losses,
            "train_seconds": train_seconds,
            "layout": config.layout.model_dump(mode="json"),
            "world_size": self.parallel.world_size,
        }
        self.wait(beat)
        if record["is_scheduled"] and self.parallel.rank == 0:
            self._ledger_lines.append(ledger)

        def begin() -> None:
            folder = run.checkpoint(step)
            run_on_rank_0(lambda: _make_room(run, config), folder, self.parallel)
            self._in_flight = begin_save(
                folder, model, optimizer, record, self.parallel, self._process
            )

        if is_required:
            _twice(lambda: self._finish_after(begin, beat))
        elif config.checkpoint.asynchronous:
            _or_warn(begin)
        else:
            _or_warn(lambda: self._finish_after(begin, beat))

    def is_writing(self) -> bool:
        """Whether a save of this rank is still being written; what `poll` wants to know of all."""
        return self._in_flight is not None and self._in_flight.is_writing()

    def poll(self, *, is_any_writing: bool) -> None:
        """Completes the save in flight once no rank is writing any more."""
        if self._in_flight is not None and not is_any_writing:
            _or_warn(self._finish)

    def wait(self, beat: Callable[[], None]) -> None:
        """Completes the save in flight, if there is one."""
        if self._in_flight is not None:
            self._wait_for_writers(beat)
            _or_warn(self._finish)

    def close(self) -> None:
        """Ends what is in flight, where ranks may no longer be in step."""
        self._process.close()
        self._in_flight = None

    def restore_ledger_file(self, record: Record | None) -> None:
        """The lines up to the checkpoint that `record` is of. Those of the newest checkpoints may
        be missing, if the run was killed between the two writes, or the disk was full for the
        second: the checkpoints have them. One rank calls it."""
        step, run = record["step"] if record else 0, self.phase.run
        rewrite_jsonl(run.ledger, with_lines_of_checkpoints(run, read_ledger(run), step))

    def _finish_after(self, begin: Callable[[], None], beat: Callable[[], None]) -> None:
        begin()
        self._wait_for_writers(beat)
        self._finish()

    def _wait_for_writers(self, beat: Callable[[], None]) -> None:
        save = self._in_flight
        assert save is not None, "nothing is being saved"
        seen, pause = 0, _POLL_SECONDS
        while True:
            seen, before = save.progress, seen
            writing, advanced = any_rank(self.backend, save.is_writing(), seen > before)
            if not writing:
                return
            if advanced:
                beat()
            time.sleep(pause)
            pause = min(1.25 * pause, _MAX_POLL_SECONDS)

    def _finish(self) -> None:
        save, self._in_flight = self._in_flight, None
        assert save is not None, "nothing is being saved"
        save.finish()
        step = save.record["step"]
        log.info("saved after step %d", step)
        if self.parallel.rank == 0:
            run, keep_last = self.phase.run, self.phase.config.checkpoint.keep_last
            # Whole or as before: a line that was cut by a full disk would damage the file.
            rewrite_jsonl(run.ledger, [*read_ledger(run), *self._ledger_lines])
            self._ledger_lines.clear()
            _remove_old_checkpoints(run, step, keep_last, self.phase.plan)


def _or_warn(action: Callable[[], None]) -> None:
    """A save that fails must not end a run that could go on."""
    try:
        action()
    except (UnavailableError, RetryableError) as error:
        log.warning("a save has failed, and is made up for by the next: %s", error)


def _twice(action: Callable[[], None]) -> None:
    try:
        action()
    except RetryableError as error:
        log.warning("a save that the run needs is tried again: %s", error)
        action()


def _make_room(run: RunDirectory, config: RunConfig) -> None:
    """Deletes what is incomplete: nothing can be loaded from it. Raises UnavailableError where a
    checkpoint would not fit, before it takes the space of metrics and logs."""
    for folder in run.incomplete_checkpoints():
        shutil.rmtree(folder)
    require_free_bytes(run.path, checkpoint_bytes(config), "a checkpoint")


def _remove_old_checkpoints(run: RunDirectory, newest: int, keep_last: int, plan: RunPlan) -> None:
    """Deletes all complete checkpoints but the last up to `newest` and those that stay for good.
    Later ones are damaged: the run went on from before them, and will come to replace them."""
    steps = [step for step in run.complete_steps() if step <= newest]
    for step in steps[:-keep_last]:
        if not is_kept(step, plan):
            try:
                remove_checkpoint(run.checkpoint(step))
            except OSError as error:
                log.warning("an old checkpoint cannot be deleted: %s", error)
