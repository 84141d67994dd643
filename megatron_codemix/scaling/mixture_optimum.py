"""The share of one source with the lowest weighted loss, against compute, with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from megatron_codemix.scaling.fits import RunFit
from megatron_codemix.scaling.law import FloatArray

_FLOPS = 6.0
_POINTS = 24
_BEYOND = 1000.0
"""How far beyond the largest run's compute."""
_SHARES = np.linspace(0.0, 1.0, 401)


@dataclass(frozen=True, kw_only=True)
class SharePath:
    """Best shares along compute, for one choice of weights."""

    source: str
    weights: Mapping[str, float]
    """Of each target in the loss that is lowest."""
    compute_flops: FloatArray
    share: FloatArray
    low: FloatArray
    high: FloatArray
    """NaN where there is no interval."""
    fitted_compute: tuple[float, float]

    @property
    def words(self) -> str:
        """`code 0.25, text 0.75`."""
        parts = sorted(self.weights.items())
        return ", ".join(f"{target.partition('.')[2]} {weight:g}" for target, weight in parts)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        return {
            "source": self.source,
            "weights": dict(self.weights),
            "best_share": [
                {
                    "compute_flops": float(flops),
                    "share": float(share),
                    "low": None if np.isnan(low) else float(low),
                    "high": None if np.isnan(high) else float(high),
                }
                for flops, share, low, high in zip(
                    self.compute_flops, self.share, self.low, self.high, strict=True
                )
            ],
        }


def share_paths(fits: Sequence[RunFit], weights: Sequence[float]) -> list[SharePath]:
    """For fits of two targets by laws of mixture and scale over two sources: the best share of the
    first target's source for each weight of its loss, the other target having the rest; [] for
    other fits.

    Sizes and tokens grow together along compute, in the ratio of the runs' largest: which mixture
    is best depends little on the ratio, and a law is not to be believed far from those it has seen.
    """
    pair = _pair(fits)
    if pair is None:
        return []
    first, second, source = pair
    compute = 6 * first.inputs["parameters"] * first.inputs["tokens"]
    grid = np.geomspace(compute.min(), _BEYOND * compute.max(), _POINTS)
    largest = int(compute.argmax())
    ratio = float(first.inputs["tokens"][largest] / first.inputs["parameters"][largest])
    losses = [_losses(fit, fit.fitted.values[None], source, grid, ratio) for fit in (first, second)]
    count = min(len(fit.fitted.draws) for fit in (first, second))
    draws = [_losses(fit, fit.fitted.draws[:count], source, grid, ratio) for fit in (first, second)]
    paths = []
    for weight in weights:
        share = _lowest(weight * losses[0] + (1 - weight) * losses[1])[0]
        low = high = np.full(len(grid), np.nan)
        if count:
            drawn = _lowest(weight * draws[0] + (1 - weight) * draws[1])
            low, high = first.fitted.interval_of(drawn)
        paths.append(
            SharePath(
                source=source,
                weights={first.target: weight, second.target: 1 - weight},
                compute_flops=grid,
                share=share,
                low=low,
                high=high,
                fitted_compute=(float(compute.min()), float(compute.max())),
            )
        )
    return paths


def _pair(fits: Sequence[RunFit]) -> tuple[RunFit, RunFit, str] | None:
    """Both fits, that of code first where it is one of them, and the source of the first."""
    if len(fits) != 2 or any(fit.where for fit in fits):
        return None
    names = {name for fit in fits for name in fit.inputs if name.startswith("share_")}
    targets = [fit.target.partition(".")[2] for fit in fits]
    if names != {f"share_{name}" for name in targets} or len(names) != 2:
        return None
    if not all({"parameters", "tokens"} <= set(fit.inputs) for fit in fits):
        return None
    first, second = sorted(fits, key=lambda fit: not fit.target.endswith(".code"))
    return first, second, first.target.partition(".")[2]


def _losses(
    fit: RunFit, parameters: FloatArray, source: str, compute: FloatArray, ratio: float
) -> FloatArray:
    """[draws, compute, shares] of the law with each row of `parameters`."""
    sizes = np.sqrt(compute / (_FLOPS * ratio))
    grid_n, grid_r = (axis.ravel() for axis in np.meshgrid(sizes, _SHARES, indexing="ij"))
    shares = {
        name: grid_r if name == f"share_{source}" else 1 - grid_r
        for name in fit.inputs
        if name.startswith("share_")
    }
    at = {"parameters": grid_n, "tokens": ratio * grid_n, **shares}
    shape = (len(parameters), len(compute), len(_SHARES))
    return np.array([fit.fitted.law.predict(row, at) for row in parameters]).reshape(shape)


def _lowest(losses: FloatArray) -> FloatArray:
    """The share with the lowest loss [draws, compute]."""
    best: FloatArray = _SHARES[losses.argmin(axis=-1)]
    return best
