"""Runs made up from a law with known parameters."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.scaling.law import FloatArray, Inputs, Law

PUBLISHED = Path(__file__).parents[2] / "../shared/data/scaling"
"""Losses that others have published."""

SIZES = (1e8, 2e8, 4e8, 8e8, 1.6e9)
TOKENS_PER_PARAMETER = (5.0, 20.0, 80.0, 320.0)


def grid(
    sizes: Sequence[float] = SIZES, ratios: Sequence[float] = TOKENS_PER_PARAMETER
) -> dict[str, FloatArray]:
    """Every size with every number of tokens per parameter."""
    size, ratio = (axis.ravel() for axis in np.meshgrid(sizes, ratios, indexing="ij"))
    return {"parameters": size, "tokens": size * ratio}


def losses(
    law: Law, parameters: FloatArray, inputs: Inputs, noise: float = 0.0, seed: int = 0
) -> FloatArray:
    """The law's values times exp(normal), of that standard deviation."""
    true = law.predict(parameters, inputs)
    return true * np.exp(noise * np.random.default_rng(seed).standard_normal(len(true)))


def published_runs(name: str) -> Path:
    """The folder of that name; the test is skipped where there is none."""
    if not (PUBLISHED / name).is_dir():
        pytest.skip(f"the published runs of {name} are not beside this checkout")
    return PUBLISHED / name
