"""The loader of a run: which batches this rank reads at each step, and who prepares them."""

import logging
from collections.abc import Iterable
from typing import Protocol

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.batches import Batch, allocate_batch, samples_of_batch
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.loading.dali import DaliLoader
from megatron_codemix.data.loading.prefetcher import Prefetcher
from megatron_codemix.data.shards.layout import token_dtype
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.train.phase import Phase

log = logging.getLogger(__name__)


class _Buffers(Protocol):
    """As many microbatches as the largest step has, filled for one step after the other."""

    def take(self) -> list[Batch]: ...

    def close(self) -> None: ...


class StepLoader:
    """The microbatches of one step after the other."""

    def __init__(self, buffers: _Buffers, num_microbatches: Iterable[int]) -> None:
        """num_microbatches: of each step."""
        self._buffers, self._num_microbatches = buffers, iter(num_microbatches)

    def take(self) -> list[Batch]:
        """The next step's; what the call `steps_ahead` before the last returned may be overwritten
        from now on. Raises StopIteration after the last step."""
        return self._buffers.take()[: next(self._num_microbatches)]

    def close(self) -> None:
        """Frees the buffers, and ends the thread that fills them."""
        self._buffers.close()


def steps_ahead(config: RunConfig, backend: Backend) -> int:
    """Steps that may be launched while the device still reads the batch of an earlier one."""
    # DALI takes its memory back at its next step, whatever the GPU still reads of it.
    return 0 if config.data.loader == "dali" else backend.steps_ahead


def open_loader(
    phase: Phase,
    dataset: MixtureDataset,
    parallel: ModelParallel,
    backend: Backend,
    *,
    first_step: int,
) -> StepLoader:
    """What this rank reads from `first_step` (from 0) to the end of the phase."""
    config, batches = phase.config, phase.plan.batches
    steps = range(first_step, phase.plan.num_steps)
    at_once = parallel.data_size * config.layout.microbatch_sequences
    most = batches.full // at_once

    def fill(step: int, buffers: list[Batch]) -> None:
        samples = samples_of_batch(
            batches.samples(step),
            global_batch=batches.sequences(step),
            dp_rank=parallel.data_rank,
            dp_size=parallel.data_size,
            microbatch=config.layout.microbatch_sequences,
        )
        # A step of the ramp-up leaves the last ones as they are.
        for indices, buffer in zip(samples, buffers, strict=False):
            dataset.batch(indices, into=buffer)

    def allocate() -> list[Batch]:
        return [_allocate(config, dataset, backend) for _ in range(most)]

    depth = config.data.prefetch_steps
    buffers: _Buffers
    if config.data.loader == "dali":
        dtype, device = token_dtype(config.model.vocabulary_size), backend.device.index
        buffers = DaliLoader(
            steps, fill, allocate(), token_dtype=dtype, device_id=device, depth=depth
        )
    else:
        kept = steps_ahead(config, backend)
        buffers = Prefetcher(steps, fill, allocate, depth=depth, kept=kept)
    return StepLoader(buffers, (batches.sequences(step) // at_once for step in steps))


def _allocate(config: RunConfig, dataset: MixtureDataset, backend: Backend) -> Batch:
    """A microbatch to be filled."""
    return allocate_batch(
        config.layout.microbatch_sequences,
        dataset.sequence_length,
        with_documents=dataset.document_mask,
        allocate=backend.allocate_host,
    )


def tell_of_cut_conversations(dataset: MixtureDataset) -> None:
    """Into the log, where samples are too short for some of the conversations."""
    for name, packed in dataset.packed_conversations.items():
        if packed.num_cut:
            log.info(
                "source %s: %d of %d conversations are longer than a sample of %d tokens and cut "
                "at its end; of these %d have no answer before the cut and are left out",
                name,
                packed.num_cut,
                len(packed.lengths),
                dataset.sequence_length,
                packed.num_left_out,
            )
