"""The search for shares, beside a search of every mixture on a grid."""

import itertools

import numpy as np
import pytest

from megatron_codemix.errors import ConfigError
from megatron_codemix.scaling.best_shares import best_shares, normalised, weighted_mean
from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.scaling.laws.mixing import MixingLaw

SOURCES = ("code", "text", "markup")
STEP = 0.005


def losses() -> dict[str, MixingLaw]:
    return {name: MixingLaw([name, *(s for s in SOURCES if s != name)]) for name in SOURCES}


PARAMETERS = {
    "code": np.array([0.9, 0.5, -2.0, 0.3]),
    "text": np.array([2.8, 0.7, -3.0, 0.1]),
    "markup": np.array([1.5, 0.2, -1.0, -0.6]),
}


def grid() -> FloatArray:
    steps = round(1 / STEP)
    rows = [(a, b, steps - a - b) for a, b in itertools.product(range(steps + 1), repeat=2)]
    shares = np.array([row for row in rows if row[2] >= 0])
    return shares * STEP


@pytest.mark.parametrize("at_most", [{}, {"text": 0.3}, {"text": 0.35, "code": 0.25}])
def test_no_mixture_of_a_grid_is_better(at_most: dict[str, float]) -> None:
    weights = {"code": 1.0, "text": 0.7, "markup": 0.5}
    laws = losses()
    objective = weighted_mean(
        {name: laws[name].over_shares(PARAMETERS[name], SOURCES) for name in SOURCES}, weights
    )
    caps = np.array([at_most.get(name, 1.0) for name in SOURCES])
    allowed = [row for row in grid() if (row <= caps + 1e-12).all()]
    inputs = {f"share_{n}": c for n, c in zip(SOURCES, np.array(allowed).T, strict=True)}
    values = sum(w * laws[n].predict(PARAMETERS[n], inputs) for n, w in weights.items())
    values /= sum(weights.values())
    best = best_shares(objective, SOURCES, at_most)
    assert best.loss_nats <= values.min() + 1e-12
    assert list(best.shares.values()) == pytest.approx(allowed[int(values.argmin())], abs=2 * STEP)
    assert best.loss_nats - best.gap_nats <= values.min()
    assert set(best.at_cap) == set(at_most)


def test_the_gradient_is_that_of_the_loss() -> None:
    law = MixingLaw(SOURCES)
    objective = law.over_shares(PARAMETERS["code"], SOURCES)
    shares, step = np.array([0.2, 0.5, 0.3]), 1e-6
    _, gradient = objective(shares)
    for place in range(3):
        moved = shares.copy()
        moved[place] += step
        slope = (objective(moved)[0] - objective(shares)[0]) / step
        assert gradient[place] == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_caps_and_weights_that_make_no_sense_are_refused() -> None:
    objective = MixingLaw(SOURCES).over_shares(PARAMETERS["code"], SOURCES)
    with pytest.raises(ConfigError, match=r"sum to 0\.9; no mixture"):
        best_shares(objective, SOURCES, {"code": 0.3, "text": 0.3, "markup": 0.3})
    with pytest.raises(ConfigError, match="cap on the share of 'prose'"):
        best_shares(objective, SOURCES, {"prose": 0.3})
    with pytest.raises(ConfigError, match="weight of 'code' is -1"):
        weighted_mean({"code": objective}, {"code": -1.0})


def test_weights_are_parts_of_one_however_large() -> None:
    names = ("code", "text", "markup")
    assert normalised({"code": 1e308, "text": 1e308}, names) == {
        "code": 0.5,
        "text": 0.5,
        "markup": 0.0,
    }
    assert normalised({"code": 1.5e308, "text": 5e307}, names)["code"] == pytest.approx(0.75)
    assert normalised({"code": 5e-324, "text": 0.0}, names)["code"] == 1.0
    for wrong in (np.nan, np.inf):
        with pytest.raises(ConfigError, match="not negative"):
            normalised({"code": wrong}, names)
    with pytest.raises(ConfigError, match="no evaluation has a weight above 0"):
        normalised({"code": 0.0}, names)
