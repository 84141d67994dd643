"""Where the benchmark works, what it trains and on which batches, and the one rank that trains it.

Shapes: B sequences of a step, S sequence.
"""

import contextlib
import resource
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch.distributed

from megatron_codemix.backend.devices import Backend, select_backend
from megatron_codemix.backend.process_groups import initialize_process_group
from megatron_codemix.bench.measure import Cost
from megatron_codemix.config.schema import BackendConfig, LayoutConfig, ModelConfig
from megatron_codemix.data.batches import Batch, allocate_batch
from megatron_codemix.mcore.groups import (
    ModelParallel,
    destroy_model_parallel,
    initialize_model_parallel,
)

SEED = 1
SEQUENCE = 256
SEQUENCES = 4
"""In a step, which is one microbatch."""
LEARNING_RATE = 1e-3
UNCOUNTED_STEPS = 3
"""At first: everything is used for the first time."""


@dataclass(frozen=True)
class Setting:
    """`scale` shrinks the model: 1 is what the goals are stated for."""

    folder: Path
    scale: float = 1.0
    repeats: int = 5

    @property
    def num_steps(self) -> int:
        """Of each side that are counted."""
        return 8 * self.repeats

    @property
    def model(self) -> ModelConfig:
        """8,547,584 parameters at scale 1."""
        heads = 2 * max(1, round(4 * self.scale**0.5))
        return ModelConfig(
            num_layers=max(1, round(6 * self.scale)),
            hidden_size=32 * heads,
            ffn_hidden_size=86 * heads,
            num_attention_heads=heads,
            num_query_groups=heads // 2,
            vocabulary_size=max(1024, round(8192 * self.scale)),
            tie_embeddings=False,
        )


@contextlib.contextmanager
def one_rank(
    folder: Path, asked: BackendConfig | None = None
) -> Iterator[tuple[ModelParallel, Backend]]:
    """This process as the only rank of a job, until the end of the block; where CUDA graphs are
    asked for, with work that can be recorded."""
    asked = asked or BackendConfig()
    is_recorded = asked.cuda_graphs != "none"
    backend = select_backend(asked.device)
    backend.prepare()
    meeting = folder / "rendezvous"
    meeting.unlink(missing_ok=True)
    initialize_process_group(backend, rank=0, world_size=1, init_method=f"file://{meeting}")
    try:
        with (
            backend.recordable() if is_recorded else contextlib.nullcontext(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # megatron-core warns of its own defaults
            yield initialize_model_parallel(LayoutConfig(), SEED, is_recorded=is_recorded), backend
    finally:
        destroy_model_parallel()
        torch.distributed.destroy_process_group()


def random_batch(
    model: ModelConfig, number: int, *, sequences: int, sequence: int, backend: Backend
) -> Batch:
    """Tokens [B, S] by chance, which follow from `number`, in the memory that a loader would have
    them in."""
    tokens = np.random.default_rng(number).integers(
        0, model.vocabulary_size, (sequences, sequence + 1)
    )
    batch = allocate_batch(sequences, sequence, allocate=backend.allocate_host)
    batch.tokens[:], batch.labels[:] = tokens[:, :-1], tokens[:, 1:]
    batch.source_id[:] = 0
    return batch


def now() -> Cost:
    """What this process has used so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return Cost(usage.ru_utime, usage.ru_stime, time.perf_counter())


def since(start: Cost) -> Cost:
    """What it has used since then."""
    end = now()
    return Cost(end.user - start.user, end.system - start.system, end.wall - start.wall)


def median(costs: Sequence[Cost]) -> Cost:
    """Of each kind of time by itself, in ms."""
    return Cost(*(1e3 * statistics.median(kind) for kind in _by_kind(costs)))


def _by_kind(costs: Sequence[Cost]) -> Iterator[list[float]]:
    yield [cost.user for cost in costs]
    yield [cost.system for cost in costs]
    yield [cost.wall for cost in costs]
