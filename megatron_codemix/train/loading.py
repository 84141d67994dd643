"""The loader of a run: which batches this rank reads at each step, and who prepares them."""

from typing import Protocol

from megatron_codemix.backend.devices import Backend
from megatron_codemix.data.batches import Batch, allocate_batch, samples_of_step
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.loading.dali import DaliLoader
from megatron_codemix.data.loading.prefetcher import Prefetcher
from megatron_codemix.data.shards.layout import token_dtype
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.train.phase import Phase


class StepLoader(Protocol):
    """The microbatches of one step after the other."""

    def take(self) -> list[Batch]:
        """The next step's; what the last call returned may be overwritten from now on."""
        ...

    def close(self) -> None: ...


def open_loader(
    phase: Phase,
    dataset: MixtureDataset,
    parallel: ModelParallel,
    backend: Backend,
    *,
    first_step: int,
) -> StepLoader:
    """What this rank reads from `first_step` (from 0) to the end of the phase."""
    config, plan = phase.config, phase.plan
    steps = range(first_step, plan.num_steps)
    microbatch = config.layout.microbatch_sequences

    def fill(step: int, batches: list[Batch]) -> None:
        samples = samples_of_step(
            step,
            global_batch=plan.samples_per_step,
            dp_rank=parallel.data_rank,
            dp_size=parallel.data_size,
            microbatch=microbatch,
        )
        for indices, batch in zip(samples, batches, strict=True):
            dataset.batch(indices, into=batch)

    def allocate() -> list[Batch]:
        return [
            allocate_batch(
                microbatch,
                dataset.sequence_length,
                with_documents=dataset.document_mask,
                allocate=backend.allocate_host,
            )
            for _ in range(plan.samples_per_step // (parallel.data_size * microbatch))
        ]

    if config.data.loader == "dali":
        return DaliLoader(
            steps,
            fill,
            allocate(),
            token_dtype=token_dtype(config.model.vocabulary_size),
            device_id=backend.device.index,
            depth=config.data.prefetch_steps,
        )
    return Prefetcher(steps, fill, allocate, depth=config.data.prefetch_steps)
