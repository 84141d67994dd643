"""Noise as draws and as a variance: Student's and Welch's tests, as scipy has them."""

import numpy as np
import pytest
from scipy import stats

from megatron_codemix.report.statistics.noise import (
    DRAWS,
    Noise,
    combined,
    interval,
    p_value,
    student_noise,
)

SPACING = 0.01
"""Of 4000 quantiles near the ends of a 95% interval, of its half width."""


def mean_noise(sample: np.ndarray, name: str) -> Noise:
    return student_noise(sample.var(ddof=1) / len(sample), len(sample) - 1, name)


@pytest.mark.parametrize("size", [2, 3, 5, 50])
def test_one_sample_is_students_test(size: int) -> None:
    sample = np.random.default_rng(size).normal(0.4, 1, size)
    expected = stats.ttest_1samp(sample, 0)
    noise = mean_noise(sample, "one")
    assert p_value(sample.mean(), noise) == pytest.approx(expected.pvalue)
    low, high = expected.confidence_interval(0.95)
    found = interval(sample.mean(), noise, 0.95)
    assert found == pytest.approx((low, high), abs=SPACING * (high - low))


def test_two_samples_are_welchs_test() -> None:
    generator = np.random.default_rng(1)
    first, second = generator.normal(0, 1, 5), generator.normal(0.5, 3, 9)
    noise = combined([mean_noise(first, "first"), mean_noise(second, "second")])
    expected = stats.ttest_ind(first, second, equal_var=False)
    assert noise.degrees == pytest.approx(expected.df)
    assert p_value(first.mean() - second.mean(), noise) == pytest.approx(expected.pvalue)


def test_draws_of_a_sum_are_independent() -> None:
    parts = [student_noise(variance, 1000, name) for variance, name in ((1.0, "a"), (4.0, "b"))]
    # Four standard errors of a variance and of a correlation from so many draws.
    tolerance = 4 / np.sqrt(DRAWS)
    assert combined(parts).draws.var() == pytest.approx(5, rel=np.sqrt(2) * tolerance)
    assert abs(np.corrcoef(parts[0].draws, parts[1].draws)[0, 1]) < tolerance


def test_a_multiple_has_the_multiples_noise() -> None:
    noise = student_noise(2.0, 7, "a").scaled(-3)
    low, high = interval(0, noise, 0.9)
    edge = 3 * np.sqrt(2) * stats.t.ppf(0.95, 7)
    assert (low, high) == pytest.approx((-edge, edge), rel=SPACING)
    assert noise.variance == pytest.approx(18)


def test_without_noise_only_equal_values_are_equal() -> None:
    nothing = student_noise(0.0, 2, "a")
    assert p_value(0.0, combined([nothing, nothing])) == 1
    assert p_value(1e-9, nothing) == 0
    assert interval(0.3, nothing, 0.95) == (0.3, 0.3)
