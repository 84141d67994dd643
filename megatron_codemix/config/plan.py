"""What follows from a configuration and a world size: steps, microbatches, padded vocabulary. Pure
arithmetic."""

from dataclasses import asdict, dataclass
from typing import Any

from megatron_codemix.config.schema import RunConfig

VOCABULARY_MULTIPLE = 1024
"""The embedding tables are padded to this, not to a multiple that depends on the tensor-parallel
size, so that a checkpoint has the same shapes in every layout. Tensor-parallel sizes up to 1,024
that are powers of two divide it."""


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """Derived values of one run; saved beside each attempt, because the layout may change between
    attempts."""

    world_size: int
    data_parallel: int
    num_microbatches: int
    """Forward passes of each data-parallel rank in one step."""
    samples_per_step: int
    tokens_per_step: int
    num_steps: int
    train_tokens: int
    """Tokens that are really trained on: whole steps."""
    requested_tokens: int
    """Tokens that were asked for, before rounding to whole steps."""
    save_every_steps: int
    padded_vocabulary_size: int

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For `plan.json`."""
        return asdict(self)


def make_plan(config: RunConfig, world_size: int) -> RunPlan:
    """The plan of `config` on `world_size` processes; `checks.check_layout` has ensured that the
    divisions are exact."""
    data_parallel = world_size // (config.layout.tensor * config.layout.pipeline)
    tokens_per_step = config.train.global_batch_sequences * config.data.sequence_length
    num_steps = nearest_steps(config.train.train_tokens, tokens_per_step)
    save_every = config.checkpoint.save_every_tokens
    return RunPlan(
        world_size=world_size,
        data_parallel=data_parallel,
        num_microbatches=config.train.global_batch_sequences
        // (config.layout.microbatch_sequences * data_parallel),
        samples_per_step=config.train.global_batch_sequences,
        tokens_per_step=tokens_per_step,
        num_steps=num_steps,
        train_tokens=num_steps * tokens_per_step,
        requested_tokens=config.train.train_tokens,
        save_every_steps=num_steps
        if save_every is None
        else min(num_steps, nearest_steps(save_every, tokens_per_step)),
        padded_vocabulary_size=padded_vocabulary_size(config.model.vocabulary_size),
    )


def phase_samples(config: RunConfig) -> int:
    """Samples that the phase reads, on any number of processes."""
    batch = config.train.global_batch_sequences
    return nearest_steps(config.train.train_tokens, batch * config.data.sequence_length) * batch


def nearest_steps(tokens: int, tokens_per_step: int) -> int:
    """Whole steps nearest to `tokens` (halves round up), at least one."""
    return max(1, (2 * tokens + tokens_per_step) // (2 * tokens_per_step))


def padded_vocabulary_size(vocabulary_size: int) -> int:
    """`vocabulary_size` rounded up to a multiple of 1,024."""
    return -(-vocabulary_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
