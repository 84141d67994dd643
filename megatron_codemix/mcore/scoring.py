"""Losses on held-out text with the model as it lies in its layout, between two training steps.

Shapes: B microbatch, S sequence, C the part of it that a context-parallel rank has, G groups.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.pipeline_parallel import get_forward_backward_func

from megatron_codemix.backend.devices import Backend
from megatron_codemix.data.batches import Batch
from megatron_codemix.mcore.context import context_part
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.step import forward_losses, loss_parts, on_device, reduce_reports


@dataclass(frozen=True, kw_only=True)
class GroupedBatch:
    """Samples whose losses are summed by groups of labels."""

    batch: Batch
    groups: np.ndarray
    """Group of each label, int64 [B, S]; of those that do not count, any."""


def group_nats(
    model: Sequence[DistributedDataParallel],
    microbatches: Sequence[GroupedBatch],
    *,
    num_groups: int,
    parallel: ModelParallel,
    backend: Backend,
) -> np.ndarray:
    """Sum of the losses of each group in nats, float64 [G], over all data-parallel ranks; equal on
    every rank. Every rank calls it with as many microbatches of one shape; nothing changes in the
    model."""
    size, length = microbatches[0].batch.tokens.shape
    step = partial(_score, num_groups=num_groups, parallel=parallel, backend=backend)
    batches = [iter(microbatches) for _ in model]
    is_single = len(model) == 1
    with _in_evaluation(model), torch.no_grad():
        reports: list[torch.Tensor] = get_forward_backward_func()(
            forward_step_func=step,
            data_iterator=batches[0] if is_single else batches,
            model=model[0] if is_single else list(model),
            num_microbatches=len(microbatches),
            seq_length=length,
            micro_batch_size=size,
            forward_only=True,
        )
    return reduce_reports(reports, (num_groups,), parallel, backend).cpu().numpy()


@contextmanager
def _in_evaluation(model: Sequence[DistributedDataParallel]) -> Iterator[None]:
    """Weights that are gathered while the forward pass goes on are gathered before it instead: its
    hooks expect a training step. Products are bf16 where training has them in FP8, as in `codemix
    evaluate`."""
    gathering = [chunk for chunk in model if chunk.ddp_config.overlap_param_gather]
    for chunk in gathering:
        chunk.disable_forward_pre_hook(param_sync=True)
    engine = model[0].config
    fp8, engine.fp8 = engine.fp8, None  # megatron-core's layers ask for it in each forward pass
    for chunk in model:
        chunk.eval()
    yield
    for chunk in model:
        chunk.train()
    engine.fp8 = fp8
    for chunk in gathering:
        chunk.enable_forward_pre_hook()


def _score(
    batches: Iterator[GroupedBatch],
    model: Any,
    *,
    num_groups: int,
    parallel: ModelParallel,
    backend: Backend,
) -> tuple[torch.Tensor, Any]:
    grouped = next(batches)
    losses = forward_losses(model, grouped.batch, parallel, backend)

    def report(losses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mask_BC, groups_BC = (
            context_part(on_device(array, backend), parallel, dim=1)
            for array in (grouped.batch.loss_mask, grouped.groups)
        )
        masked_BC = loss_parts(losses)[0].double() * mask_BC
        sums = torch.zeros(num_groups, dtype=torch.float64, device=masked_BC.device)
        sums.index_add_(0, groups_BC.reshape(-1), masked_BC.reshape(-1))
        return masked_BC.sum(), mask_BC.sum().int(), sums

    return losses, report
