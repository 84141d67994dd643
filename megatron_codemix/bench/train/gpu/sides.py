"""Ours and the peer, ready to make one step after the other."""

import itertools
from typing import Protocol

import torch

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.megatron_on_cpu import direct_calls
from megatron_codemix.bench.train.plain import PlainModel, PlainTrainer
from megatron_codemix.bench.train.setting import LEARNING_RATE, SEED, random_batch
from megatron_codemix.config.schema import (
    AdamWConfig,
    AnyPrecisionConfig,
    BackendConfig,
    LayoutConfig,
    ModelConfig,
)
from megatron_codemix.data.batches import Batch
from megatron_codemix.errors import RunError
from megatron_codemix.mcore.build import build_trained
from megatron_codemix.mcore.compiled import compile_functions
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.microbatch_graph import MicrobatchGraph
from megatron_codemix.mcore.optimizer import set_step_sizes
from megatron_codemix.mcore.step import LaunchedStep, launch_step
from megatron_codemix.mcore.transformer import DTYPES

OPTIMIZER = AdamWConfig(weight_decay=0.1)
_NUM_BATCHES = 4
"""They are read again and again."""


class Side(Protocol):
    """A model with its optimizer and batches."""

    def step(self) -> object:
        """Forward, backward and update over the next batch. The device may still be at it."""


class Ours:
    """Our training step, as the trainer makes it."""

    def __init__(
        self,
        model: ModelConfig,
        precision: AnyPrecisionConfig,
        sequence: int,
        sequences: int,
        parallel: ModelParallel,
        backend: Backend,
        asked: BackendConfig,
    ) -> None:
        self.model, self.optimizer = build_trained(
            model,
            OPTIMIZER,
            LayoutConfig(microbatch_sequences=sequences),
            precision,
            sequence_length=sequence,
            seed=SEED,
            parallel=parallel,
            backend=backend,
            asked=asked,
        )
        if asked.compile:
            compile_functions(backend, precision)
        self.parallel, self.backend = parallel, backend
        self.batches = itertools.cycle(_random_batches(model, sequence, sequences, backend))
        self.launched: LaunchedStep | None = None
        self.recorded = (
            MicrobatchGraph(self.model, num_sources=1, parallel=parallel, backend=backend)
            if asked.cuda_graphs != "none"
            else None
        )

    def step(self) -> object:
        """As the trainer does, it reads a step once the next one is launched."""
        set_step_sizes(self.optimizer, LEARNING_RATE, OPTIMIZER.weight_decay)
        earlier, self.launched = (
            self.launched,
            launch_step(
                self.model,
                self.optimizer,
                [next(self.batches)],
                num_sources=1,
                parallel=self.parallel,
                backend=self.backend,
                passes=self.recorded,
            ),
        )
        return None if earlier is None else earlier.result()

    def require_graphs(self) -> None:
        """Raises RunError where they were asked for and have been given up."""
        if self.recorded is not None and not self.recorded.is_recorded:
            raise RunError("steps from a CUDA graph differ from those without: the log says how")


class Peer:
    """Plain PyTorch in bf16 with fp32 master weights, as megatron-core's mixed precision has them.
    Its loss is not read, so that it waits for the device at no time."""

    def __init__(
        self,
        model: ModelConfig,
        sequence: int,
        sequences: int,
        backend: Backend,
        *,
        is_compiled: bool,
    ) -> None:
        self.backend = backend
        with direct_calls(), torch.device(backend.device):
            self.trainer = PlainTrainer(
                PlainModel(model, sequence),
                DTYPES["bf16"],
                OPTIMIZER,
                LEARNING_RATE,
                compiled=is_compiled,
            )
        self.batches = itertools.cycle(_random_batches(model, sequence, sequences, backend))

    def step(self) -> object:
        batch = next(self.batches)
        with direct_calls():
            tokens_BS, labels_BS = (
                torch.from_numpy(array).to(self.backend.device, non_blocking=True)
                for array in (batch.tokens, batch.labels)
            )
            return self.trainer.step(tokens_BS, labels_BS)


def peer_words(*, is_compiled: bool) -> str:
    """What it is, for the report."""
    return (
        f"plain PyTorch {torch.__version__}, {'torch.compile' if is_compiled else 'not compiled'}, "
        "scaled_dot_product_attention, bf16 weights with fp32 master weights, fused AdamW, clipping"
    )


def _random_batches(
    model: ModelConfig, sequence: int, sequences: int, backend: Backend
) -> list[Batch]:
    return [
        random_batch(model, number, sequences=sequences, sequence=sequence, backend=backend)
        for number in range(_NUM_BATCHES)
    ]
