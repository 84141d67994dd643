"""Learning-rate schedules against closed forms."""

import math
from collections.abc import Callable

import pytest

from megatron_codemix.config.learning_rate import LearningRate, Link, learning_rate
from megatron_codemix.config.plan import train_tokens
from megatron_codemix.config.schedule_checks import check_chain_length, check_parent_schedule
from megatron_codemix.config.schema import (
    ConstantSchedule,
    CosineSchedule,
    LinearSchedule,
    RunConfig,
    ScheduleConfig,
    StepSchedule,
    WsdSchedule,
)

Changed = Callable[..., RunConfig]


def rate(schedule: ScheduleConfig, tokens: int, horizon: int) -> float:
    return LearningRate(schedule=schedule, before=0, horizon=horizon).at(tokens)


def test_cosine_rises_linearly_then_falls_to_the_minimum() -> None:
    schedule = CosineSchedule(peak_lr=1e-3, min_lr=1e-4, warmup_tokens=100)
    assert rate(schedule, 25, 1100) == pytest.approx(2.5e-4)
    assert rate(schedule, 100, 1100) == pytest.approx(1e-3)
    assert rate(schedule, 600, 1100) == pytest.approx((1e-3 + 1e-4) / 2)
    assert rate(schedule, 350, 1100) == pytest.approx(1e-4 + 9e-4 * (1 + math.cos(math.pi / 4)) / 2)
    assert rate(schedule, 1100, 1100) == pytest.approx(1e-4)


def test_cosine_without_warmup_starts_at_the_peak() -> None:
    schedule = CosineSchedule(peak_lr=1e-3, min_lr=0.0, warmup_tokens=0)
    assert rate(schedule, 0, 1000) == pytest.approx(1e-3)


def test_linear_goes_from_start_to_final() -> None:
    schedule = LinearSchedule(start_lr=3e-4, final_lr=1e-6)
    assert rate(schedule, 0, 1000) == pytest.approx(3e-4)
    assert rate(schedule, 500, 1000) == pytest.approx((3e-4 + 1e-6) / 2)
    assert rate(schedule, 1000, 1000) == pytest.approx(1e-6)


def test_constant_stays() -> None:
    schedule = ConstantSchedule(lr=2e-3, warmup_tokens=10)
    assert rate(schedule, 5, 1000) == pytest.approx(1e-3)
    assert rate(schedule, 10, 1000) == rate(schedule, 1000, 1000) == 2e-3


@pytest.mark.parametrize(("decay", "middle"), [("linear", 0.75), ("one_minus_sqrt", 0.5)])
def test_wsd_is_stable_and_then_decays(decay: str, middle: float) -> None:
    schedule = WsdSchedule(
        peak_lr=1e-3, final_lr=0.0, warmup_tokens=100, decay_tokens=400, decay=decay
    )
    assert rate(schedule, 50, 2000) == pytest.approx(5e-4)
    assert {rate(schedule, tokens, 2000) for tokens in (100, 900, 1600)} == {1e-3}
    assert rate(schedule, 1700, 2000) == pytest.approx(1e-3 * middle)  # a quarter of the decay
    assert rate(schedule, 2000, 2000) == 0.0


def test_steps_begin_with_the_step_after_their_point() -> None:
    schedule = StepSchedule(
        peak_lr=1.0,
        warmup_tokens=10,
        steps=[{"from_tokens": 80, "lr": 0.316}, {"from_tokens": 90, "lr": 0.1}],
    )
    found = [rate(schedule, tokens, 100) for tokens in (5, 10, 80, 81, 90, 91, 100)]
    assert found == [0.5, 1.0, 1.0, 0.316, 0.316, 0.1, 0.1]


CURVE = "kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 16384"
CHAIN = f"schedule={{{CURVE}, span: chain, chain_tokens: 294912}}"


def test_a_curve_over_a_chain_is_that_of_one_long_phase(changed: Changed) -> None:
    whole = changed(f"schedule={{{CURVE}}}", "train.train_tokens=294912")
    part = changed(CHAIN, "train.train_tokens=98304")
    expected = learning_rate([Link(config=whole, tokens=294_912)])
    for parents in range(3):
        found = learning_rate([Link(config=part, tokens=98_304)] * (parents + 1))
        for tokens in range(4096, 98_305, 4096):
            assert found.at(tokens) == expected.at(98_304 * parents + tokens)


def test_a_line_without_a_start_goes_on_where_the_parent_was(changed: Changed) -> None:
    stable = changed("schedule={kind: wsd, peak_lr: 4e-4, final_lr: 0, warmup_tokens: 16K,"
                     " decay_tokens: 64K, decay: linear}")  # fmt: skip
    line = changed("schedule={kind: linear, final_lr: 0}", "init_from={run: x, load: weights}")
    end = train_tokens(stable)
    for branch, expected in ((102_400, 4e-4), (end - 32_000, 2e-4)):
        chain = [Link(config=stable, tokens=branch), Link(config=line, tokens=0)]
        found = learning_rate(chain)
        assert found.at(0) == pytest.approx(expected)
        assert found.at(train_tokens(line) // 2) == pytest.approx(expected / 2)


def test_schedules_of_a_chain_that_do_not_fit_are_named(changed: Changed) -> None:
    config = changed(CHAIN)
    other = changed("schedule.peak_lr=1e-3")
    assert "span is chain" in check_parent_schedule(config, other)[0]
    assert check_parent_schedule(config, config) == []
    assert check_chain_length(config, [100_000, 200_000]) == []
    assert "chain_tokens" in check_chain_length(config, [300_000, 300_000])[0]
