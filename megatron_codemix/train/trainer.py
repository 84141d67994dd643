"""The loop: one phase from its first step to its last checkpoint."""

import contextlib
import logging
import math
import time
from dataclasses import replace
from typing import Any

from megatron_codemix.backend.devices import Backend
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.ledger import Ledger
from megatron_codemix.errors import PreemptedError, RunError
from megatron_codemix.files import append_jsonl, read_jsonl, rewrite_jsonl
from megatron_codemix.mcore.checkpoint import save_checkpoint
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import build_model, wrap_data_parallel
from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
from megatron_codemix.mcore.step import StepResult, train_step
from megatron_codemix.obs.metrics import MetricWriter
from megatron_codemix.runs import Status
from megatron_codemix.train.checkpointing import (
    is_save_due,
    remove_incomplete_checkpoints,
    remove_old_checkpoints,
    starting_record,
)
from megatron_codemix.train.loading import StepLoader, open_loader
from megatron_codemix.train.phase import Phase
from megatron_codemix.train.stopping import StopRequests
from megatron_codemix.units import format_bytes, format_count, format_duration

log = logging.getLogger(__name__)

STATUS_INTERVAL_SECONDS = 2.0


class Trainer:
    """Owns what changes while a phase is trained: model, optimizer, ledger, status."""

    def __init__(self, phase: Phase, parallel: ModelParallel, backend: Backend) -> None:
        self.phase, self.parallel, self.backend = phase, parallel, backend
        config = phase.config
        bare = build_model(
            config.model,
            config.layout,
            config.precision,
            sequence_length=config.data.sequence_length,
            seed=config.train.seed,
            parallel=parallel,
            backend=backend,
        )
        self.model = wrap_data_parallel(bare, config.layout, parallel)
        self.optimizer = build_optimizer(
            config.optimizer, config.layout, config.precision, self.model, parallel
        )
        self.dataset: MixtureDataset = phase.data.dataset()
        self.ledger = Ledger(phase.data, self.dataset.samples_per_epoch)
        self.step = 0
        self.status: Status = phase.claim()
        self.metrics = MetricWriter(phase.run.metrics) if parallel.rank == 0 else None

    def run(self) -> None:
        """Trains to the end of the phase. Raises PreemptedError once a stop was asked for and the
        state is saved."""
        self._restore()
        started, before = time.monotonic(), self.status.train_seconds
        self._write_status(state="running")
        written = time.monotonic()
        loader = open_loader(
            self.phase, self.dataset, self.parallel, self.backend, first_step=self.step
        )
        with contextlib.closing(loader), StopRequests(self.backend) as stop:
            while self.step < self.phase.plan.num_steps:
                self._one_step(loader)
                stopping = stop.agreed()
                if stopping or is_save_due(self.step, self.phase.plan):
                    self.status = replace(
                        self.status, train_seconds=before + time.monotonic() - started
                    )
                    self._save()
                if stopping and self.step < self.phase.plan.num_steps:
                    self._write_status(state="pending")
                    raise PreemptedError(
                        f"{self.phase.run.path}: asked to stop; saved after step {self.step} of "
                        f"{self.phase.plan.num_steps}; the same command goes on from there"
                    )
                if time.monotonic() - written > STATUS_INTERVAL_SECONDS:
                    written = time.monotonic()
                    self._write_status()
        self._write_status(state="done")
        memory = format_bytes(self.backend.peak_memory_bytes())
        log.info(
            "done after step %d, at most %s of memory: %s", self.step, memory, self.phase.run.path
        )

    def _restore(self) -> None:
        record = starting_record(self.phase.run, self.phase.config, self.model, self.optimizer)
        if record is not None:
            self.step = record["step"]
            self.ledger.restore(record["ledger"])
        self.status = replace(
            self.status,
            step=self.step,
            num_steps=self.phase.plan.num_steps,
            train_seconds=record["train_seconds"] if record else 0.0,
        )
        if self.metrics is not None:
            self.metrics.truncate_after(self.step)
            self._restore_ledger_file(record)

    def _restore_ledger_file(self, record: dict[str, Any] | None) -> None:
        """The lines up to the checkpoint. Its own may be missing, if the run was killed between the
        two writes."""
        ledger = self.phase.run.ledger
        lines = [line for line in read_jsonl(ledger) if line["step"] < self.step]
        own = [record["ledger"]] if record and record["is_scheduled"] else []
        rewrite_jsonl(ledger, lines + own)

    def _one_step(self, loader: StepLoader) -> None:
        started = time.perf_counter()
        config, plan = self.phase.config, self.phase.plan
        tokens = (self.step + 1) * plan.tokens_per_step
        lr = self.phase.learning_rate.at(tokens)
        set_step_sizes(self.optimizer, lr, config.optimizer.weight_decay)
        microbatches = loader.take()
        waited = time.perf_counter() - started
        result = train_step(
            self.model,
            self.optimizer,
            microbatches,
            num_sources=len(self.phase.data.sources),
            parallel=self.parallel,
            backend=self.backend,
        )
        self.step += 1
        if not (math.isfinite(result.loss_nats) and math.isfinite(result.grad_norm)):
            raise RunError(
                f"{self.phase.run.path}: step {self.step}: loss {result.loss_nats}, gradient norm "
                f"{result.grad_norm}: "
                "training has diverged; lower the learning rate or lengthen the warmup"
            )
        self.ledger.add(result.source_samples, result.source_tokens, result.source_nats)
        if self.step % config.logging.every_steps == 0 or self.step == plan.num_steps:
            self._log(result, tokens, lr, time.perf_counter() - started, waited)

    def _log(
        self, result: StepResult, tokens: int, lr: float, seconds: float, waited: float
    ) -> None:
        if self.metrics is None:
            return
        line: dict[str, Any] = {
            "step": self.step,
            "tokens": tokens,
            "loss/train_nats": result.loss_nats,
        }
        for number, name in enumerate(self.ledger.names):
            if result.source_tokens[number]:
                mean = float(result.source_nats[number] / result.source_tokens[number])
                line[f"loss/source/{name}_nats"] = mean
        line["optimizer/lr"] = lr
        line["optimizer/grad_norm"] = result.grad_norm
        line["throughput/tokens_per_second"] = self.phase.plan.tokens_per_step / seconds
        line["time/step_seconds"] = seconds
        line["time/data_wait_seconds"] = waited
        self.metrics.write(line)
        left = (self.phase.plan.num_steps - self.step) * seconds
        log.info(
            "step %d/%d  loss %.4f  lr %.3e  grad norm %.3f  %s tokens/s  %s left",
            self.step,
            self.phase.plan.num_steps,
            result.loss_nats,
            lr,
            result.grad_norm,
            format_count(round(line["throughput/tokens_per_second"])),
            format_duration(left),
        )

    def _save(self) -> None:
        line = self.ledger.record(self.step)
        # A save because of a stop leaves no line, so that a run that was stopped ends with the same
        # ledger as one that was not; the checkpoint itself has the counts.
        is_scheduled = is_save_due(self.step, self.phase.plan)
        record = {
            "step": self.step,
            "is_scheduled": is_scheduled,
            "identity": self.phase.identity,
            "ledger": line,
            "train_seconds": self.status.train_seconds,
            "layout": self.phase.config.layout.model_dump(mode="json"),
            "world_size": self.parallel.world_size,
            "distributed_optimizer": self.phase.config.layout.distributed_optimizer,
        }
        if self.parallel.rank == 0:
            remove_incomplete_checkpoints(self.phase.run)
        save_checkpoint(
            self.phase.run.checkpoint(self.step),
            self.model,
            self.optimizer,
            record,
            self.parallel,
        )
        if self.parallel.rank == 0:
            if is_scheduled:
                append_jsonl(self.phase.run.ledger, line)
            keep_last = self.phase.config.checkpoint.keep_last
            remove_old_checkpoints(self.phase.run, keep_last, self.phase.plan)
            self._write_status()
        log.info("saved after step %d", self.step)

    def _write_status(self, **changes: Any) -> None:
        self.status = replace(self.status, step=self.step, **changes)
        if self.parallel.rank == 0:
            self.status = self.phase.run.write_status(self.status)
