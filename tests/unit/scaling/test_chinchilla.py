"""Chinchilla's parametric law: closed forms, published constants, recovery."""

import numpy as np
import pytest
from scipy import optimize

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.laws.chinchilla import (
    BESIROGLU_2024,
    HOFFMANN_2022,
    Chinchilla,
    compute_optimal,
)
from tests.helpers.scaling_runs import grid, losses

LAW = Chinchilla()


def loss_at(parameters, size, tokens):
    return LAW.predict(parameters, {"parameters": np.array([size]), "tokens": np.array([tokens])})


@pytest.mark.parametrize("constants", [HOFFMANN_2022, BESIROGLU_2024])
@pytest.mark.parametrize("compute", [1e19, 5.76e23])
def test_the_closed_form_is_the_lowest_loss_of_the_budget(constants, compute):
    best = compute_optimal(constants, compute)
    search = optimize.minimize_scalar(
        lambda log_size: loss_at(constants, np.exp(log_size), compute / 6 / np.exp(log_size))[0],
        bounds=(np.log(1e6), np.log(1e13)),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert best.parameters == pytest.approx(np.exp(search.x), rel=1e-5)
    assert 6 * best.parameters * best.tokens == pytest.approx(compute, rel=1e-12)


def test_published_exponents_of_the_optimum():
    """arXiv 2203.15556, table 2, approach 3: N ~ C^0.46, D ~ C^0.54; arXiv 2404.10102, section 4:
    N ~ C^0.51 (0.512) and about 20 tokens for each parameter at Chinchilla's compute."""

    def exponent(constants):
        low, high = (compute_optimal(constants, compute).parameters for compute in (1e20, 1e22))
        return np.log(high / low) / np.log(100)

    assert exponent(HOFFMANN_2022) == pytest.approx(0.46, abs=0.005)
    assert exponent(BESIROGLU_2024) == pytest.approx(0.512, abs=0.001)
    best = compute_optimal(BESIROGLU_2024, 5.76e23)
    assert 15 < best.tokens / best.parameters < 25


def test_the_terms_of_gopher_and_chinchilla():
    """With the rounded constants 1.69, 406.4, 410.7, 0.34, 0.28 (arXiv 2203.15556, eq. 10):
    Gopher, 280B on 300B tokens, 0.052 + 0.251 + 1.69; Chinchilla, 70B on 1.4T, 0.083 + 0.163 +
    1.69."""
    rounded = np.array([1.69, 406.4, 410.7, 0.34, 0.28])
    assert loss_at(rounded, 280e9, 300e9)[0] == pytest.approx(1.993, abs=1e-3)
    assert loss_at(rounded, 70e9, 1.4e12)[0] == pytest.approx(1.936, abs=1e-3)


def test_parameters_come_back_from_runs_without_noise():
    found = LAW.fit(grid(), losses(LAW, BESIROGLU_2024, grid()))
    assert found.parameters == pytest.approx(BESIROGLU_2024, rel=1e-4)
    assert found.at_bounds == ()


def test_no_optimiser_finds_a_better_fit():
    """scipy's BFGS from the grid of the source, thinned."""
    runs = grid()
    target = losses(LAW, HOFFMANN_2022, runs, noise=0.01, seed=5)
    log_size, log_tokens = np.log(runs["parameters"]), np.log(runs["tokens"])

    def objective(search):
        e, a, b, alpha, beta = search
        terms = [np.full_like(log_size, e), a - alpha * log_size, b - beta * log_tokens]
        size = np.abs(np.logaddexp.reduce(terms) - np.log(target))
        return np.where(size <= 1e-3, size**2 / 2, 1e-3 * (size - 5e-4)).sum()

    ends = [
        optimize.minimize(objective, (e, a, b, alpha, beta), method="BFGS", tol=1e-12).fun
        for e in (0.0, 0.5)
        for a in (5.0, 10.0)
        for b in (5.0, 10.0)
        for alpha in (0.3, 0.6)
        for beta in (0.3, 0.6)
    ]
    assert LAW.fit(runs, target).objective <= min(ends) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("inputs", "target", "message"),
    [
        (grid((1e8,), (5, 20, 80, 160, 320)), None, "all runs have one of the model sizes"),
        (grid((1e8, 2e8), (20, 80)), None, "4 different runs are too few for 5 parameters"),
        (grid(), np.where(np.arange(20) == 3, np.nan, 3.0), "1 of 20 runs have a value that is no"),
        (grid(), np.full(20, -1.0), "zero or below"),
    ],
)
def test_runs_that_cannot_determine_it_are_refused(inputs, target, message):
    target = losses(LAW, HOFFMANN_2022, inputs) if target is None else target
    with pytest.raises(FitError, match=message):
        LAW.fit(inputs, target)


def test_a_missing_quantity_is_named():
    with pytest.raises(FitError, match="needs tokens"):
        LAW.fit({"parameters": np.ones(9)}, np.ones(9))
