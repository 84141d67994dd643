"""What a scaling law is: quantities in, one number out, parameters found from runs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

Inputs = Mapping[str, FloatArray]
"""By quantity, all of one length: "parameters", "tokens", "unique_tokens" (counts), "loss_nats",
"bits_per_byte", "share_<source>" (fractions of the training tokens)."""

OUTCOMES = ("loss_nats", "bits_per_byte")
"""Inputs that a run is measured by. Laws that also take size and tokens need them for the fit alone
and predict them by themselves."""


@dataclass(frozen=True, kw_only=True)
class Solution:
    """Where the search for parameters ended."""

    parameters: FloatArray
    """In the order of the law's `parameter_names`."""
    objective: float
    """What was minimised, at its minimum."""
    starts: int
    agreeing_starts: int
    """Starts that ended at the same objective, within a thousandth of it."""
    at_bounds: tuple[str, ...]
    """Parameters that lie on the edge of what was searched."""
    is_least_squares: bool = True
    """Whether most runs count by the square of their distance; False where most are beyond the
    delta of a Huber loss, so that the fit is one of medians."""


class Law(Protocol):
    """A formula with parameters. Knows nothing of tables, intervals and bootstraps."""

    @property
    def name(self) -> str:
        """As `--law` takes it: "chinchilla"."""

    @property
    def title(self) -> str:
        """For people, with the formula."""

    @property
    def source(self) -> str:
        """Paper and equation."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Quantities that it needs to be fitted."""

    @property
    def target(self) -> str:
        """What it predicts: "loss_nats", "error" or "accuracy"."""

    @property
    def parameter_names(self) -> tuple[str, ...]: ...

    def fit(self, inputs: Inputs, target: FloatArray) -> Solution:
        """Raises FitError: too few points, one size only, no convergence."""

    def predict(self, parameters: FloatArray, inputs: Inputs) -> FloatArray:
        """The target for each row of `inputs`."""


@runtime_checkable
class Refits(Protocol):
    """A law that can be fitted again to resampled rows, all resamples at once."""

    def refit(
        self, inputs: Inputs, target: FloatArray, weights: FloatArray, start: FloatArray
    ) -> FloatArray:
        """Parameters [resamples, parameters] for weights [resamples, rows], which are what a row
        counts in the sum that is minimised, from the fit to all rows, `start`. NaN where there is
        no solution."""
