"""What follows from a configuration and a world size: steps, microbatches, padded vocabulary. Pure
arithmetic."""

from dataclasses import asdict, dataclass
from typing import Any

from megatron_codemix.config.batch_sizes import BatchSizes, batch_sizes
from megatron_codemix.config.schema import LayoutConfig, RunConfig
from megatron_codemix.units import format_count

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
    """Forward passes of each data-parallel rank in one step of the full batch."""
    tokens_per_step: int
    """Of the full batch."""
    batches: BatchSizes
    """Samples of every step."""
    num_steps: int
    train_tokens: int
    """Tokens that are really trained on: whole steps."""
    requested_tokens: int
    """Tokens that were asked for, before rounding to whole steps."""
    save_every_steps: int
    """This interval and those below count steps of the full batch (`BatchSizes.is_due`)."""
    validate_every_steps: int | None
    """None where nothing is validated."""
    keep_every_steps: int | None
    """Checkpoints at multiples of these are kept for good."""
    padded_vocabulary_size: int

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For `plan.json`."""
        return asdict(self)


def make_plan(config: RunConfig, world_size: int) -> RunPlan:
    """The plan of `config` on `world_size` processes; `checks.check_layout` has ensured that the
    divisions are exact."""
    data_parallel = world_size // config.layout.model_parallel
    per_step, batches, steps = tokens_per_step(config), batch_sizes(config), num_steps(config)
    save_every = config.checkpoint.save_every_tokens
    keep_every = config.checkpoint.keep_every_tokens
    return RunPlan(
        world_size=world_size,
        data_parallel=data_parallel,
        num_microbatches=config.train.global_batch_sequences
        // (config.layout.microbatch_sequences * data_parallel),
        tokens_per_step=per_step,
        batches=batches,
        num_steps=steps,
        train_tokens=batches.tokens(steps),
        requested_tokens=config.train.train_tokens,
        save_every_steps=steps
        if save_every is None
        else min(steps, nearest_steps(save_every, per_step)),
        validate_every_steps=(
            nearest_steps(config.validation.every_tokens, per_step) if config.validation else None
        ),
        keep_every_steps=None if keep_every is None else nearest_steps(keep_every, per_step),
        padded_vocabulary_size=padded_vocabulary_size(config.model.vocabulary_size),
    )


def is_save_due(step: int, plan: RunPlan) -> bool:
    """Whether the run saves after this step: at its intervals, and always at the end."""
    return (
        step == plan.num_steps
        or plan.batches.is_due(step, plan.save_every_steps)
        or is_kept(step, plan)
    )


def is_kept(step: int, plan: RunPlan) -> bool:
    """Whether the checkpoint after this step stays for good."""
    return plan.keep_every_steps is not None and plan.batches.is_due(step, plan.keep_every_steps)


def layout_text(layout: LayoutConfig, data_parallel: int | str) -> str:
    """`TP2 x PP2 x DP1`, with the dimensions that are not in every layout where they are above
    1."""
    extra = {"VP": layout.virtual_pipeline, "CP": layout.context, "EP": layout.expert}
    sizes = {"TP": layout.tensor, "PP": layout.pipeline}
    sizes |= {name: size for name, size in extra.items() if size > 1}
    return " x ".join(f"{name}{size}" for name, size in (sizes | {"DP": data_parallel}).items())


def steps_text(plan: RunPlan) -> str:
    """`100 steps of 2M tokens`, with a ramp-up also where its ends are."""
    batches, full = plan.batches, format_count(plan.tokens_per_step)
    if len(batches.stages) == 1:
        return f"{plan.num_steps} steps of {full} tokens"
    first, last = format_count(batches.tokens(1)), batches.stages[-1]
    return (
        f"{plan.num_steps} steps of {first} to {full} tokens "
        f"(all {last.sequences} sequences from step {last.first_step + 1} on)"
    )


def tokens_per_step(config: RunConfig) -> int:
    """Tokens of one optimizer step with the full batch."""
    return config.train.global_batch_sequences * config.data.sequence_length


def num_steps(config: RunConfig) -> int:
    """Optimizer steps of the phase."""
    return batch_sizes(config).nearest_steps(config.train.train_tokens)


def train_tokens(config: RunConfig) -> int:
    """Tokens of the phase, in whole steps."""
    return batch_sizes(config).tokens(num_steps(config))


def phase_samples(config: RunConfig) -> int:
    """Samples that the phase reads, on any number of processes."""
    return batch_sizes(config).samples(num_steps(config))


def nearest_steps(tokens: int, tokens_per_step: int) -> int:
    """Whole steps nearest to `tokens` (halves round up), at least one."""
    return max(1, (2 * tokens + tokens_per_step) // (2 * tokens_per_step))


def padded_vocabulary_size(vocabulary_size: int) -> int:
    """`vocabulary_size` rounded up to a multiple of 1,024."""
    return -(-vocabulary_size // VOCABULARY_MULTIPLE) * VOCABULARY_MULTIPLE
