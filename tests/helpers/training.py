"""Trains a small model on generated batches inside one rank; what the distributed tests compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any  # torch's and megatron-core's types: imported in ranks alone

import numpy as np

from megatron_codemix.backend.environment import DeviceChoice
from megatron_codemix.config.mup import width_ratio
from megatron_codemix.config.schema import (
    AdamWConfig,
    AnyPrecisionConfig,
    BackendConfig,
    LayoutConfig,
    ModelConfig,
    OptimizerConfig,
    PrecisionConfig,
)
from megatron_codemix.data.batches import Batch, samples_of_step
from megatron_codemix.files import write_json
from megatron_codemix.launch.placement import RankContext

SEQUENCE = 64
GLOBAL_BATCH = 8
SEED = 3

MODEL = ModelConfig(
    num_layers=4,
    hidden_size=64,
    ffn_hidden_size=128,
    num_attention_heads=4,
    num_query_groups=2,
    vocabulary_size=256,
    tie_embeddings=False,
)
OPTIMIZER = AdamWConfig(weight_decay=0.1)
OUR_LAYERS = BackendConfig(engine="torch")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to train, from which checkpoint, and where to leave one."""

    layout: LayoutConfig
    precision: AnyPrecisionConfig | str = "fp32"
    """A name: of a format for all."""
    optimizer: OptimizerConfig = OPTIMIZER
    model: ModelConfig = MODEL
    device: DeviceChoice = "cpu"
    is_recorded: bool = False
    """Whether a GPU's work will be, by a `MicrobatchGraph`."""
    backend: BackendConfig = OUR_LAYERS
    """Whose layers, on a GPU."""
    first_step: int = 0
    num_steps: int = 10
    first_label: int = 0
    """Labels before this place of a sample do not count."""
    config_changes: Mapping[str, object] = field(default_factory=dict)
    """Fields of megatron-core's configuration that are changed behind the project's back."""
    load: Path | None = None
    save: Path | None = None

    @property
    def asked_precision(self) -> AnyPrecisionConfig:
        named = isinstance(self.precision, str)
        return PrecisionConfig(kind=self.precision) if named else self.precision

    @property
    def steps(self) -> range:
        return range(self.first_step, self.first_step + self.num_steps)


@dataclass(frozen=True)
class Curve:
    """One number for each step."""

    loss: list[float]
    grad_norm: list[float]
    source_nats: list[list[float]]
    z_loss: list[float]


def markov_batch(samples: list[int]) -> Batch:
    """Tokens that mostly follow from the one before; sample i is a function of i. Odd samples are
    source 1."""
    table = np.random.default_rng(7).integers(0, 256, 256)
    rows = np.empty((len(samples), SEQUENCE + 1), np.int64)
    for row, number in enumerate(samples):
        rng = np.random.default_rng(number)
        rows[row] = rng.integers(0, 256, SEQUENCE + 1)
        for place in np.flatnonzero(rng.random(SEQUENCE) < 0.9):
            rows[row, place + 1] = table[rows[row, place]]
    shape = (len(samples), SEQUENCE)
    return Batch(
        tokens=rows[:, :-1].copy(),
        labels=rows[:, 1:].copy(),
        loss_mask=np.ones(shape, np.float32),
        position_ids=np.tile(np.arange(SEQUENCE), (len(samples), 1)),
        document_ids=None,
        source_id=np.array([number % 2 for number in samples], np.int16),
    )


def train_run(
    context: RankContext,
    config: Path,
    overrides: Sequence[str],
    run: Path,
    backend: Any = None,
) -> None:
    """What `codemix train` does inside its ranks: a whole run, from its configuration to its last
    checkpoint. backend: absent: the CPU."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore.groups import initialize_model_parallel
    from megatron_codemix.train import rank
    from megatron_codemix.train.phase import prepare_phase, start_attempt
    from megatron_codemix.train.provenance import provenance

    runs_here = backend is None
    phase = prepare_phase(config, overrides, run, context.world_size, runs_here=runs_here)
    if context.rank == 0:
        attempt = phase.run.attempt(start_attempt(phase))
        write_json(attempt / "provenance.json", provenance(phase.data, backend="cpu", device="CPU"))
    parallel = initialize_model_parallel(phase.config.layout, phase.config.train.seed)
    while not rank._train_to_end(phase, parallel, backend or select_backend("cpu")):
        pass


def train_on_rank(context: RankContext, job: Job) -> Curve:
    """The whole path that a run takes around its steps, on batches made above."""
    from megatron_codemix.mcore.checkpoint import load_checkpoint, save_checkpoint

    model, optimizer, parallel, backend = build_with_optimizer(job)
    if job.load is not None:
        load_checkpoint(job.load, model, optimizer, with_state=True)
    curve = train_steps(job, model, optimizer, parallel, backend, job.steps)
    if job.save is not None:
        save_checkpoint(job.save, model, optimizer, {"step": job.num_steps}, parallel)
    return curve


def train_steps(job, model, optimizer, parallel, backend, steps, passes=None) -> Curve:  # type: ignore[no-untyped-def]  # torch is imported inside
    """Makes the steps of these numbers; passes: as of `train_step`."""
    from megatron_codemix.mcore.optimizer import set_step_sizes
    from megatron_codemix.mcore.step import train_step

    curve = Curve([], [], [], [])
    for step in steps:
        set_step_sizes(optimizer, lr=3e-3 * min(1.0, (step + 1) / 3), weight_decay=0.1)
        batches = [
            markov_batch(samples)
            for samples in samples_of_step(
                step,
                global_batch=GLOBAL_BATCH,
                dp_rank=parallel.data_rank,
                dp_size=parallel.data_size,
                microbatch=job.layout.microbatch_sequences,
            )
        ]
        for batch in batches:
            batch.loss_mask[:, : job.first_label] = 0
        result = train_step(
            model,
            optimizer,
            batches,
            num_sources=2,
            parallel=parallel,
            backend=backend,
            passes=passes,
        )
        curve.loss.append(result.loss_nats)
        curve.grad_norm.append(result.grad_norm)
        curve.source_nats.append(result.source_nats.tolist())
        curve.z_loss.append(result.z_loss_nats)
    return curve


def build_with_optimizer(job: Job):  # type: ignore[no-untyped-def]  # torch is imported inside
    """(wrapped model chunks, optimizer, ModelParallel, Backend) of this rank."""
    from megatron_codemix.mcore.model import wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer

    chunks, parallel, backend = build_on_rank(job)
    precision = job.asked_precision
    model = wrap_data_parallel(chunks, job.layout, parallel)
    optimizer = build_optimizer(
        job.optimizer, job.layout, precision, model, parallel, width_ratio=width_ratio(job.model)
    )
    return model, optimizer, parallel, backend


def build_on_rank(job: Job):  # type: ignore[no-untyped-def]  # torch is imported inside
    """(model chunks with their weights at step 0, ModelParallel, Backend) of this rank."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore import model as model_module
    from megatron_codemix.mcore.groups import initialize_model_parallel
    from megatron_codemix.mcore.model import build_model

    build_config = model_module.build_transformer_config

    def build_changed_config(*arguments):  # type: ignore[no-untyped-def]
        config = build_config(*arguments)
        for name, value in job.config_changes.items():
            assert hasattr(config, name)
            setattr(config, name, value)
        return config

    model_module.build_transformer_config = build_changed_config
    backend = select_backend(job.device)
    parallel = initialize_model_parallel(job.layout, SEED, is_recorded=job.is_recorded)
    chunks = build_model(
        job.model,
        job.layout,
        job.asked_precision,
        sequence_length=SEQUENCE,
        seed=SEED,
        parallel=parallel,
        backend=backend,
        asked=job.backend,
    )
    return chunks, parallel, backend


def token_losses(model: Any, batch: Batch, parallel: Any, backend: Any) -> Any:
    """Loss of every label in nats, fp32 [B, S], without gradients; for a model in one chunk, on one
    context-parallel rank."""
    import torch

    from megatron_codemix.mcore.step import forward_losses, loss_parts

    with torch.no_grad():
        losses = forward_losses(model, batch, parallel, backend)
    return loss_parts(losses)[0].float()
