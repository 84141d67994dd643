"""Axes: where values stand, and ticks that people would choose."""

import math

import pytest

from megatron_codemix.report.page.scales import Scale, scale_over, signed_words, tick_words


def test_places_are_linear_or_logarithmic() -> None:
    linear = Scale(low=-1.0, high=3.0)
    assert [linear.percent(value) for value in (-1, 0, 1, 3)] == [0, 25, 50, 100]
    log = Scale(low=1e8, high=1e10, is_log=True)
    assert [log.percent(value) for value in (1e8, 1e9, 1e10)] == [0, 50, 100]
    # 470M and 2.8B: log10(4.7) / 2 and log10(28) / 2 of the way.
    assert log.percent(470e6) == pytest.approx(100 * math.log10(4.7) / 2, abs=0.05)
    assert log.percent(2.8e9) == pytest.approx(100 * math.log10(28) / 2, abs=0.05)


@pytest.mark.parametrize("values", [[0.0, 1.0], [-3e-4, 2e-4], [5.0], [0.0], [1e9, 1e12]])
def test_an_axis_holds_its_values_and_some_ticks(values: list[float]) -> None:
    scale = scale_over(values)
    assert all(0 < scale.percent(value) < 100 for value in values)
    ticks = scale.ticks(5)
    assert 1 <= len(ticks) <= 6
    assert all(-0.1 <= scale.percent(tick) <= 100.1 for tick in ticks)
    assert len(set(tick_words(ticks))) == len(ticks), "two ticks look the same"


@pytest.mark.parametrize("values", [[5.0], [1e9, 1e12]])
def test_a_logarithmic_axis_holds_its_values(values: list[float]) -> None:
    scale = scale_over(values, is_log=True)
    assert all(0 < scale.percent(value) < 100 for value in values)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.013, 0.031, [-0.01, 0.0, 0.01, 0.02, 0.03]),
        (0.0, 100.0, [0, 20, 40, 60, 80, 100]),
        (2.31, 2.74, [2.4, 2.5, 2.6, 2.7]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Scale(low=low, high=high).ticks(5) == pytest.approx(ticks)


def test_ticks_are_written_alike() -> None:
    assert tick_words([-0.5, 0.0, 0.5]) == ["-0.5", "0.0", "0.5"]
    assert tick_words([0.0, 2000.0]) == ["0", "2,000"]
    assert signed_words([-2.0, -0.0, 2.0], "%") == ["\u22122%", "0%", "+2%"]
