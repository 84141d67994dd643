"""Our training step beside a plain PyTorch module of the same shape, weights and batches: by turns,
step by step, in one process."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch

from megatron_codemix.backend.megatron_on_cpu import direct_calls
from megatron_codemix.bench.measure import Cost
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.bench.train.plain import PlainModel, PlainTrainer, take_weights
from megatron_codemix.bench.train.setting import (
    LEARNING_RATE,
    SEED,
    SEQUENCE,
    SEQUENCES,
    UNCOUNTED_STEPS,
    Setting,
    median,
    now,
    one_rank,
    random_batch,
    since,
)
from megatron_codemix.config.schema import AdamWConfig, LayoutConfig, ModelConfig, PrecisionConfig
from megatron_codemix.data.batches import Batch
from megatron_codemix.mcore.build import build_trained
from megatron_codemix.mcore.initial_weights import global_parameters
from megatron_codemix.mcore.model import gpt_of
from megatron_codemix.mcore.optimizer import set_step_sizes
from megatron_codemix.mcore.step import train_step
from megatron_codemix.mcore.transformer import DTYPES

_OPTIMIZER = AdamWConfig(weight_decay=0.1)
_MAX_TIMES: dict[Literal["fp32", "bf16"], float] = {"fp32": 1.05, "bf16": 1.10}
"""The peer's step: the goals."""
_MAX_DIFFERENCE: dict[Literal["fp32", "bf16"], float] = {"fp32": 1e-5, "bf16": 1e-3}
"""Nats. The two round in other places; measured: 6e-8 and 1e-4."""


@dataclass(frozen=True)
class _Comparison:
    ours: Cost
    peer: Cost
    """Medians of a step, in ms."""
    loss_difference: float
    """At equal weights."""


def steps(setting: Setting) -> Iterator[Row]:
    """A step in fp32 and in bf16."""
    for kind, limit in _MAX_TIMES.items():
        found = _compare(setting, kind)
        note = f"user time, median of {setting.num_steps}; at most {limit:g} of the peer's"
        yield Row(
            name=f"{kind}: a step",
            ours=found.ours.user,
            peer=found.peer.user,
            unit="ms",
            goal=Goal(ratio=round(1 / limit, 3)),
            note=note,
            ours_system_seconds=found.ours.system / 1e3,
            peer_system_seconds=found.peer.system / 1e3,
        )
        yield Row(
            name=f"{kind}: a step, by the clock",
            ours=found.ours.wall,
            peer=found.peer.wall,
            unit="ms",
        )
        yield Row(
            name=f"{kind}: losses at equal weights differ by",
            ours=found.loss_difference * 1e6,
            peer=None,
            unit="1e-6 nats",
            goal=Goal(at_most=_MAX_DIFFERENCE[kind] * 1e6),
        )


def _compare(setting: Setting, kind: Literal["fp32", "bf16"]) -> _Comparison:
    model = setting.model
    with one_rank(setting.folder) as (parallel, backend):
        layout = LayoutConfig(microbatch_sequences=SEQUENCES)
        precision = PrecisionConfig(kind=kind)
        wrapped, optimizer = build_trained(
            model,
            _OPTIMIZER,
            layout,
            precision,
            sequence_length=SEQUENCE,
            seed=SEED,
            parallel=parallel,
            backend=backend,
        )
        plain = PlainModel(model, SEQUENCE)
        take_weights(plain, dict(global_parameters(gpt_of(wrapped[0]))), _groups(model))
        peer = PlainTrainer(plain.to(backend.device), DTYPES[kind], _OPTIMIZER, LEARNING_RATE)

        def our_step(batch: Batch) -> float:
            set_step_sizes(optimizer, LEARNING_RATE, _OPTIMIZER.weight_decay)
            return train_step(
                wrapped, optimizer, [batch], num_sources=1, parallel=parallel, backend=backend
            ).loss_nats

        def peer_step(batch: Batch) -> float:
            # Without the mode in which torch's functions are asked where CUDA is (megatron_on_cpu).
            with direct_calls():
                tokens, labels = (torch.from_numpy(part) for part in (batch.tokens, batch.labels))
                return float(peer.step(tokens.to(backend.device), labels.to(backend.device)))

        ours, others, differences = [], [], []
        for number in range(UNCOUNTED_STEPS + setting.num_steps):
            batch = random_batch(
                model, number, sequences=SEQUENCES, sequence=SEQUENCE, backend=backend
            )
            started = now()
            loss = our_step(batch)
            ours.append(since(started))
            started = now()
            differences.append(abs(peer_step(batch) - loss))
            others.append(since(started))
    return _Comparison(
        median(ours[UNCOUNTED_STEPS:]), median(others[UNCOUNTED_STEPS:]), differences[0]
    )


def _groups(model: ModelConfig) -> int:
    return model.num_query_groups or model.num_attention_heads
