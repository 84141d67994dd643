"""IsoFLOP parabolas and the envelope: the best size from runs whose best size is known."""

import numpy as np
import pytest

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.laws.chinchilla import BESIROGLU_2024, Chinchilla, compute_optimal
from megatron_codemix.scaling.laws.envelope import Envelope, lowest_curve
from megatron_codemix.scaling.laws.isoflop import IsoFlop, find_budgets
from megatron_codemix.scaling.laws.optimum import power_optimum
from tests.helpers.scaling_runs import grid, losses

CHINCHILLA = Chinchilla()
BUDGETS = (1e19, 1e20, 1e21)


def isoflop_runs():
    """Five sizes about the best one at each of three budgets."""
    sizes, tokens = [], []
    for budget in BUDGETS:
        best = compute_optimal(BESIROGLU_2024, budget).parameters
        for factor in (0.4, 0.65, 1.1, 1.8, 3.0):
            sizes.append(best * factor)
            tokens.append(budget / 6 / sizes[-1])
    return {"parameters": np.array(sizes), "tokens": np.array(tokens)}


def test_parabolas_are_lowest_at_the_best_sizes():
    runs = isoflop_runs()
    target = losses(CHINCHILLA, BESIROGLU_2024, runs)
    for budget, compute in zip(find_budgets(runs, target), BUDGETS, strict=True):
        assert budget.compute_flops == pytest.approx(compute, rel=1e-9)
        best = compute_optimal(BESIROGLU_2024, compute)
        # The loss is no parabola in ln N; over a factor of 7 its lowest point moves by this much.
        assert budget.size == pytest.approx(best.parameters, rel=0.05)


def test_isoflop_gives_the_best_size_at_a_larger_budget():
    runs = isoflop_runs()
    found = IsoFlop().fit(runs, losses(CHINCHILLA, BESIROGLU_2024, runs))
    expected = compute_optimal(BESIROGLU_2024, 1e23)
    best = power_optimum(found.parameters, 1e23)
    assert best.parameters == pytest.approx(expected.parameters, rel=0.1)
    assert 6 * best.parameters * best.tokens == pytest.approx(1e23, rel=1e-12)
    alpha, beta = BESIROGLU_2024[3:]
    assert found.parameters[1] == pytest.approx(beta / (alpha + beta), abs=0.01)


def test_isoflop_predicts_its_own_parabolas():
    law = IsoFlop()
    true = np.array([0.1, 0.5, 60.0, 0.07, 0.02])
    runs = isoflop_runs()
    # Sizes about this law's optimum, where each of its budgets is a parabola exactly.
    factor = runs["parameters"] / np.repeat(
        [compute_optimal(BESIROGLU_2024, budget).parameters for budget in BUDGETS], 5
    )
    compute = runs["parameters"] * runs["tokens"]
    runs["parameters"] = 0.1 * compute**0.5 * factor
    runs["tokens"] = compute / runs["parameters"]
    found = law.fit(runs, law.predict(true, runs))
    assert found.parameters == pytest.approx(true, rel=1e-6)


def test_isoflop_names_what_is_wrong_with_each_budget():
    runs = grid(ratios=(5.0, 17.0, 70.0, 300.0))
    with pytest.raises(FitError, match=r"needs 2 budgets .* FLOPs: 1 size"):
        IsoFlop().fit(runs, losses(CHINCHILLA, BESIROGLU_2024, runs))


@pytest.mark.parametrize(
    ("kept", "problem"),
    [((0, 1), "2 sizes"), ((2, 3, 4), "the lowest loss is not between its sizes")],
)
def test_a_budget_that_shows_no_lowest_loss_is_not_used(kept, problem):
    """Of the first budget: two sizes, or those above the best."""
    rows = [*kept, *range(5, 15)]
    runs = {name: values[rows] for name, values in isoflop_runs().items()}
    target = losses(CHINCHILLA, BESIROGLU_2024, runs)
    first, second, _ = find_budgets(runs, target)
    assert (first.problem, second.problem) == (problem, "")
    assert IsoFlop().fit(runs, target).parameters[1] == pytest.approx(0.51, abs=0.02)


def test_isoflop_refits_to_the_drawn_rows():
    runs = isoflop_runs()
    target = losses(CHINCHILLA, BESIROGLU_2024, runs, noise=0.005, seed=1)
    law = IsoFlop()
    weights = np.array([[2.0, 1, 1, 0, 1] * 3, [1.0] * 15, [1.0] * 5 + [0.0] * 10])
    # The last one has a single budget left.
    found = law.refit(runs, target, weights, law.fit(runs, target).parameters)
    rows = np.repeat(np.arange(15), weights[0].astype(int))
    alone = law.fit({name: values[rows] for name, values in runs.items()}, target[rows])
    assert found[0] == pytest.approx(alone.parameters, rel=1e-9)
    assert found[1] == pytest.approx(law.fit(runs, target).parameters, rel=1e-12)
    assert np.isnan(found[2]).all()


def test_the_envelope_follows_the_best_size():
    runs = grid(tuple(1e8 * 2 ** np.arange(7)), tuple(np.geomspace(2, 600, 25)))
    law = Envelope()
    target = losses(CHINCHILLA, BESIROGLU_2024, runs)
    found = law.fit(runs, target)
    for compute in (1e20, 1e21):
        expected = compute_optimal(BESIROGLU_2024, compute)
        best = power_optimum(found.parameters, compute)
        assert best.parameters == pytest.approx(expected.parameters, rel=0.15)
        lowest = CHINCHILLA.predict(
            BESIROGLU_2024, {name: np.array([v]) for name, v in expected._asdict().items()}
        )
        inputs = {name: np.array([v]) for name, v in best._asdict().items()}
        # A straight line in logarithms through a loss that bends towards E.
        assert law.predict(found.parameters, inputs) == pytest.approx(lowest, rel=0.05)
    compute, sizes, _ = lowest_curve(runs, target)
    assert (np.diff(sizes) >= 0).all()
    assert len(compute) == len(sizes)


def test_the_envelope_needs_sizes_that_win_between_others():
    runs = grid((1e8, 2e8), tuple(np.geomspace(2, 600, 25)))
    with pytest.raises(FitError, match="0 have"):
        Envelope().fit(runs, losses(CHINCHILLA, BESIROGLU_2024, runs))
