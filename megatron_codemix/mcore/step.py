"""One optimizer step, and the forward pass that validation shares.

Nothing here waits for the device before a result is read (tests/distributed/test_device_waits.py).

Shapes: B microbatch, S sequence, C the part of it that a context-parallel rank has, K sources.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.distributed
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import MegatronOptimizer
from megatron.core.pipeline_parallel import get_forward_backward_func
from torch.utils.dlpack import from_dlpack

from megatron_codemix.backend.devices import Backend
from megatron_codemix.backend.host_copies import HostCopy
from megatron_codemix.data.batches import Batch
from megatron_codemix.mcore.context import context_part
from megatron_codemix.mcore.fp8.linear import finish_step, weights_kept
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.layers import document_attention_mask
from megatron_codemix.mcore.model import direct_calls
from megatron_codemix.mcore.update import gradient_norm, update

Passes: TypeAlias = Callable[[Sequence[Batch]], list[torch.Tensor]]
"""Forward and backward passes of a step's microbatches, up to gradients that are ready for the
update; reports as of `run_schedule`."""


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """What one step did; equal on every rank."""

    source_nats: np.ndarray
    """Sum of the token losses of each source, in nats; float64 [K]."""
    source_tokens: np.ndarray
    """Tokens that counted in the loss, of each source; int64 [K]."""
    source_samples: np.ndarray
    """Samples consumed, of each source; int64 [K]."""
    grad_norm: float
    """Global gradient norm before clipping."""
    z_loss_nats: float = 0.0
    """Mean z-loss of a token, with its coefficient; not in the losses above."""

    @property
    def loss_nats(self) -> float:
        """Mean loss of a token; 0 where none counted, as in windows without an answer."""
        return float(self.source_nats.sum() / max(1, self.source_tokens.sum()))


@dataclass(frozen=True)
class LaunchedStep:
    """A step that the device was asked for, and may still be at."""

    _sums: HostCopy
    """float64: totals [4, K] as `_loss` reports them, then squares of the gradient norm [G]."""
    _num_sources: int

    def result(self) -> StepResult:
        """Waits for the step."""
        sums = self._sums.read().numpy()
        totals = sums[: 4 * self._num_sources].reshape(4, -1)
        return StepResult(
            source_nats=totals[0],
            source_tokens=totals[1].astype(np.int64),
            source_samples=totals[2].astype(np.int64),
            grad_norm=gradient_norm(sums[4 * self._num_sources :].tolist()),
            z_loss_nats=float(totals[3].sum() / max(1.0, totals[1].sum())),
        )


def launch_step(
    model: Sequence[DistributedDataParallel],
    optimizer: MegatronOptimizer,
    microbatches: Sequence[Batch],
    *,
    num_sources: int,
    parallel: ModelParallel,
    backend: Backend,
    passes: Passes | None = None,
) -> LaunchedStep:
    """Forward, backward and update over this data-parallel rank's microbatches. Every rank calls
    it.

    The microbatches' memory is to be left as it is until the result was read.
    passes: in the place of `run_schedule`, as a recording of it.
    """
    for chunk in model:
        chunk.zero_grad_buffer()
    optimizer.zero_grad()
    if passes is not None:
        reports = passes(microbatches)
    else:
        reports = run_schedule(model, microbatches, num_sources, parallel, backend)
    with backend.profiled_as("update"):
        squares = update(optimizer, backend.device)
    finish_step(model, parallel.groups.tp_dp_cp)
    totals = reduce_reports(reports, (4, num_sources), parallel, backend)
    sums = torch.cat([totals.flatten(), squares.double()])
    return LaunchedStep(backend.copy_to_host(sums), num_sources)


def train_step(
    model: Sequence[DistributedDataParallel],
    optimizer: MegatronOptimizer,
    microbatches: Sequence[Batch],
    *,
    num_sources: int,
    parallel: ModelParallel,
    backend: Backend,
    passes: Passes | None = None,
) -> StepResult:
    """`launch_step` and its result. Every rank calls it."""
    return launch_step(
        model,
        optimizer,
        microbatches,
        num_sources=num_sources,
        parallel=parallel,
        backend=backend,
        passes=passes,
    ).result()


def run_schedule(
    model: Sequence[DistributedDataParallel],
    microbatches: Sequence[Batch],
    num_sources: int,
    parallel: ModelParallel,
    backend: Backend,
) -> list[torch.Tensor]:
    """megatron-core's pipeline schedule over the microbatches; the last stage's reports, []
    elsewhere."""
    size, length = microbatches[0].tokens.shape
    step = partial(_forward_step, num_sources=num_sources, parallel=parallel, backend=backend)
    batches = [iter(microbatches) for _ in model]
    with weights_kept(model):
        reports: list[torch.Tensor] = get_forward_backward_func()(
            forward_step_func=step,
            data_iterator=batches if len(model) > 1 else batches[0],
            model=list(model) if len(model) > 1 else model[0],
            num_microbatches=len(microbatches),
            seq_length=length,
            micro_batch_size=size,
            forward_only=False,
        )
    return reports


def _forward_step(
    batches: Iterator[Batch],
    model: Any,
    *,
    num_sources: int,
    parallel: ModelParallel,
    backend: Backend,
) -> tuple[torch.Tensor, Any]:
    batch = next(batches)
    return forward_losses(model, batch, parallel, backend), partial(
        _loss, batch=batch, num_sources=num_sources, parallel=parallel, backend=backend
    )


def forward_losses(model: Any, batch: Batch, parallel: ModelParallel, backend: Backend) -> Any:
    """Losses [B, C], or with z-losses [2, B, C]. Every pipeline stage reads the batch itself, so
    every stage has the mask."""
    mask = None
    if batch.document_ids is not None:
        mask = document_attention_mask(on_device(batch.document_ids, backend))
        mask = context_part(mask, parallel, dim=2)
    tokens_BC, positions_BC, labels_BC = (
        context_part(on_device(array, backend), parallel, dim=1)
        for array in (batch.tokens, batch.position_ids, batch.labels)
    )
    with direct_calls(model):
        return model(tokens_BC, positions_BC, mask, labels=labels_BC)


def loss_parts(losses: torch.Tensor) -> torch.Tensor:
    """[P, B, C]: the cross-entropies, and where the model has them the z-losses."""
    return losses if losses.dim() == 3 else losses.unsqueeze(0)


def _loss(
    losses: torch.Tensor,
    *,
    batch: Batch,
    num_sources: int,
    parallel: ModelParallel,
    backend: Backend,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Sum of the losses, tokens that counted, and the report: per source nats, tokens, samples,
    nats of z-loss; float64 [4, K]. All of this rank's part of the samples; a sample is counted by
    one rank.

    megatron-core divides the gradients by the tokens of the whole batch, summed over data- and
    context-parallel ranks (calculate_per_token_loss). Its other ways divide by the tokens or the
    microbatches of a rank, which is wrong as soon as those differ, and scale by the context size.
    """
    mask_BC = context_part(on_device(batch.loss_mask, backend), parallel, dim=1)
    masked_PBC = loss_parts(losses).float() * mask_BC
    nats_PB = masked_PBC.detach().double().sum(2)
    source_B = on_device(batch.source_id, backend).long()
    counted = float(parallel.context_rank == 0)
    report = torch.zeros(4, num_sources, dtype=torch.float64, device=mask_BC.device)
    report[0].index_add_(0, source_B, nats_PB[0])
    report[1].index_add_(0, source_B, mask_BC.double().sum(1))
    report[2].index_add_(0, source_B, torch.full_like(source_B, counted, dtype=torch.float64))
    report[3].index_add_(0, source_B, nats_PB[1:].sum(0))
    return masked_PBC.sum(), mask_BC.sum().int(), report


def reduce_reports(
    reports: list[torch.Tensor], shape: tuple[int, ...], parallel: ModelParallel, backend: Backend
) -> torch.Tensor:
    """Sum over microbatches and over data- and context-parallel ranks of what the last stage has,
    brought to every rank; float64 of this shape, on the device."""
    total = torch.zeros(shape, dtype=torch.float64, device=backend.device)
    for report in reports:
        total += report
    if parallel.is_last_stage and parallel.data_size * parallel.context_size > 1:
        torch.distributed.all_reduce(total, group=parallel.groups.dp_cp)
    if parallel.pipeline_size > 1:
        torch.distributed.broadcast(
            total, src=parallel.last_pipeline_rank, group=parallel.groups.pp
        )
    return total


def on_device(array: np.ndarray | torch.Tensor, backend: Backend) -> torch.Tensor:
    """Through DLPack, as a loader may give arrays that are on the device already. Not waited for:
    host memory is not written again before the step is over and its result was read
    (`LaunchedStep`). A tensor is one of a recording, which reads it where it lies."""
    if isinstance(array, torch.Tensor):
        return array
    return from_dlpack(array).to(backend.device, non_blocking=True)
