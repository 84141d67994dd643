"""A trainer that makes its steps and bare ones by turns, in one process, with the same model and
batches; and what each has cost."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from megatron_codemix.backend.devices import Backend
from megatron_codemix.bench.measure import Cost
from megatron_codemix.bench.small_data import SOURCES, write_small_data
from megatron_codemix.bench.train.bare import bare_steps
from megatron_codemix.bench.train.setting import (
    LEARNING_RATE,
    SEED,
    UNCOUNTED_STEPS,
    now,
    one_rank,
    since,
)
from megatron_codemix.config.schema import BackendConfig, ModelConfig, ModelFormat
from megatron_codemix.errors import RunError
from megatron_codemix.files import read_jsonl
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.train.loading import StepLoader
from megatron_codemix.train.phase import Phase, prepare_phase
from megatron_codemix.train.trainer import Trainer
from megatron_codemix.train.watching import watched


@dataclass(frozen=True, kw_only=True)
class LoopShape:
    """What is trained, and for how long."""

    model: ModelConfig
    sequence: int
    sequences: int
    """In a step, which is one microbatch."""
    precision: ModelFormat
    num_steps: int
    """Of each side, by turns, that are counted."""
    num_steps_alone: int = 0
    """Of the loop after these, with nothing beside it."""
    data_vocabulary: int
    """Entries of the tokenizer that the data use; it has as many as the model."""
    block: int = 1
    """Steps of one side that follow one another: a loop that is waited for after each would not
    prepare one while the device is at another."""

    @property
    def num_uncounted(self) -> int:
        """At first, in whole blocks."""
        return -(-UNCOUNTED_STEPS // self.block) * self.block

    @property
    def num_turns(self) -> int:
        """Of each side, in whole blocks."""
        return self.num_uncounted + -(-self.num_steps // self.block) * self.block


@dataclass(frozen=True, kw_only=True)
class LoopCosts:
    """What was measured."""

    loop: list[Cost]
    """Of a step, by each block that counts."""
    bare: list[Cost]
    loop_losses: list[float]
    """Of all steps that were made by turns, in nats."""
    bare_losses: list[float]
    data_wait_seconds: list[float]
    """Of each step that was made alone."""


def measure_loop(shape: LoopShape, folder: Path, asked: BackendConfig | None = None) -> LoopCosts:
    """Trains in `folder`, in this process."""
    asked = asked or BackendConfig()
    phase = _prepare(shape, folder, asked)
    with one_rank(folder, asked) as (parallel, backend), _logging_to(folder / "rank0.log"):
        writer = CheckpointProcess(backend)
        trainer = _ByTurns(phase, parallel, backend, writer, shape)
        with watched(phase, parallel) as watchdog:
            trainer.run(watchdog)
    passes = (trainer.recorded, trainer.bare.recorded)
    if any(recorded is not None and not recorded.is_recorded for recorded in passes):
        raise RunError(f"its steps are not from a CUDA graph: {folder / 'rank0.log'} says why")
    lines = read_jsonl(phase.run.metrics)
    turns, alone = lines[: shape.num_turns], lines[shape.num_turns :]
    return LoopCosts(
        loop=trainer.costs,
        bare=trainer.peer_costs,
        loop_losses=[line["loss/train_nats"] for line in turns],
        bare_losses=trainer.bare.losses,
        data_wait_seconds=[line["time/data_wait_seconds"] for line in alone],
    )


class _ByTurns(Trainer):
    """The trainer, with a block of bare steps before each of its own, for as long as both have
    turns."""

    def __init__(
        self,
        phase: Phase,
        parallel: ModelParallel,
        backend: Backend,
        writer: CheckpointProcess,
        shape: LoopShape,
    ) -> None:
        super().__init__(phase, parallel, backend, writer)
        self.shape = shape
        self.bare = bare_steps(phase, parallel, backend, shape.num_turns)
        self.costs: list[Cost] = []
        self.peer_costs: list[Cost] = []
        self._since: Cost | None = None

    def _one_step(self, loader: StepLoader) -> None:
        """What the loop has used since the last bare step is its own steps, with all around
        them."""
        if self.step % self.shape.block == 0:
            self._end_block()
            if self.step < self.shape.num_turns:
                self._take_turns()
        super()._one_step(loader)

    def _end_block(self) -> None:
        self.backend.wait()
        if self._since is not None and self.step > self.shape.num_uncounted:
            self.costs.append(self._of_a_step(since(self._since)))
            self._since = None

    def _take_turns(self) -> None:
        started = now()
        for number in range(self.step, self.step + self.shape.block):
            self.bare.step(number)
        self.bare.finish()  # the loop's next block begins with reading its last step too
        self.backend.wait()
        if self.step >= self.shape.num_uncounted:
            self.peer_costs.append(self._of_a_step(since(started)))
        self._since = now()

    def _of_a_step(self, block: Cost) -> Cost:
        size = self.shape.block
        return Cost(block.user / size, block.system / size, block.wall / size)

    def _save(self, *, is_required: bool) -> None:
        """Nobody wants this model."""


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """As a rank logs, its lines for the screen written to nowhere."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        setup_logging(0, path)
        try:
            yield
        finally:
            setup_logging(1, None)


def _prepare(shape: LoopShape, folder: Path, asked: BackendConfig) -> Phase:
    entries = shape.model.vocabulary_size
    data = write_small_data(folder, shape.data_vocabulary, entries=entries)
    # One step more: the one before it ends when the next begins.
    num_steps = shape.num_turns + shape.num_steps_alone + 1
    tokens = num_steps * shape.sequences * shape.sequence
    config = {
        "model": shape.model.model_dump(mode="json", exclude_none=True),
        "data": {
            "sequence_length": shape.sequence,
            "sources": {name: {"train": str(data / f"{name}.train")} for name in SOURCES},
            "mixture": {"kind": "constant", "weights": dict.fromkeys(SOURCES, 0.5)},
        },
        "tokenizer": {"path": str(data / "tokenizer.json")},
        "optimizer": {"weight_decay": 0.1},
        "schedule": {"kind": "constant", "lr": LEARNING_RATE, "warmup_tokens": 0},
        "train": {
            "train_tokens": tokens,
            "global_batch_sequences": shape.sequences,
            "seed": SEED,
        },
        "layout": {"microbatch_sequences": shape.sequences},
        "precision": {"kind": shape.precision},
        "checkpoint": {"save_every_tokens": tokens},
        "backend": asked.model_dump(mode="json"),
    }
    path = folder / "loop.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    # Nothing is asked of the disk, to which no checkpoint is written.
    return prepare_phase(path, [], folder / "run", 1, runs_here=False)
