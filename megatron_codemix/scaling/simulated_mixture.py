"""The best mixture by RegMix: a regression on small runs, and very many mixtures tried with it."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.columns import COUNTS
from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.scaling.laws.regmix import (
    SEED,
    Regression,
    fit_boosted_trees,
    fit_ridge,
    simulate_best,
)
from megatron_codemix.scaling.table import Excluded, RunTable

REGRESSIONS: Mapping[str, Callable[[FloatArray, FloatArray], Regression]] = {
    "trees": fit_boosted_trees,
    "ridge": fit_ridge,
}

_FOLDS = 5
_FEWEST = 4 * _FOLDS


@dataclass(frozen=True, kw_only=True)
class SimulatedMixture:
    """The mean of the mixtures with the lowest predicted loss."""

    target: str
    regression: str
    runs: int
    spearman_held_out: float
    """Of predicted and measured losses, each fifth of the runs predicted from the others."""
    shares: dict[str, float]
    predicted_loss: float
    """At the scale of the runs; what carries over to another is the ranking."""
    best_run: str
    best_run_loss: float
    warnings: tuple[str, ...]
    excluded: tuple[Excluded, ...]
    """Runs that were not used."""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        gone = [{"run": one.name, "reason": one.reason} for one in self.excluded]
        return {**asdict(self), "excluded": gone}


def simulate_mixture(
    table: RunTable,
    target_column: str,
    regression: str,
    prior: Mapping[str, float] | None = None,
    seed: int = SEED,
) -> SimulatedMixture:
    """From runs of one scale on many mixtures; the same for any order of the runs.

    regression: "trees" (LightGBM) or "ridge". prior: of the mixtures that are tried, such as the
    tokens there are of each source, in any unit; None: the mean mixture of the runs.
    Raises ConfigError, DataError, UnavailableError without LightGBM.
    """
    from scipy.stats import spearmanr

    fit = REGRESSIONS.get(regression)
    if fit is None:
        raise ConfigError([f"no regression {regression!r}; there are: {', '.join(REGRESSIONS)}"])
    usable = table.usable_for(target_column)
    frame = _one_scale(usable, target_column)
    shares = frame[[f"share.{name}" for name in table.sources]].to_numpy(dtype=float)
    losses = frame[target_column].to_numpy(dtype=float)
    fitted = fit(shares, losses)
    best = simulate_best(fitted, _prior(table.sources, shares, prior), seed=seed)
    lowest = int(losses.argmin())
    predicted = float(fitted.predict(best[None])[0])
    held_out = _predict_held_out(fit, shares, losses, seed)
    noise = float(np.sqrt(np.mean((held_out - losses) ** 2)))
    return SimulatedMixture(
        target=target_column,
        regression=regression,
        runs=len(losses),
        spearman_held_out=float(spearmanr(held_out, losses).statistic),
        shares=dict(zip(table.sources, best.tolist(), strict=True)),
        predicted_loss=predicted,
        best_run=str(frame["name"].iloc[lowest]),
        best_run_loss=float(losses[lowest]),
        warnings=_warnings(regression, predicted, float(losses[lowest]), noise),
        excluded=usable.excluded,
    )


def _warnings(regression: str, predicted: float, lowest: float, noise: float) -> tuple[str, ...]:
    """Why the mixture is not to be believed.

    noise: error of the regression for runs that were left out (root mean square).
    """
    said = []
    if regression == "ridge":
        said.append(
            "a linear law has its optimum at a single source, whatever the runs say of mixtures in "
            "between; simulate with --regression trees"
        )
    if predicted < lowest - noise:
        said.append(
            f"{predicted:.4f} nats are {lowest - predicted:.4f} below the lowest run, and runs "
            f"that were left out are missed by {noise:.4f} (root mean square): no run is like "
            "this mixture; train one before you believe it"
        )
    return tuple(said)


def _one_scale(table: RunTable, target_column: str) -> Any:  # Any: pandas ships no types
    """The runs, sorted. Raises DataError where they are few or of several scales."""
    if not table.sources:
        raise DataError(f"{table.where}: has no shares of sources (columns share.<source>)")
    if len(table) < _FEWEST:
        raise DataError(
            f"{table.where}: {len(table)} runs with {target_column}; a regression on mixtures "
            f"needs at least {_FEWEST}"
        )
    mixed = [c for c in COUNTS if c in table.frame and table.frame[c].nunique() > 1]
    if mixed:
        raise DataError(
            f"{table.where}: the runs differ in {', '.join(mixed)}; choose those of one scale, as "
            "the regression knows mixtures alone"
        )
    columns = [f"share.{name}" for name in table.sources]
    return table.frame.sort_values([*columns, target_column, "name"], ignore_index=True)


def _prior(
    sources: tuple[str, ...], shares: FloatArray, given: Mapping[str, float] | None
) -> FloatArray:
    """Shares that sum to 1; sources without any are not tried."""
    if given is None:
        # A Dirichlet distribution has no parameter that is zero.
        mean: FloatArray = np.maximum(shares.mean(axis=0), np.finfo(float).tiny)
        return mean
    problems = [
        f"prior of {name!r}: the runs have no such source" for name in set(given) - {*sources}
    ]
    problems += [f"prior of {name!r} is missing" for name in sources if name not in given]
    problems += [
        f"prior of {name!r} is {value}; write a number above 0"
        for name, value in given.items()
        if not 0 < value < np.inf
    ]
    if problems:
        raise ConfigError(sorted(problems))
    values: FloatArray = np.array([given[name] for name in sources])
    values /= values.sum()
    return values


def _predict_held_out(
    fit: Callable[[FloatArray, FloatArray], Regression],
    shares: FloatArray,
    losses: FloatArray,
    seed: int,
) -> FloatArray:
    """Loss of each run, each fifth of the runs predicted from the others."""
    folds = np.random.default_rng(seed).permutation(len(losses)) % _FOLDS
    predicted = np.empty(len(losses))
    for fold in range(_FOLDS):
        rows = folds == fold
        predicted[rows] = fit(shares[~rows], losses[~rows]).predict(shares[rows])
    return predicted
