"""Batched least squares and Huber fits against scipy's."""

import numpy as np
import pytest
from scipy import optimize

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.minimise import Box, best_of_starts, minimise

X = np.linspace(0.5, 4.0, 25)
TRUE = np.array([2.0, 0.8, 0.5])
NOISE = 0.02 * np.random.default_rng(3).standard_normal(len(X))
Y = TRUE[0] * np.exp(-TRUE[1] * X) + TRUE[2] + NOISE
WIDE = Box(np.array([0.0, 0.0, -5.0]), np.array([50.0, 10.0, 5.0]))
NAMES = ("factor", "rate", "floor")


def residuals(parameters):
    factor, rate, floor = parameters.T[..., None]
    fall = np.exp(-rate * X)
    columns = [fall, -factor * fall * X, np.ones_like(fall)]
    return factor * fall + floor - Y, np.stack(columns, axis=-1)


def one(parameters):
    return residuals(np.asarray(parameters)[None])[0][0]


def huber(values, delta):
    size = np.abs(values)
    return np.where(size <= delta, values**2 / 2, delta * (size - delta / 2))


STARTS = np.array([[1.0, 1.0, 0.0], [5.0, 0.1, 1.0], [0.5, 3.0, 0.2]])


def test_least_squares_end_where_scipys_do():
    found = best_of_starts(residuals, STARTS, WIDE, NAMES, what="a law")
    expected = optimize.least_squares(one, STARTS[0], xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert found.parameters == pytest.approx(expected.x, rel=1e-7)
    assert found.objective == pytest.approx(expected.cost, rel=1e-12)
    assert found.agreeing_starts == 3
    assert found.at_bounds == ()
    assert found.is_least_squares


@pytest.mark.parametrize("delta", [1e-1, 3e-3])
def test_huber_fits_are_no_worse_than_scipys(delta):
    """delta far below the noise is Chinchilla's choice: nearly least absolute deviations."""
    found = best_of_starts(residuals, STARTS, WIDE, NAMES, delta=delta, what="a law")
    expected = min(
        (
            optimize.minimize(
                lambda parameters: huber(one(parameters), delta).sum(),
                start,
                method="Nelder-Mead",
                options={"xatol": 1e-12, "fatol": 1e-18, "maxiter": 20000, "maxfev": 20000},
            )
            for start in [*STARTS, found.parameters]
        ),
        key=lambda result: result.fun,
    )
    assert found.objective == pytest.approx(huber(one(found.parameters), delta).sum(), rel=1e-12)
    assert found.objective <= expected.fun * (1 + 1e-9)
    assert found.is_least_squares == (delta >= NOISE.std())


def test_a_weight_is_as_many_rows():
    weights = np.random.default_rng(0).integers(0, 4, size=(5, len(X))).astype(float)
    starts = np.tile(TRUE, (5, 1))
    found = minimise(residuals, starts, WIDE, weights=weights, delta=1e-2)
    assert found.converged.all()
    for row, parameters in zip(weights.astype(int), found.parameters, strict=True):
        drawn = np.repeat(np.arange(len(X)), row)

        def drawn_residuals(parameters, drawn=drawn):
            values, jacobians = residuals(parameters)
            return values[:, drawn], jacobians[:, drawn]

        alone = minimise(drawn_residuals, TRUE[None], WIDE, delta=1e-2)
        assert parameters == pytest.approx(alone.parameters[0], rel=1e-6)


def test_a_parameter_stops_at_its_edge_and_the_others_are_best_there():
    box = Box(np.array([0.0, 0.0, -5.0]), np.array([50.0, 0.6, 5.0]))
    found = best_of_starts(residuals, STARTS, box, NAMES, what="a law")
    expected = optimize.least_squares(
        lambda rest: one([rest[0], 0.6, rest[1]]), [1.0, 0.0], xtol=1e-14, ftol=1e-14
    )
    assert found.at_bounds == ("rate",)
    assert found.objective == pytest.approx(expected.cost, rel=1e-10)


def test_no_convergence_is_an_error_and_not_a_number():
    def nowhere(parameters):
        values, jacobians = residuals(parameters)
        return values * np.nan, jacobians

    with pytest.raises(FitError, match=r"law x: none of 3 starts converged"):
        best_of_starts(nowhere, STARTS, WIDE, NAMES, what="law x")
