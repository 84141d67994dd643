"""Forward and backward pass of a microbatch as one recorded piece of work (a CUDA graph).

A small model's kernels are shorter than the time the host takes to launch them; a recording is one
launch. It is of one microbatch and not of the step, as megatron-core's full_cuda_graph.py has it:
so it serves any number of them, as in a ramp-up, and holds the activations of one. What happens
once a step (gradients over data-parallel ranks, norm, update) stays outside. megatron-core's graphs
of single layers (cuda_graph_impl) leave embedding, loss and each layer's launch to the host.
"""

import logging
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
import torch.distributed
from megatron.core.distributed import DistributedDataParallel
from torch.utils.dlpack import from_dlpack

from megatron_codemix.backend.devices import Backend
from megatron_codemix.data.batches import Batch
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.step import run_schedule

log = logging.getLogger(__name__)

STEPS_BEFORE = 3
"""Made as without a recording: what is used for the first time then, caches, workspaces of
products, compiled code, communicators, must not be made while it is recorded."""
COMPARED_STEPS = 2
"""After these. Two, because what a recording took from before it instead of computing it is right
until the weights have changed."""
LOSS_TOLERANCE = 1e-5
"""Relative, on sums of losses and counts: forward passes of the same kernels on the same
numbers."""
NORM_TOLERANCE = 0.01
"""On the norm of each parameter's gradient, relative to it and, by a tenth of that, to that of all:
backward kernels of attention and embedding add up in any order."""


class MicrobatchGraph:
    """Passes of a step (`mcore.step.Passes`), from a recording once some steps have been made.

    The first steps with a recording are also made without it, and learned from so: where losses or
    gradients differ, a line says so and the run goes on without a recording.
    """

    steps_before_use = STEPS_BEFORE + COMPARED_STEPS

    def __init__(
        self,
        model: Sequence[DistributedDataParallel],
        *,
        num_sources: int,
        parallel: ModelParallel,
        backend: Backend,
    ) -> None:
        """To be used inside of the backend's `recordable`, in which the model was built as well."""
        [self._chunk] = model  # config/graph_checks.py refuses pipelines
        self._num_sources, self._parallel, self._backend = num_sources, parallel, backend
        self._steps = 0
        self._recording: _Recording | None = None
        self._has_failed = False

    @property
    def is_recorded(self) -> bool:
        """Whether steps are made from a recording by now, which was found right."""
        return self._recording is not None and self._steps >= self.steps_before_use

    def __call__(self, microbatches: Sequence[Batch]) -> list[torch.Tensor]:
        """Reports of the microbatches, or their sum. Every rank calls it, with gradients that are
        zero."""
        if self._has_failed or self._steps < STEPS_BEFORE:
            self._steps += 1
            return self._without(microbatches)
        if self._recording is None:
            # At the start of a step, when nothing is kept of its weights yet.
            self._recording = _Recording(
                self._chunk, microbatches[0], self._num_sources, self._parallel, self._backend
            )
        if self.is_recorded:
            return self._recording.run(microbatches)
        self._steps += 1
        return self._compared(self._recording, microbatches)

    def _without(self, microbatches: Sequence[Batch]) -> list[torch.Tensor]:
        return run_schedule(
            [self._chunk], microbatches, self._num_sources, self._parallel, self._backend
        )

    def _compared(
        self, recording: "_Recording", microbatches: Sequence[Batch]
    ) -> list[torch.Tensor]:
        """Both ways; those without the recording count."""
        found = self._sums_and_norms(recording.run(microbatches))
        self._chunk.zero_grad_buffer()
        reports = self._without(microbatches)
        expected = self._sums_and_norms(reports)
        losses, norms = differences(found, expected, num_sums=4 * self._num_sources)
        is_wrong = torch.tensor(
            float(not (losses <= 1 and norms <= 1)), device=self._backend.device
        )
        if self._parallel.world_size > 1:
            torch.distributed.all_reduce(is_wrong, torch.distributed.ReduceOp.MAX)
        self._tell(losses, norms, is_wrong=bool(is_wrong))
        if is_wrong:
            self._has_failed, self._recording = True, None
        return reports

    def _tell(self, losses: float, norms: float, *, is_wrong: bool) -> None:
        found = (
            f"losses by {losses * LOSS_TOLERANCE:.2g}, gradients by {norms * NORM_TOLERANCE:.2g}"
        )
        if is_wrong:
            log.warning(
                "backend.cuda_graphs: a recorded step differs from the same one without (here "
                "%s, relative; %g and %g are allowed); going on without",
                found,
                LOSS_TOLERANCE,
                NORM_TOLERANCE,
            )
        elif self._steps == self.steps_before_use:
            log.info("backend.cuda_graphs: recorded; it differs in %s, relative", found)

    def _sums_and_norms(self, reports: list[torch.Tensor]) -> np.ndarray:
        """[4 * K + parameters], of this rank: a wait for the device, at these steps alone."""
        sums = torch.stack(reports).sum(0).flatten()
        gradients = [parameter.main_grad for parameter in self._chunk.parameters()]
        norms = torch.stack(torch._foreach_norm(gradients))
        return torch.cat([sums, norms.double()]).cpu().numpy()


def differences(found: np.ndarray, expected: np.ndarray, *, num_sums: int) -> tuple[float, float]:
    """The largest of the sums and of the norms behind them, in parts of what is allowed; 0 where
    both are no number alike, as after a step that is to be skipped anyhow."""
    sums, norms = expected[:num_sums], expected[num_sums:]
    whole = float(np.sqrt(np.sum(norms**2)))
    allowed = np.concatenate(
        [
            LOSS_TOLERANCE * np.maximum(np.abs(sums), 1.0),
            NORM_TOLERANCE * (norms + 0.1 * whole) + np.finfo(np.float32).tiny,
        ]
    )
    is_same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    with np.errstate(invalid="ignore"):
        parts = np.where(is_same, 0.0, np.abs(found - expected) / allowed)
    return float(parts[:num_sums].max()), float(parts[num_sums:].max())


class _Recording:
    """Of one microbatch's passes, which read their batch from memory of its own and add to sums."""

    def __init__(
        self,
        chunk: DistributedDataParallel,
        like: Batch,
        num_sources: int,
        parallel: ModelParallel,
        backend: Backend,
    ) -> None:
        """like: a batch of the shapes that all will have."""
        self._chunk, self._parallel, self._backend = chunk, parallel, backend
        self._num_sources = num_sources
        self._batch = Batch(**{name: _room_for(array, backend) for name, array in _arrays(like)})
        self._sums = torch.zeros(4, num_sources, dtype=torch.float64, device=backend.device)
        self._tokens = torch.zeros((), dtype=torch.int, device=backend.device)
        self._replay = backend.record(self._passes)

    def run(self, microbatches: Sequence[Batch]) -> list[torch.Tensor]:
        """As `Passes`, with one report: the sum, which the next call changes."""
        self._sums.zero_()
        self._tokens.zero_()
        with self._backend.profiled_as("recorded passes"):
            for batch in microbatches:
                for name, array in _arrays(batch):
                    room: Any = getattr(self._batch, name)
                    if array is not None:
                        room.copy_(from_dlpack(array), non_blocking=True)
                self._replay()
        self._chunk.config.finalize_model_grads_func([self._chunk], self._tokens)
        return [self._sums]

    def _passes(self) -> None:
        """What is recorded: the schedule over one microbatch. Where it would finish the gradients,
        as after the last of a step, it counts tokens. It is nobody's first microbatch: Transformer
        Engine's layers would write a gradient there where they add to the sum in the others."""
        chunk, config = self._chunk, self._chunk.config
        finish, config.finalize_model_grads_func = config.finalize_model_grads_func, self._count
        chunk.set_is_first_microbatch = lambda: None
        try:
            [report] = run_schedule(
                [self._chunk], [self._batch], self._num_sources, self._parallel, self._backend
            )
        finally:
            config.finalize_model_grads_func = finish
            del chunk.set_is_first_microbatch  # the class's own comes back
        self._sums.add_(report)

    def _count(self, model: Any, num_tokens: torch.Tensor, **unused: Any) -> None:
        self._tokens.add_(num_tokens)


def _arrays(batch: Batch) -> list[tuple[str, Any]]:
    """By name; None where a batch has no documents."""
    return [(field.name, getattr(batch, field.name)) for field in fields(batch)]


def _room_for(array: np.ndarray | None, backend: Backend) -> Any:
    """A tensor of the device, zero, in the array's place."""
    if array is None:
        return None
    like = from_dlpack(array)
    return torch.zeros(like.shape, dtype=like.dtype, device=backend.device)
