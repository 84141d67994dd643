"""RegMix: the loss of a mixture by regression on many small runs.

Liu et al. 2024 (arXiv 2407.01492). Small models are trained on random mixtures, all for the same
number of tokens. A regression from the shares to the loss ranks mixtures that nobody has trained
on, and the best of very many random ones are averaged. What carries over to large models is the
ranking, not the loss.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from megatron_codemix.errors import FitError, UnavailableError
from megatron_codemix.scaling.law import FloatArray, Inputs, Solution
from megatron_codemix.scaling.shares import share_inputs, share_matrix

PENALTIES = np.logspace(-6, 3, 37)
"""Of ridge regression; the one with the lowest leave-one-out error is taken."""

ROUNDS = 1000
LEARNING_RATE = 0.01
PATIENCE_ROUNDS = 3
SEED = 42
"""As in the paper's code, with LightGBM's defaults for the rest."""

SIMULATED = 100_000
AVERAGED = 128
"""Random mixtures that are tried, and how many of the best are averaged, as in the paper's code."""


class Regression(Protocol):
    """From shares [rows, sources] to losses in nats [rows]."""

    def predict(self, shares: FloatArray) -> FloatArray: ...


@dataclass(frozen=True)
class Ridge:
    """intercept + shares @ slopes."""

    intercept: float
    slopes: FloatArray
    penalty: float

    def predict(self, shares: FloatArray) -> FloatArray:
        return self.intercept + shares @ self.slopes


def fit_ridge(shares: FloatArray, losses: FloatArray) -> Ridge:
    """Least squares with a penalty on the squares of the slopes, not of the intercept.

    The penalty is chosen by the exact leave-one-out error (Allen 1974, PRESS).
    Raises FitError with fewer than three runs, or where all have the same mixture.
    """
    if len(shares) < 3:
        raise FitError(f"{len(shares)} runs are too few for a ridge regression; give at least 3")
    mean_shares, mean_loss = shares.mean(axis=0), float(losses.mean())
    left, singular, right = np.linalg.svd(shares - mean_shares, full_matrices=False)
    if singular[0] < 1e-9:
        raise FitError("all runs have the same mixture; a regression needs different ones")
    rotated = left.T @ (losses - mean_loss)
    errors = []
    for penalty in PENALTIES:
        shrunk = singular**2 / (singular**2 + penalty)
        fitted = left @ (shrunk * rotated)
        leverage = 1 / len(shares) + (left**2) @ shrunk  # 1/n: of the intercept
        errors.append(np.mean(((losses - mean_loss - fitted) / (1 - leverage)) ** 2))
    penalty = float(PENALTIES[int(np.argmin(errors))])
    slopes: FloatArray = right.T @ (singular / (singular**2 + penalty) * rotated)
    return Ridge(mean_loss - float(mean_shares @ slopes), slopes, penalty)


class RegMixLaw:
    """RegMix's linear regression as a law, for runs of one size and one number of tokens."""

    name = "regmix"
    title = "RegMix: loss linear in the shares, by ridge regression"
    source = "Liu et al. 2024, RegMix (arXiv 2407.01492), section 3"
    target = "loss_nats"

    def __init__(self, sources: Sequence[str]) -> None:
        self.inputs = share_inputs(self.name, sources)
        self.sources = tuple(sources)
        self.parameter_names = ("intercept", *(f"slope_{name}" for name in sources))

    def fit(self, inputs: Inputs, target: FloatArray) -> Solution:
        shares = share_matrix(self.name, self.sources, inputs)
        ridge = fit_ridge(shares, target)
        edges = {PENALTIES[0]: "penalty", PENALTIES[-1]: "penalty"}
        return Solution(
            parameters=np.array([ridge.intercept, *ridge.slopes]),
            objective=float(np.sum((ridge.predict(shares) - target) ** 2))
            + ridge.penalty * float(ridge.slopes @ ridge.slopes),
            starts=1,
            agreeing_starts=1,
            at_bounds=(edges[ridge.penalty],) if ridge.penalty in edges else (),
        )

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        predicted: FloatArray = (
            parameters[0] + share_matrix(self.name, self.sources, inputs) @ parameters[1:]
        )
        return predicted


@dataclass(frozen=True)
class BoostedTrees:
    """Gradient-boosted regression trees of LightGBM."""

    booster: Any  # Any: lightgbm is in an extra, and ships no types
    rounds: int

    def predict(self, shares: FloatArray) -> FloatArray:
        predicted: FloatArray = self.booster.predict(shares, num_iteration=self.rounds)
        return predicted


def fit_boosted_trees(
    shares: FloatArray,
    losses: FloatArray,
    held_out: tuple[FloatArray, FloatArray] | None = None,
) -> BoostedTrees:
    """Trees by the paper's settings.

    held_out: shares and losses that end the training as soon as they have not improved for three
    rounds; without them it goes on for all rounds.
    Raises UnavailableError without LightGBM.
    """
    lightgbm = _import_lightgbm()
    settings = {
        "objective": "regression",
        "metric": ["l2", "l1"],
        "learning_rate": LEARNING_RATE,
        "seed": SEED,
        "verbosity": -1,
        # The same trees on every machine, whatever its number of cores.
        "num_threads": 1,
        "deterministic": True,
    }
    training = lightgbm.Dataset(shares, losses)
    watched, callbacks = [], []
    if held_out is not None:
        watched = [lightgbm.Dataset(*held_out, reference=training)]
        callbacks = [lightgbm.early_stopping(PATIENCE_ROUNDS, verbose=False)]
    booster = lightgbm.train(
        settings, training, num_boost_round=ROUNDS, valid_sets=watched, callbacks=callbacks
    )
    return BoostedTrees(booster, booster.best_iteration if held_out is not None else ROUNDS)


def _import_lightgbm() -> Any:  # Any: ships no types
    try:
        import lightgbm
    except ImportError as error:
        raise UnavailableError(
            "LightGBM is not installed: pip install 'megatron_codemix[laws]', or take the ridge "
            "regression"
        ) from error
    return lightgbm


def simulate_best(
    regression: Regression,
    prior: FloatArray,
    *,
    seed: int = SEED,
    simulated: int = SIMULATED,
    averaged: int = AVERAGED,
) -> FloatArray:
    """Mean of the mixtures with the lowest predicted loss among random ones [sources].

    prior: parameters of the Dirichlet distribution that the mixtures are drawn from; the paper's
    are the shares of the sources in all tokens there are, so that most draws are nearly one source.
    """
    mixtures = np.random.default_rng(seed).dirichlet(prior, simulated)
    lowest = np.argsort(regression.predict(mixtures), kind="stable")[:averaged]
    best: FloatArray = mixtures[lowest].mean(axis=0)
    return best
