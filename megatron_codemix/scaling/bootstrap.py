"""Resamples of runs, the law fitted to each, and intervals from the fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.law import FloatArray, Inputs, Law, Refits


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Runs in an order of their own, so that nothing depends on the order in which they came."""

    inputs: Inputs
    target: FloatArray
    group_of_row: NDArray[np.intp]
    num_groups: int
    place_of_given: NDArray[np.intp]
    """Where each given row lies here."""

    @classmethod
    def sorted(
        cls, inputs: Inputs, target: FloatArray, groups: Sequence[str] | None = None
    ) -> "Rows":
        """groups: a label for each row; None: each row is a group."""
        labels = np.zeros(len(target), dtype=np.intp)
        if groups is not None:
            assert len(groups) == len(target), (len(groups), len(target))
            labels = np.unique(np.asarray(groups, dtype=str), return_inverse=True)[1]
        order = np.lexsort([labels, target, *(inputs[name] for name in sorted(inputs))])
        group_of_row = np.arange(len(target)) if groups is None else labels[order]
        return cls(
            inputs={name: np.asarray(inputs[name], dtype=float)[order] for name in sorted(inputs)},
            target=np.asarray(target, dtype=float)[order],
            group_of_row=group_of_row,
            num_groups=int(group_of_row.max(initial=-1)) + 1,
            place_of_given=np.argsort(order),
        )

    def take(self, rows: NDArray[np.intp]) -> tuple[Inputs, FloatArray]:
        """Inputs and target of these rows."""
        return {name: values[rows] for name, values in self.inputs.items()}, self.target[rows]


def draw_fits(law: Law, rows: Rows, best: FloatArray, bootstraps: int, seed: int) -> FloatArray:
    """Parameters [<= bootstraps, K] of the law fitted to resamples of the groups; those without a
    solution are missing.

    Laws that take weights (`Refits`) get Bayesian bootstrap weights, from a flat Dirichlet
    distribution (Rubin 1981, Annals of Statistics 9): unlike draws with replacement they never lose
    a size, which for two dozen runs makes intervals 20% too wide (`codemix bench scaling`). The
    others get as many groups as there are, drawn with replacement.

    best: the fit to all rows.
    """
    generator = np.random.default_rng(seed)
    even = np.ones(rows.num_groups)
    if isinstance(law, Refits):
        weights = rows.num_groups * generator.dirichlet(even, size=bootstraps)
        draws = law.refit(rows.inputs, rows.target, weights[:, rows.group_of_row], best)
    else:
        counts = generator.multinomial(rows.num_groups, even / even.sum(), size=bootstraps)
        draws = np.stack([_fit_again(law, rows, row[rows.group_of_row]) for row in counts])
    return draws[np.isfinite(draws).all(axis=1)]


def _fit_again(law: Law, rows: Rows, counts: NDArray[np.int64]) -> FloatArray:
    try:
        return law.fit(*rows.take(np.repeat(np.arange(len(counts)), counts))).parameters
    except FitError:
        return np.full(len(law.parameter_names), np.nan)


def interval(
    drawn: FloatArray, level: float, groups: int, num_parameters: int, *, is_least_squares: bool
) -> tuple[FloatArray, FloatArray]:
    """Low and high ends [...] from draws [draws, ...] for a level such as 0.9: percentiles.

    Of least squares, a bootstrap is too narrow for few runs: the residuals are smaller than the
    noise by sqrt(free / groups), and Student's quantile belongs where it has the normal one. The
    tails are made smaller by both (Hesterberg 2015, arXiv 1411.5279, "expanded percentile
    interval"). Of medians it is not, and their percentiles stay (`codemix bench scaling` has both).
    NaN without draws or degrees of freedom.
    """
    free = groups - num_parameters
    if not len(drawn) or free < 1:
        nothing = np.full(drawn.shape[1:], np.nan)
        return nothing, nothing
    from scipy.special import stdtrit  # here: slow to import

    tail = (1 - level) / 2
    if is_least_squares:
        deviates = float(stdtrit(free, 1 - tail)) * np.sqrt(groups / free)
        tail = NormalDist().cdf(-deviates)
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return low, high
