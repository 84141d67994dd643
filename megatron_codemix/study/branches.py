"""Phases that start in the middle of their parent: whether it keeps a checkpoint there."""

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from megatron_codemix.config.batch_sizes import batch_sizes
from megatron_codemix.config.plan import nearest_steps, num_steps, tokens_per_step
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.lineage import start_step
from megatron_codemix.units import format_count


class Branch(NamedTuple):
    """A phase and its parent."""

    parent: RunConfig
    config: RunConfig


def branch_problems(
    branch: Branch, token_scale: Decimal, as_given: Callable[[], Branch]
) -> list[str]:
    """What keeps a phase from starting where its `init_from.at_tokens` says.

    as_given: the same with the tokens that the study file states; asked for only where something is
        wrong.
    """
    parent, origin = branch.parent, branch.config.init_from
    if origin is None or origin.at_tokens is None:
        return []
    step, last, keep_every = start_step(origin, parent), num_steps(parent), _kept_steps(parent)
    if step == last:
        return []
    if step < last and keep_every is not None and batch_sizes(parent).is_due(step, keep_every):
        return []
    given, scaled = _stated(as_given()), _stated(branch)
    at = format_count(given.at)
    if step > last:
        found = f"step {step} of {last}"
        if token_scale != 1:
            tokens = f"{format_count(scaled.at)} of {format_count(scaled.length)} tokens"
            found = f"at a token scale of {token_scale:g}: {tokens}, {found}"
        return [
            f"init_from.at_tokens: {at} lies behind the end of the parent, which has "
            f"{format_count(given.length)} ({found}); lower it, or train the parent longer"
        ]
    if keep_every is not None and given.keep is not None and given.at % given.keep == 0:
        return [_rounding_problem(given, scaled, step, keep_every, token_scale, parent)]
    return [
        f"init_from.at_tokens: {at}: the parent does not keep a checkpoint there (step {step}); "
        "set its checkpoint.keep_every_tokens so that this is a multiple of it"
    ]


def _rounding_problem(
    given: "_Stated",
    scaled: "_Stated",
    step: int,
    keep_every: int,
    token_scale: Decimal,
    parent: RunConfig,
) -> str:
    """Where tokens are a multiple and steps are none. keep_every: steps."""
    assert given.keep is not None, "its checkpoints are kept"
    assert scaled.keep is not None, "its checkpoints are kept"
    at, size = format_count(given.at), tokens_per_step(parent)
    found, remedy = "", f"make both multiples of {size}"
    if token_scale != 1:
        tokens = f"{format_count(scaled.at)} and {format_count(scaled.keep)} tokens"
        found = f"at a token scale of {token_scale:g} they are {tokens}, and "
        whole_scale = keep_every * size / given.keep
        remedy = f"take a token scale of {whole_scale:.8g}, at which they are whole steps"
    return (
        f"init_from.at_tokens: {at} is a multiple of the parent's checkpoint.keep_every_tokens "
        f"{format_count(given.keep)}, but {found}rounded to whole steps of {size} tokens this is "
        f"step {step}, and a checkpoint is kept every {keep_every} steps; {remedy}, or set the "
        f"parent's checkpoint.keep_every_tokens to {at} too"
    )


class _Stated(NamedTuple):
    """Tokens, as a configuration has them."""

    at: int
    keep: int | None
    length: int
    """Of the parent."""


def _stated(branch: Branch) -> _Stated:
    origin, parent = branch.config.init_from, branch.parent
    assert origin is not None, "it is a branch"
    assert origin.at_tokens is not None, "it is a branch"
    return _Stated(origin.at_tokens, parent.checkpoint.keep_every_tokens, parent.train.train_tokens)


def _kept_steps(parent: RunConfig) -> int | None:
    kept = parent.checkpoint.keep_every_tokens
    return None if kept is None else nearest_steps(kept, tokens_per_step(parent))
