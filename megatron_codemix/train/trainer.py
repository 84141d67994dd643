"""The loop: one phase from its first step to its last checkpoint."""

import contextlib
import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.plan import is_save_due
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.ledger import Ledger
from megatron_codemix.errors import PreemptedError, RetryableError
from megatron_codemix.mcore.build import build_trained
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.compiled import compile_functions
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.microbatch_graph import MicrobatchGraph
from megatron_codemix.mcore.optimizer import set_step_sizes
from megatron_codemix.mcore.replicas import differing_replicas
from megatron_codemix.mcore.step import launch_step
from megatron_codemix.run_status import Status
from megatron_codemix.train.agreement import StepFlags
from megatron_codemix.train.checkpointing import CheckpointWriter, starting_record
from megatron_codemix.train.health import LossGuard, SkipStepError
from megatron_codemix.train.in_flight import StepsInFlight
from megatron_codemix.train.loading import (
    StepLoader,
    open_loader,
    steps_ahead,
    tell_of_cut_conversations,
)
from megatron_codemix.train.phase import Phase
from megatron_codemix.train.profiling import StepProfiler
from megatron_codemix.train.reporting import FinishedStep, Reporter
from megatron_codemix.train.stopping import StopRequests
from megatron_codemix.train.validation import Validator
from megatron_codemix.train.watchdog import Watchdog
from megatron_codemix.units import format_bytes

log = logging.getLogger(__name__)

STATUS_INTERVAL_SECONDS = 2.0


class Trainer:
    """Owns what changes while a phase is trained: model, optimizer, ledger, status."""

    def __init__(
        self,
        phase: Phase,
        parallel: ModelParallel,
        backend: Backend,
        writer: CheckpointProcess,
        profile_folder: Path | None = None,
    ) -> None:
        """profile_folder: where profiles of a few steps are written; absent: none is made."""
        self.profile_folder = profile_folder
        self.phase, self.parallel, self.backend = phase, parallel, backend
        config = phase.config
        self.checkpoints = CheckpointWriter(phase, parallel, backend, writer)
        self.model, self.optimizer = build_trained(
            config.model,
            config.optimizer,
            config.layout,
            config.precision,
            sequence_length=config.data.sequence_length,
            seed=config.train.seed,
            parallel=parallel,
            backend=backend,
            asked=config.backend,
            document_mask=config.data.document_mask,
        )
        if config.backend.compile:
            compile_functions(backend, config.precision)
        self.recorded = (
            MicrobatchGraph(
                self.model,
                num_sources=len(phase.data.sources),
                parallel=parallel,
                backend=backend,
            )
            if config.backend.cuda_graphs != "none"
            else None
        )
        self.dataset: MixtureDataset = phase.data.dataset()
        if parallel.rank == 0:
            tell_of_cut_conversations(self.dataset)
        self.ledger = Ledger(phase.data, self.dataset.samples_per_epoch)
        self.guard = LossGuard(config.train.spike)
        self.skipped = phase.run.skipped_steps()
        self.step = 0
        self.in_flight = StepsInFlight(steps_ahead(config, backend), self._take)
        self.status: Status = phase.claim()
        self.validator = Validator(phase, parallel, backend) if config.validation else None
        self.profiler: StepProfiler | None = None
        self.reporter = Reporter(phase, backend, self.ledger.names) if parallel.rank == 0 else None

    def run(self, watchdog: Watchdog) -> None:
        """Trains to the end of the phase. Raises PreemptedError once a stop was asked for and the
        state is saved, SkipStepError where it must go back and pass over a step.

        watchdog: that is entered, and has had no beat yet.
        """
        self.watchdog = watchdog
        watchdog.prepare("the start from a checkpoint")
        self._restore()
        self._write_status(state="running")
        loader = open_loader(
            self.phase, self.dataset, self.parallel, self.backend, first_step=self.step
        )
        with contextlib.ExitStack() as stack:
            stack.enter_context(contextlib.closing(loader))
            stop = stack.enter_context(StopRequests())
            if self.reporter is not None:
                stack.enter_context(self.reporter).start_at(self.step)
            if self.profile_folder is not None:
                profiler = StepProfiler(
                    self.profile_folder,
                    self.parallel.rank,
                    self.backend.name,
                    first=MicrobatchGraph.steps_before_use if self.recorded else 0,
                )
                self.profiler = stack.enter_context(profiler)
            stack.enter_context(self._save_in_flight())
            self._train(loader, stop)
        self._write_status(state="done")
        memory = format_bytes(self.backend.peak_memory_bytes())
        log.info(
            "done after step %d, at most %s of memory: %s", self.step, memory, self.phase.run.path
        )

    def _train(self, loader: StepLoader, stop: StopRequests) -> None:
        plan = self.phase.plan
        flags = StepFlags(self.backend, self.in_flight.steps_ahead)
        started, before = time.monotonic(), self.status.train_seconds
        written = started
        while self.step < plan.num_steps:
            # A step that was launched has not ended; where one is in flight, its end is the beat.
            if self.in_flight.oldest is None:
                self.watchdog.beat(f"step {self.step + 1}")
            if self.step + 1 in self.skipped:
                self._pass_over(loader)
            else:
                self._one_step(loader)
            self._compare_replicas()
            self._validate()
            if self.profiler is not None:
                self.profiler.step()
            answer = flags.ask(stop.received is not None, self.checkpoints.is_writing())
            stopping, writing = answer or (False, True)
            self.checkpoints.poll(is_any_writing=writing)
            if stopping or is_save_due(self.step, plan):
                self.in_flight.finish()
                # Who is writing changes with the save; a request to stop is to be heard where every
                # step is followed by one.
                for asked_to_stop, _ in flags.finish():
                    stopping = stopping or asked_to_stop
                seconds = before + time.monotonic() - started
                self.status = replace(self.status, train_seconds=seconds)
                self._save(is_required=stopping or self.step == plan.num_steps)
            if stopping and self.step < plan.num_steps:
                self._write_status(state="pending")
                raise PreemptedError(
                    f"{self.phase.run.path}: asked to stop; saved after step {self.step} of "
                    f"{plan.num_steps}; the same command goes on from there"
                )
            if time.monotonic() - written > STATUS_INTERVAL_SECONDS:
                written = time.monotonic()
                self._write_status()

    def _restore(self) -> None:
        record = starting_record(self.phase.run, self.phase.config, self.model, self.optimizer)
        if record is not None:
            self.step = record["step"]
            self.ledger.restore(record["ledger"])
            self.guard.restore(record["losses"])
        self.status = replace(
            self.status,
            step=self.step,
            num_steps=self.phase.plan.num_steps,
            train_seconds=record["train_seconds"] if record else 0.0,
        )
        if self.reporter is not None:
            self.reporter.go_on_after(self.step)
            self.checkpoints.restore_ledger_file(record)

    def _one_step(self, loader: StepLoader) -> None:
        self.in_flight.begin()
        started = time.perf_counter()
        lr = self.phase.learning_rate.at(self.phase.plan.batches.tokens(self.step + 1))
        set_step_sizes(self.optimizer, lr, self.phase.config.optimizer.weight_decay)
        with self.backend.profiled_as("wait for the batch"):
            microbatches = loader.take()
        waited = time.perf_counter() - started
        with self.backend.profiled_as("step"):
            launched = launch_step(
                self.model,
                self.optimizer,
                microbatches,
                num_sources=len(self.phase.data.sources),
                parallel=self.parallel,
                backend=self.backend,
                passes=self.recorded,
            )
        self.step += 1
        self.in_flight.add(launched, number=self.step, learning_rate=lr, waited_seconds=waited)

    def _take(self, step: FinishedStep) -> None:
        """Judges, counts and reports a step that has ended."""
        result = step.result
        self.guard.judge(step.number, result)
        self.ledger.add(result.source_samples, result.source_tokens, result.source_nats)
        if self.reporter is not None:
            self.reporter.add(step)
        if self.in_flight.oldest is not None:
            self.watchdog.beat(f"step {self.in_flight.oldest}")

    def _pass_over(self, loader: StepLoader) -> None:
        """Draws the step's batch and leaves it."""
        self.in_flight.finish()
        loader.take()
        batches, mixture = self.phase.plan.batches, self.ledger.mixture
        before, after = (mixture.counts(batches.samples(self.step + n)) for n in (0, 1))
        self.ledger.skip(after - before)
        self.step += 1
        log.warning("step %d is passed over: its loss was too far off before", self.step)

    def _compare_replicas(self) -> None:
        every = self.phase.config.survival.compare_replicas_every_steps
        if every is None or self.step % every:
            return
        self.in_flight.finish()
        wrong = differing_replicas(self.model, self.parallel, self.backend)
        if wrong:
            raise RetryableError(
                f"{self.phase.run.path}: step {self.step}: the weights of ranks {wrong} are not "
                "those of their data-parallel replicas; a device or its memory may be failing: run "
                "the same command without it, which goes on from the last checkpoint"
            )

    def _validate(self) -> None:
        plan = self.phase.plan
        every = plan.validate_every_steps
        if self.validator is None or every is None:
            return
        if not plan.batches.is_due(self.step, every) and self.step != plan.num_steps:
            return
        self.in_flight.finish()
        self.watchdog.beat(f"validation after step {self.step}")
        with self.backend.profiled_as("validation"):
            found = self.validator.score(self.model, self.step)
        if self.reporter is not None:
            self.reporter.add_validation(found)

    @contextlib.contextmanager
    def _save_in_flight(self) -> Iterator[None]:
        """Ends what is being written when the loop ends; a step that is to be skipped leaves all
        ranks in step, and the run goes back no further than to that checkpoint."""
        try:
            yield
        except SkipStepError:
            self.checkpoints.wait(self._beat_saving)
            raise
        finally:
            self.checkpoints.close()

    def _beat_saving(self) -> None:
        self.watchdog.beat(f"saving after step {self.step}")

    def _save(self, *, is_required: bool) -> None:
        self._beat_saving()
        with self.backend.profiled_as("save"):
            self.checkpoints.save(
                self.model,
                self.optimizer,
                step=self.step,
                ledger=self.ledger.record(self.step),
                losses=self.guard.losses,
                train_seconds=self.status.train_seconds,
                is_required=is_required,
                beat=self._beat_saving,
            )
        self._write_status()

    def _write_status(self, **changes: Any) -> None:
        ended = (self.in_flight.oldest or self.step + 1) - 1
        self.status = replace(self.status, step=ended, **changes)
        if self.parallel.rank == 0:
            self.status = self.phase.run.write_status(self.status)
