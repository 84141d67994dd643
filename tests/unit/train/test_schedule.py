"""Learning-rate schedules against closed forms."""

import math

import pytest

from megatron_codemix.config.schema import ConstantSchedule, CosineSchedule, LinearSchedule
from megatron_codemix.train.schedule import learning_rate

COSINE = CosineSchedule(peak_lr=1e-3, min_lr=1e-4, warmup_tokens=100)


def test_cosine_rises_linearly_then_falls_to_the_minimum() -> None:
    assert learning_rate(COSINE, 25, 1100) == pytest.approx(2.5e-4)
    assert learning_rate(COSINE, 100, 1100) == pytest.approx(1e-3)
    assert learning_rate(COSINE, 600, 1100) == pytest.approx((1e-3 + 1e-4) / 2)
    assert learning_rate(COSINE, 350, 1100) == pytest.approx(
        1e-4 + 9e-4 * (1 + math.cos(math.pi / 4)) / 2
    )
    assert learning_rate(COSINE, 1100, 1100) == pytest.approx(1e-4)


def test_cosine_without_warmup_starts_at_the_peak() -> None:
    schedule = CosineSchedule(peak_lr=1e-3, min_lr=0.0, warmup_tokens=0)
    assert learning_rate(schedule, 0, 1000) == pytest.approx(1e-3)


def test_linear_goes_from_start_to_final() -> None:
    schedule = LinearSchedule(start_lr=3e-4, final_lr=1e-6)
    assert learning_rate(schedule, 0, 1000) == pytest.approx(3e-4)
    assert learning_rate(schedule, 500, 1000) == pytest.approx((3e-4 + 1e-6) / 2)
    assert learning_rate(schedule, 1000, 1000) == pytest.approx(1e-6)


def test_constant_stays() -> None:
    schedule = ConstantSchedule(lr=2e-3, warmup_tokens=10)
    assert learning_rate(schedule, 5, 1000) == pytest.approx(1e-3)
    assert learning_rate(schedule, 10, 1000) == learning_rate(schedule, 1000, 1000) == 2e-3
