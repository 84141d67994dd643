"""Which samples each step takes while the batch grows, compared with megatron-core's calculator,
closed forms and searches."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from megatron_codemix.config.batch_sizes import BatchSizes, batch_sizes
from megatron_codemix.config.layout_checks import check_layout
from megatron_codemix.config.plan import make_plan, nearest_steps
from megatron_codemix.config.schema import RunConfig

Changed = Callable[..., RunConfig]

SEQUENCE = 256
"""Of the `changed` configuration, whose batch is 16."""


def ramp_up(
    changed: Changed, start: int, increment: int, over_tokens: int, *more: str
) -> RunConfig:
    values = f"start_sequences: {start}, increment_sequences: {increment}"
    return changed(f"train.ramp_up={{{values}, over_tokens: {over_tokens}}}", *more)


# The fixture only reads a file.
same_fixture = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def ramp_ups(draw: st.DrawFn) -> tuple[int, int, int]:
    """(start, increment, samples) that lead to a batch of 16."""
    start = draw(st.integers(1, 15))
    increment = draw(st.sampled_from([n for n in range(1, 16) if (16 - start) % n == 0]))
    return start, increment, draw(st.integers(1, 2000))


@pytest.mark.filterwarnings("ignore")  # of megatron-core's imports
@same_fixture
@given(ramp_ups())
def test_batches_are_those_of_megatron_core(changed: Changed, ramp: tuple[int, int, int]) -> None:
    import megatron_codemix.mcore  # noqa: F401, I001  # first: lets it load without CUDA

    from megatron.core.num_microbatches_calculator import RampupBatchsizeNumMicroBatchesCalculator

    start, increment, samples = ramp
    batches = batch_sizes(ramp_up(changed, start, increment, samples * SEQUENCE))
    calculator = RampupBatchsizeNumMicroBatchesCalculator(
        global_batch_size=16,
        micro_batch_size=1,
        data_parallel_size=1,
        decrease_batch_size_if_needed=False,
        rank=1,  # says nothing
        start_global_batch_size=start,
        batch_size_increment=increment,
        ramup_samples=samples,
    )
    parts = (16 - start) // increment
    consumed = step = 0
    while consumed <= samples + 32:
        if samples % parts and consumed and consumed * parts % samples == 0:
            return  # where a part is no whole number, its floats may miss the end of one
        calculator.update(consumed, consistency_check=True)
        assert batches.samples(step) == consumed
        assert batches.sequences(step) == calculator.current_running_global_batch_size
        consumed += calculator.current_running_global_batch_size
        step += 1


def test_steps_follow_from_a_sum(changed: Changed) -> None:
    """4, 8, 12 have 240 samples each: 60 + 30 + 20 steps, and the rest by 16."""
    tokens = 3 * 240 * SEQUENCE
    config = ramp_up(changed, 4, 4, tokens, f"train.train_tokens={tokens + 70 * 16 * SEQUENCE}")
    plan = make_plan(config, 2)
    assert [(s.sequences, s.first_step, s.first_sample) for s in plan.batches.stages] == [
        (4, 0, 0),
        (8, 60, 240),
        (12, 90, 480),
        (16, 110, 720),
    ]
    assert (plan.num_steps, plan.train_tokens) == (180, plan.requested_tokens)
    assert (plan.num_microbatches, plan.tokens_per_step) == (8, 16 * SEQUENCE)


def test_without_a_ramp_up_nothing_depends_on_the_step(changed: Changed) -> None:
    batches = batch_sizes(changed())
    for steps in range(1, 40):
        assert batches.samples(steps) == 16 * steps
        assert [batches.is_due(steps, every) for every in (1, 3, 7)] == [
            steps % every == 0 for every in (1, 3, 7)
        ]
    for tokens in range(1, 5 * 16 * SEQUENCE, 97):
        assert batches.nearest_steps(tokens) == nearest_steps(tokens, 16 * SEQUENCE)


def nearest_by_search(batches: BatchSizes, tokens: int) -> int:
    """Halves round up."""
    return min(range(1, 400), key=lambda steps: (abs(batches.tokens(steps) - tokens), -steps))


@same_fixture
@given(ramp_ups(), st.integers(1, 200_000), st.integers(1, 9))
def test_tokens_and_intervals_mean_the_nearest_step(
    changed: Changed, ramp: tuple[int, int, int], tokens: int, every: int
) -> None:
    start, increment, samples = ramp
    batches = batch_sizes(ramp_up(changed, start, increment, samples % 300 * SEQUENCE + 1))
    assert batches.nearest_steps(tokens) == nearest_by_search(batches, tokens)
    multiples = [every * 16 * SEQUENCE * number for number in range(1, 12)]
    due = {nearest_by_search(batches, multiple) for multiple in multiples}
    last = max(due)
    assert {steps for steps in range(1, last + 1) if batches.is_due(steps, every)} == due


@same_fixture
@given(ramp_ups())
def test_a_sample_is_in_the_step_that_takes_it(
    changed: Changed, ramp: tuple[int, int, int]
) -> None:
    start, increment, samples = ramp
    batches = batch_sizes(ramp_up(changed, start, increment, samples % 300 * SEQUENCE + 1))
    expected = [step for step in range(60) for _ in range(batches.sequences(step))]
    assert [batches.step_of(sample) for sample in range(len(expected))] == expected


def test_every_size_must_divide_over_the_ranks(changed: Changed) -> None:
    config = ramp_up(changed, 4, 2, 6 * 60 * SEQUENCE)
    assert check_layout(config, 2) == []
    (six, ten, fourteen) = check_layout(config, 4)
    assert "train.ramp_up, from step 16 on: 6 is not a multiple of 4" in six
    assert "from step 34 on: 10 is not" in ten
    assert "from step 45 on: 14 is not" in fourteen


def test_interleaved_stages_need_whole_groups_at_every_size(changed: Changed) -> None:
    layout = ["layout.pipeline=2", "layout.virtual_pipeline=2"]
    config = ramp_up(changed, 4, 3, 4 * 60 * SEQUENCE, *layout)
    problems = check_layout(config, 2)
    assert ["of 7 sequences" in problems[0], "of 13 sequences" in problems[1]] == [True, True]
    assert len(problems) == 2


@pytest.mark.parametrize("over", [1, 16 * SEQUENCE])
def test_sizes_that_do_not_come_about_are_not_asked_for(changed: Changed, over: int) -> None:
    """Three sizes within one step: what comes between need not divide."""
    batches = batch_sizes(ramp_up(changed, 4, 4, over))
    assert batches.stages[0].sequences == 4
    assert all(a.first_step < b.first_step for a, b in pairwise(batches.stages))
