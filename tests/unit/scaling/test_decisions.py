"""Which mixture wins: chances beside closed forms, accuracies beside counting pair by pair."""

import itertools
import math

import numpy as np
import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.analysis import analyse
from megatron_codemix.scaling.decisions import (
    Predicted,
    decide,
    decision_accuracy,
    predict_for,
    seed_noise,
)
from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from tests.helpers.scaling_runs import grid, losses

CHANCE_TOLERANCE = 0.015
"""Three standard errors of 20,000 draws, and some for the 2000 bootstrap draws themselves."""


def normal(mean: float, deviation: float, seed: int, draws: int = 2000) -> Predicted:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(draws)
    values = (values - values.mean()) / values.std()
    return Predicted(loss_nats=mean, draws_nats=mean + deviation * values)


def phi(z: float) -> float:
    return (1 + math.erf(z / math.sqrt(2))) / 2


def test_the_chance_for_two_mixtures_is_that_of_two_normal_distributions() -> None:
    decision = decide({"a": normal(2.50, 0.03, 1), "b": normal(2.54, 0.02, 2)})
    expected = phi(-0.04 / math.hypot(0.03, 0.02))
    assert decision.winner == "a"
    assert decision.chance_wrong == pytest.approx(expected, abs=CHANCE_TOLERANCE)
    [rival] = decision.rivals
    assert (rival.name, rival.chance_better) == ("b", pytest.approx(expected, abs=CHANCE_TOLERANCE))
    assert rival.behind_nats == pytest.approx(0.04)


def test_noise_between_seeds_is_added_to_both() -> None:
    predicted = {"a": normal(2.50, 0.03, 1), "b": normal(2.54, 0.02, 2)}
    decision = decide(predicted, seed_noise_nats=0.05)
    deviation = math.sqrt(0.03**2 + 0.02**2 + 2 * 0.05**2)
    assert decision.chance_wrong == pytest.approx(phi(-0.04 / deviation), abs=CHANCE_TOLERANCE)
    assert decision.expected_regret_nats == pytest.approx(
        # E max(-d, 0) of a normal difference d
        deviation * math.exp(-((0.04 / deviation) ** 2) / 2) / math.sqrt(2 * math.pi)
        - 0.04 * phi(-0.04 / deviation),
        abs=0.001,
    )


def test_of_three_equal_mixtures_two_thirds_of_decisions_are_wrong() -> None:
    decision = decide({name: normal(2.5, 0.02, seed) for seed, name in enumerate("abc")})
    assert decision.chance_wrong == pytest.approx(2 / 3, abs=CHANCE_TOLERANCE)
    chances = [rival.chance_best for rival in decision.rivals]
    assert sum(chances) + 1 - decision.chance_wrong == pytest.approx(1)


def test_draws_of_one_fit_belong_together() -> None:
    """What both mixtures share, as the irreducible loss, does not make the winner less sure."""
    shared = np.random.default_rng(0).normal(0, 0.5, 500)
    predicted = {
        "a": Predicted(loss_nats=2.50, draws_nats=2.50 + shared),
        "b": Predicted(loss_nats=2.51, draws_nats=2.51 + shared),
    }
    assert decide(predicted, of_one_fit=True).chance_wrong == 0
    assert decide(predicted).chance_wrong > 0.4


def test_resamples_without_a_solution_are_left_out() -> None:
    draws = np.array([2.5, np.nan, 2.5])
    predicted = {
        "a": Predicted(loss_nats=2.5, draws_nats=draws),
        "b": Predicted(loss_nats=2.6, draws_nats=draws + 0.1),
    }
    assert decide(predicted).chance_wrong == 0
    assert decide(predicted, of_one_fit=True).chance_wrong == 0
    with pytest.raises(DataError, match="'b': there is no prediction"):
        decide({**predicted, "b": Predicted(loss_nats=2.6, draws_nats=draws * np.nan)})
    with pytest.raises(DataError, match="two mixtures or more, got a"):
        decide({"a": predicted["a"]})


def test_predictions_of_a_ladder_scatter_as_much_as_is_said() -> None:
    """The same ladder with other noise, many times: its prediction moves by the spread of the
    draws, which is what the chance of being wrong is made of."""
    law, constants = Chinchilla(), np.array([1.7, 400.0, 800.0, 0.34, 0.30])
    ladder = grid(sizes=[2e7, 6e7, 2e8, 6e8, 1.2e9])
    target = {"parameters": np.array([2.8e9]), "tokens": np.array([1e11])}
    values, spreads = [], []
    for seed in range(20):
        runs = losses(law, constants, ladder, noise=0.003, seed=seed)
        fitted = analyse(law, ladder, runs, bootstraps=50, seed=seed)
        predicted = predict_for(fitted, target)
        values.append(predicted.loss_nats)
        low, high = np.quantile(predicted.draws_nats, [phi(-1), phi(1)])
        spreads.append((high - low) / 2)
    # Twenty values know their standard deviation to 16%.
    assert np.mean(spreads) == pytest.approx(np.std(values), rel=0.35)


def test_a_ladder_with_as_many_runs_as_parameters_says_nothing_of_chances() -> None:
    law, ladder = Chinchilla(), grid(sizes=[2e7, 2e8, 1e9], ratios=[5.0, 80.0])
    few = {name: column[:5] for name, column in ladder.items()}
    runs = losses(law, np.array([1.7, 400.0, 800.0, 0.34, 0.30]), few, noise=0.003)
    with pytest.raises(DataError, match="5 runs are too few to say how sure"):
        predict_for(analyse(law, few, runs, bootstraps=5), few)


def count_pairs(predicted: FloatArray, observed: FloatArray) -> float:
    right, pairs = 0.0, 0
    for i, j in itertools.combinations(range(len(observed)), 2):
        if observed[i] == observed[j]:
            continue
        pairs += 1
        if predicted[i] == predicted[j]:
            right += 0.5
        elif (predicted[i] < predicted[j]) == (observed[i] < observed[j]):
            right += 1
    return right / pairs


def test_accuracy_is_what_counting_pair_by_pair_gives() -> None:
    rng = np.random.default_rng(0)
    observed = rng.normal(size=40).round(1)  # some are equal
    predicted = (observed + rng.normal(size=40)).round(1)
    found = decision_accuracy(predicted, observed)
    assert found.accuracy == pytest.approx(count_pairs(predicted, observed))
    assert found.pairs == sum(a != b for a, b in itertools.combinations(observed, 2))
    assert found.low < found.accuracy < found.high


def test_accuracy_of_order_and_of_its_opposite() -> None:
    losses = np.array([3.0, 2.0, 2.5, 4.0])
    assert decision_accuracy(losses, losses).accuracy == 1
    assert decision_accuracy(-losses, losses).accuracy == 0
    with pytest.raises(DataError, match="no two mixtures of different loss"):
        decision_accuracy(losses, np.full(4, 2.0))


def test_seed_noise_is_pooled_over_settings() -> None:
    found = seed_noise([np.array([2.0, 2.2]), np.array([3.0]), np.array([1.0, 1.1, 1.5])])
    squares = 2 * 0.1**2 + (0.2**2 + 0.1**2 + 0.3**2)
    assert found.degrees_of_freedom == 3
    assert found.standard_deviation_nats == pytest.approx(math.sqrt(squares / 3))
    with pytest.raises(DataError, match="no mixture was run twice"):
        seed_noise([np.array([2.0]), np.array([2.5])])
