"""Over-training, error of loss, accuracy of loss, and the chain: recovery and closed forms."""

import numpy as np
import pytest

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.laws.chinchilla import BESIROGLU_2024, Chinchilla
from megatron_codemix.scaling.laws.downstream import ErrorOfLoss, LadderChain, SigmoidOfLoss
from megatron_codemix.scaling.laws.overtraining import OverTraining
from tests.helpers.scaling_runs import grid, losses

OVER = OverTraining()
OVER_TRUE = np.array([1.84, 141.0, 190.0, 0.121])


def test_over_training_is_chinchillas_law_with_one_exponent():
    e, a, b, eta = OVER_TRUE
    same = np.array([e, a * 6**-eta, b * 6**-eta, 2 * eta, 2 * eta])
    expected = Chinchilla().predict(same, grid())
    assert OVER.predict(OVER_TRUE, grid()) == pytest.approx(expected, rel=1e-12)


def test_over_training_comes_back_from_five_cheap_runs():
    """The source's design: four models at 20 tokens per parameter, the smallest also at 320."""
    sizes = np.array([1.06e7, 7.9e7, 1.54e8, 4.12e8, 1.06e7])
    runs = {"parameters": sizes, "tokens": sizes * np.array([20, 20, 20, 20, 320.0])}
    found = OVER.fit(runs, OVER.predict(OVER_TRUE, runs))
    assert found.parameters == pytest.approx(OVER_TRUE, rel=1e-5)


def test_error_of_loss_comes_back():
    true = np.array([0.86, 2.2, 0.71])
    runs = {"loss_nats": np.linspace(2.2, 5.5, 7)}
    law = ErrorOfLoss()
    found = law.fit(runs, law.predict(true, runs))
    assert found.parameters == pytest.approx(true, rel=1e-5)
    with pytest.raises(FitError, match="all runs have one of the losses"):
        law.fit({"loss_nats": np.full(4, 3.0)}, np.array([0.5, 0.51, 0.52, 0.53]))


def test_accuracy_of_loss_comes_back():
    true = np.array([-0.75, 6.0, 0.9, 1.0])
    runs = {"bits_per_byte": np.linspace(0.2, 1.6, 12)}
    law = SigmoidOfLoss()
    # The anchor, a perfect score at no loss, is off this curve by 0.003.
    found = law.fit(runs, law.predict(true, runs))
    assert found.parameters == pytest.approx(true, abs=0.03, rel=0.03)
    assert law.predict(found.parameters, runs) == pytest.approx(law.predict(true, runs), abs=2e-3)


def test_the_chain_is_its_two_steps():
    chain, runs = LadderChain(), grid()
    runs["bits_per_byte"] = losses(chain.loss, BESIROGLU_2024, runs) / 3
    score = np.array([-0.75, 6.0, 0.9, 1.0])
    accuracy = chain.score.predict(score, runs)
    found = chain.fit(runs, accuracy)
    assert len(found.parameters) == len(chain.parameter_names) == 9
    target = {"parameters": np.array([7e9]), "tokens": np.array([1e12])}
    loss = Chinchilla().predict(BESIROGLU_2024, target) / 3
    expected = chain.score.predict(score, {"bits_per_byte": loss})
    assert chain.predict(found.parameters, target) == pytest.approx(expected, abs=5e-3)
    weights = np.ones((2, len(accuracy)))
    again = chain.refit(runs, accuracy, weights, found.parameters)
    assert again == pytest.approx(np.tile(found.parameters, (2, 1)), rel=1e-3)
