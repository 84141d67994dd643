"""Which mixture wins at the target, and how often such a decision is wrong.

Two questions. *How sure is this decision?* Each mixture has a ladder of runs and a law fitted to
it; the bootstrap of the fit and the noise between seeds say how often another one would have won.
*How good are such decisions?* The share of pairs of mixtures that small runs rank as large ones do
(decision accuracy: Magnusson et al. 2025, DataDecide, arXiv 2504.11393).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.analysis import FittedLaw
from megatron_codemix.scaling.law import FloatArray, Inputs

JOINT_DRAWS = 20_000
"""Random combinations of the mixtures' bootstrap draws; the chances are good to about 0.004."""


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """The predicted loss of one mixture at the target."""

    loss_nats: float
    """By the fit to all runs."""
    draws_nats: FloatArray
    """By the fits to resampled runs [draws]."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """A mixture beside the predicted winner."""

    name: str
    loss_nats: float
    behind_nats: float
    """Predicted loss above the winner's."""
    chance_better: float
    """Of a lower loss than the winner's."""
    chance_best: float
    """Of the lowest loss of all."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The predicted winner at the target."""

    winner: str
    loss_nats: float
    chance_wrong: float
    """That another mixture has the lowest loss."""
    expected_regret_nats: float
    """Mean of the loss that is lost to the best mixture, over all outcomes."""
    seed_noise_nats: float
    rivals: tuple[Rival, ...]
    """The others, best first."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def predict_for(fitted: FittedLaw, at: Inputs) -> Predicted:
    """What a fitted law says of one point, such as the target [1 row].

    The draws are taken as they are, without the widening of the law's intervals: on ladders of
    known laws they scatter as much as the predictions do, within an eighth.
    Raises DataError where the fit leaves no degree of freedom.
    """
    free = fitted.groups - len(fitted.parameters)
    if free < 1:
        raise DataError(
            f"{fitted.groups} runs are too few to say how sure law {fitted.law.name} is, which has "
            f"{len(fitted.parameters)} parameters; add runs"
        )
    return Predicted(
        loss_nats=float(fitted.law.predict(fitted.values, at)[0]),
        draws_nats=np.array([fitted.law.predict(draw, at)[0] for draw in fitted.draws]),
    )


def decide(
    predicted: Mapping[str, Predicted],
    *,
    seed_noise_nats: float = 0.0,
    of_one_fit: bool = False,
    seed: int = 0,
) -> Decision:
    """The mixture with the lowest predicted loss, and the chance that it is not the best.

    seed_noise_nats: standard deviation between runs of one mixture and scale with other seeds; it
    is added to every draw, as the target is run once.
    of_one_fit: the draws of all mixtures are of one law that was fitted to all of them, and belong
    together one by one; else each mixture has its own fit, which errs independently.
    Raises DataError with fewer than two mixtures or without draws.
    """
    _check_predicted(predicted)
    names = sorted(predicted, key=lambda name: (predicted[name].loss_nats, name))
    rng = np.random.default_rng(seed)
    draws = [predicted[name].draws_nats for name in names]
    outcomes = _joint_draws(draws, rng) if of_one_fit else _independent_draws(draws, rng)
    outcomes += seed_noise_nats * rng.standard_normal(outcomes.shape)
    is_best = outcomes == outcomes.min(axis=1, keepdims=True)
    winner = predicted[names[0]]
    return Decision(
        winner=names[0],
        loss_nats=winner.loss_nats,
        chance_wrong=float(1 - is_best[:, 0].mean()),
        expected_regret_nats=float((outcomes[:, 0] - outcomes.min(axis=1)).mean()),
        seed_noise_nats=seed_noise_nats,
        rivals=tuple(
            Rival(
                name=name,
                loss_nats=predicted[name].loss_nats,
                behind_nats=predicted[name].loss_nats - winner.loss_nats,
                chance_better=float((outcomes[:, place] < outcomes[:, 0]).mean()),
                chance_best=float(is_best[:, place].mean()),
            )
            for place, name in enumerate(names[1:], start=1)
        ),
    )


@dataclass(frozen=True, kw_only=True)
class SeedNoise:
    """Scatter between runs that differ in their seed alone."""

    standard_deviation_nats: float
    degrees_of_freedom: int


def seed_noise(losses_by_setting: Sequence[FloatArray]) -> SeedNoise:
    """Pooled standard deviation within the settings (mixture, size, tokens) [each: seeds].

    Raises DataError where no setting was run with two seeds.
    """
    freedom = sum(len(losses) - 1 for losses in losses_by_setting)
    if freedom < 1:
        raise DataError(
            "the noise between seeds is not known: no mixture was run twice at one scale with "
            "another seed; run one again, or give the noise in nats"
        )
    squares = sum(float(((losses - losses.mean()) ** 2).sum()) for losses in losses_by_setting)
    return SeedNoise(
        standard_deviation_nats=math.sqrt(squares / freedom), degrees_of_freedom=freedom
    )


@dataclass(frozen=True, kw_only=True)
class DecisionAccuracy:
    """Of pairs of mixtures, how many are ranked as they are at the target."""

    accuracy: float
    pairs: int
    """Of different loss at the target."""
    low: float
    high: float
    """90% interval over resampled mixtures, as the pairs of one are right or wrong together."""

    def as_dict(self) -> dict[str, object]:
        return asdict(self)


def decision_accuracy(
    predicted: FloatArray, observed: FloatArray, *, bootstraps: int = 1000, seed: int = 0
) -> DecisionAccuracy:
    """Share of pairs of mixtures that `predicted` [mixtures] ranks as `observed` [mixtures] does.

    Both may be losses at different scales. A pair that is predicted to be equal counts one half, as
    a coin would decide it; one that is equal at the target is left out.
    Raises DataError where no pair is left.
    """
    right, counted = _pairs(predicted, observed)
    pairs = int(counted.sum()) // 2
    if pairs == 0:
        raise DataError("there are no two mixtures of different loss at the target to compare")
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(bootstraps):
        times = np.bincount(
            rng.integers(len(observed), size=len(observed)), minlength=len(observed)
        )
        total = times @ counted @ times
        if total > 0:  # all resampled mixtures may be the same one
            draws.append((times @ right @ times) / total)
    low, high = np.quantile(draws, [0.05, 0.95])
    return DecisionAccuracy(
        accuracy=float(right.sum() / counted.sum()), pairs=pairs, low=float(low), high=float(high)
    )


def _pairs(predicted: FloatArray, observed: FloatArray) -> tuple[FloatArray, FloatArray]:
    """[mixtures, mixtures]: how right each ordered pair is (1, 1/2 or 0), and whether it counts."""
    if predicted.shape != observed.shape:
        raise ValueError(f"{predicted.shape} predictions for {observed.shape} observed losses")
    apart = np.sign(observed[:, None] - observed[None, :])
    guess = np.sign(predicted[:, None] - predicted[None, :])
    counted = (apart != 0).astype(np.float64)
    return counted * np.where(guess == 0, 0.5, guess == apart), counted


def _check_predicted(predicted: Mapping[str, Predicted]) -> None:
    if len(predicted) < 2:
        raise DataError(
            f"a decision needs two mixtures or more, got {', '.join(predicted) or 'none'}"
        )
    for name, one in predicted.items():
        if not (math.isfinite(one.loss_nats) and np.isfinite(one.draws_nats).any()):
            raise DataError(f"mixture {name!r}: there is no prediction at the target")


def _independent_draws(draws: Sequence[FloatArray], rng: np.random.Generator) -> FloatArray:
    """[JOINT_DRAWS, mixtures]; resamples without a solution are left out."""
    return np.stack([rng.choice(one[np.isfinite(one)], JOINT_DRAWS) for one in draws], axis=1)


def _joint_draws(draws: Sequence[FloatArray], rng: np.random.Generator) -> FloatArray:
    together = np.stack(draws, axis=1)
    together = together[np.isfinite(together).all(axis=1)]
    return together[rng.integers(len(together), size=JOINT_DRAWS)]
