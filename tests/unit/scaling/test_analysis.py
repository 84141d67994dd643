"""Intervals, what is identified, the largest run left out, predictions; on runs made up from known
parameters."""

import json

import numpy as np
import pytest

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.analysis import FittedLaw, analyse
from megatron_codemix.scaling.bootstrap import Rows, interval
from megatron_codemix.scaling.laws.chinchilla import BESIROGLU_2024, Chinchilla
from megatron_codemix.scaling.laws.downstream import ErrorOfLoss
from megatron_codemix.scaling.laws.envelope import Envelope
from megatron_codemix.scaling.laws.isoflop import IsoFlop
from megatron_codemix.scaling.laws.overtraining import OverTraining
from tests.helpers.scaling_runs import SIZES, grid, losses

LAW = Chinchilla()
RUNS = grid()
NOISE = 0.003
TARGET = losses(LAW, BESIROGLU_2024, RUNS, NOISE, seed=11)
LARGE = {"parameters": np.array([7e9]), "tokens": np.array([3e11])}


@pytest.fixture(scope="module")
def fitted() -> FittedLaw:
    return analyse(LAW, RUNS, TARGET)


def test_the_exponents_and_the_large_model_are_in_their_intervals(fitted):
    for name, true in zip(LAW.parameter_names, BESIROGLU_2024, strict=True):
        parameter = fitted.parameter(name)
        assert parameter.low < true < parameter.high, name
    predicted = fitted.predict(LARGE)
    true = LAW.predict(BESIROGLU_2024, LARGE)
    assert predicted.low < true < predicted.high
    assert (predicted.high - predicted.low) / true < 0.1


def test_the_spread_of_the_residuals_is_the_noise(fitted):
    assert fitted.residual_spread == pytest.approx(NOISE, rel=0.4)
    assert fitted.residuals == pytest.approx(TARGET / LAW.predict(fitted.values, RUNS) - 1)


@pytest.mark.parametrize("law", [LAW, IsoFlop(), Envelope()], ids=lambda law: law.name)
def test_nothing_depends_on_the_order_of_the_rows(law):
    runs = grid(tuple(1e8 * 2 ** np.arange(5)), (16.0, 32.0, 64.0, 128.0, 256.0))
    # Equal compute along the diagonals, for the parabolas.
    runs["tokens"] = runs["tokens"] * (runs["parameters"] / 1e8) ** -1.5
    target = losses(LAW, BESIROGLU_2024, runs, NOISE, seed=2)
    try:
        first = analyse(law, runs, target, bootstraps=20)
    except FitError as error:
        pytest.fail(str(error))
    order = np.random.default_rng(1).permutation(len(target))
    shuffled = {name: values[order] for name, values in runs.items()}
    second = analyse(law, shuffled, target[order], bootstraps=20)
    assert np.array_equal(first.values, second.values)
    assert np.array_equal(first.draws, second.draws)
    assert np.array_equal(first.residuals[order], second.residuals)


def test_the_fast_refit_is_the_fit_to_the_drawn_rows(fitted):
    """The law's own fit, with all its starts, to the rows of each draw."""
    rows = Rows.sorted(RUNS, TARGET)
    counts = np.random.default_rng(0).multinomial(20, np.full(20, 1 / 20), size=10)
    fast = LAW.refit(rows.inputs, rows.target, counts.astype(float), fitted.values)
    for row, draw in zip(counts, fast, strict=True):
        inputs, target = rows.take(np.repeat(np.arange(20), row))
        alone = LAW.fit(inputs, target)
        assert LAW.predict(draw, RUNS) == pytest.approx(LAW.predict(alone.parameters, RUNS), 1e-4)


def test_rows_of_one_group_are_drawn_together():
    """Twice the same rows are no more certain than once, if they are known to belong together."""
    law = OverTraining()
    target = losses(law, np.array([1.84, 141.0, 190.0, 0.121]), RUNS, NOISE, seed=3)
    twice = {name: np.tile(values, 2) for name, values in RUNS.items()}
    names = [str(row) for row in range(20)] * 2
    fits = [
        analyse(law, RUNS, target, groups=names[:20]),
        analyse(law, twice, np.tile(target, 2), groups=names),
        analyse(law, twice, np.tile(target, 2)),
    ]
    once, together, apart = (fit.parameter("eta").high - fit.parameter("eta").low for fit in fits)
    assert together == pytest.approx(once, rel=1e-3)
    # As of twice as many runs: 1 / sqrt(2), with 36 degrees of freedom where there were 16.
    assert apart == pytest.approx(0.64 * once, rel=0.15)


def test_what_the_runs_do_not_determine_is_said():
    """Over a factor of four in size and tokens, noise hides how the loss bends: E is open."""
    runs = grid((1e8, 1.5e8, 2e8, 4e8), (20.0, 40.0, 80.0))
    target = losses(LAW, BESIROGLU_2024, runs, 0.02, seed=4)
    fit = analyse(LAW, runs, target)
    e = fit.parameter("E")
    assert not e.is_identified
    assert not fit.is_identified
    assert any(said.startswith("E is not determined by these runs") for said in fit.diagnosis)
    assert e.reason


def test_what_the_runs_determine_is_said_too():
    runs = grid(tuple(np.geomspace(1e7, 1e10, 8)), tuple(np.geomspace(2, 500, 8)))
    fit = analyse(LAW, runs, losses(LAW, BESIROGLU_2024, runs, 0.001, seed=4))
    assert [fit.parameter(name).is_identified for name in ("E", "alpha", "beta")] == [True] * 3
    assert fit.parameter("E").reason == ""


def test_a_form_that_does_not_follow_the_runs_is_said(fitted):
    """A parabola is no exponential: the residuals swing once from side to side."""
    loss = np.linspace(2.0, 4.0, 16)
    error = 0.3 + 0.1 * np.minimum(loss - 2, 1) ** 2
    bent = analyse(ErrorOfLoss(), {"loss_nats": loss}, error, bootstraps=20)
    assert any("its form does not follow them" in said for said in bent.diagnosis)
    assert not any("its form does not follow them" in said for said in fitted.diagnosis)


@pytest.mark.parametrize("digits", [5, 7, None])
def test_rounding_errors_are_no_doubt_of_the_law(digits):
    exact = losses(LAW, BESIROGLU_2024, RUNS)
    fit = analyse(LAW, RUNS, exact if digits is None else exact.round(digits), bootstraps=20)
    assert fit.residual_spread < 1e-5
    assert fit.diagnosis == ()
    sparse = exact.copy()
    sparse[3] *= 1.001
    assert analyse(LAW, RUNS, sparse, bootstraps=20).diagnosis == (
        "1 of 20 runs lie far from the law",
    )


def test_the_largest_run_is_predicted_from_the_others(fitted):
    largest = np.argmax(RUNS["parameters"] * RUNS["tokens"])
    rest = np.arange(len(TARGET)) != largest
    alone = LAW.fit({name: values[rest] for name, values in RUNS.items()}, TARGET[rest])
    expected = LAW.predict(alone.parameters, {n: v[[largest]] for n, v in RUNS.items()})
    assert fitted.left_out.what == "1 run at 4.92e+21 FLOPs"
    assert fitted.left_out.predicted == pytest.approx(expected[0], rel=1e-6)
    assert fitted.left_out.measured == TARGET[largest]
    assert fitted.left_out.relative_error == pytest.approx(abs(expected[0] / TARGET[largest] - 1))


def test_with_too_few_runs_to_leave_one_out_the_reason_is_said():
    runs = grid((1e8, 4e8, 1.6e9), (20.0, 200.0))
    runs = {name: values[:5] for name, values in runs.items()}
    fit = analyse(LAW, runs, losses(LAW, BESIROGLU_2024, runs))
    assert fit.left_out is None
    assert "4 different runs are too few for 5 parameters" in fit.left_out_missing
    assert not fit.is_identified
    assert np.isnan(fit.predict(LARGE).low)


def test_a_prediction_far_away_comes_with_a_warning(fitted):
    near = {"parameters": np.array([SIZES[-1] * 2]), "tokens": np.array([1e12])}
    assert fitted.predict(near).warnings == ()
    far = {"parameters": np.array([7e10]), "tokens": np.array([1.4e12])}
    predicted = fitted.predict(far)
    assert predicted.low < predicted.value < predicted.high
    assert [warning.split(" of ")[0] for warning in predicted.warnings] == [
        "parameters",
        "compute_flops",
    ]
    assert "120 times the largest that was fitted" in predicted.warnings[1]
    tiny = {"parameters": np.array([1.0]), "tokens": np.array([RUNS["tokens"].min() / 11])}
    assert [warning.split(" of ")[0] for warning in fitted.predict(tiny).warnings] == [
        "parameters",
        "tokens",
        "compute_flops",
    ]
    assert "is 1/11 of the smallest that was fitted" in fitted.predict(tiny).warnings[1]


def test_a_fit_survives_a_file(fitted):
    again = FittedLaw.from_dict(json.loads(json.dumps(fitted.as_dict())))
    assert again.as_dict() == fitted.as_dict()
    assert np.array_equal(again.predict(LARGE).high, fitted.predict(LARGE).high)


def test_a_failed_fit_is_an_error():
    one_size = grid((1e8,), (5, 10, 20, 40, 80, 160))
    with pytest.raises(FitError, match="all runs have one of the model sizes"):
        analyse(LAW, one_size, losses(LAW, BESIROGLU_2024, one_size))


def test_intervals_of_least_squares_are_percentiles_widened_for_few_runs():
    """1.645 deviations for many degrees of freedom; 2.015, Student's quantile, times sqrt(10 / 5)
    for five parameters of ten runs. Fits of medians keep their percentiles."""
    drawn = np.random.default_rng(0).standard_normal((100_000, 1))

    def ends(groups, is_least_squares):
        low, high = interval(drawn, 0.9, groups, 5, is_least_squares=is_least_squares)
        return low[0], high[0]

    assert ends(10_000, True) == pytest.approx((-1.645, 1.645), abs=0.03)
    assert ends(10, True) == pytest.approx((-2.85, 2.85), abs=0.1)
    assert ends(10, False) == pytest.approx((-1.645, 1.645), abs=0.03)
    assert np.isnan(ends(5, True)).all()
