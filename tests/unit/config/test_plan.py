"""Arithmetic of the plan."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix.config.plan import make_plan, nearest_steps, padded_vocabulary_size
from megatron_codemix.config.schema import RunConfig


@given(tokens=st.integers(1, 10**18), per_step=st.integers(1, 10**9))
def test_nearest_steps_is_nearest_and_at_least_one(tokens: int, per_step: int) -> None:
    steps = nearest_steps(tokens, per_step)
    assert steps >= 1
    assert steps == 1 or abs(Fraction(tokens, per_step) - steps) <= Fraction(1, 2)


def test_halves_round_up() -> None:
    assert [nearest_steps(tokens, 10) for tokens in (14, 15, 25, 24)] == [1, 2, 3, 2]


@given(st.integers(1, 10**7))
def test_padded_vocabulary_is_the_next_multiple(size: int) -> None:
    padded = padded_vocabulary_size(size)
    assert padded % 1024 == 0
    assert 0 <= padded - size < 1024


def test_plan_of_a_configuration(changed: Callable[..., RunConfig]) -> None:
    plan = make_plan(changed("layout.tensor=2", "layout.microbatch_sequences=2"), 8)
    assert plan.data_parallel == 4
    assert plan.num_microbatches == 2
    assert plan.tokens_per_step == 16 * 256
    assert plan.num_steps == 122  # 500,000 / 4,096 = 122.07
    assert plan.train_tokens == 122 * 4096
    assert plan.requested_tokens == 500_000
    assert plan.padded_vocabulary_size == 8192
    assert plan.save_every_steps == plan.num_steps
    assert plan.as_dict()["world_size"] == 8


@pytest.mark.parametrize(("every", "steps"), [("4096", 1), ("1", 1), ("10K", 2), ("1B", 122)])
def test_saving_is_in_whole_steps(
    changed: Callable[..., RunConfig], every: str, steps: int
) -> None:
    plan = make_plan(changed(f"checkpoint.save_every_tokens={every}"), 1)
    assert plan.save_every_steps == steps
