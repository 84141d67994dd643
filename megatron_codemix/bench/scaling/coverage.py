"""Coverage: runs made up from known parameters again and again, and how often the interval of a fit
holds the truth."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.scaling.analysis import LEVEL, analyse
from megatron_codemix.scaling.law import FloatArray, Inputs, Law
from megatron_codemix.scaling.laws.chinchilla import BESIROGLU_2024, Chinchilla
from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw
from megatron_codemix.scaling.laws.overtraining import OverTraining

DRAWS = 200
NOISE = 0.005
"""Standard deviation of the log loss: seeds of one run differ by about this much or less."""
GOAL = Goal(at_least=85, at_most=95)
"""For a level of 90%: two standard errors of 200 draws are 4.2 points."""

SIZES = (5e7, 1e8, 2e8, 4e8, 8e8, 1.6e9)
TOKENS_PER_PARAMETER = (5.0, 20.0, 80.0, 320.0)
OVERTRAINING = np.array([1.84, 141.0, 190.0, 0.121])
"""E, a, b, eta, about those of the published runs on C4 (docs/scaling.md)."""
TARGET = {"parameters": np.array([2.8e9]), "tokens": np.array([4e11])}
TARGET_NAME = "loss of 2.8B on 400B tokens"


@dataclass(frozen=True, kw_only=True)
class Truth:
    """A law with its parameters, and where it is looked at."""

    law: Law
    parameters: FloatArray
    inputs: Inputs
    target: Inputs
    target_name: str
    goal: Goal | None
    """None: its figures are shown and not judged."""


def _size_ladder(law: Law, parameters: FloatArray) -> Truth:
    """Six sizes at four numbers of tokens each, and a target beyond them."""
    sizes, ratios = np.meshgrid(SIZES, TOKENS_PER_PARAMETER)
    return Truth(
        law=law,
        parameters=parameters,
        inputs={"parameters": sizes.ravel(), "tokens": (sizes * ratios).ravel()},
        target=TARGET,
        target_name=TARGET_NAME,
        goal=GOAL,
    )


def chinchilla_ladder() -> Truth:
    """A fit of medians: the law's Huber delta is far below the noise."""
    return _size_ladder(Chinchilla(), BESIROGLU_2024)


def overtraining_ladder() -> Truth:
    """A fit by least squares."""
    return _size_ladder(OverTraining(), OVERTRAINING)


def mixture_ladder() -> Truth:
    """The loss on code: five sizes at four numbers of tokens and three mixtures each, and a target
    beyond them with a mixture between them."""
    grids = np.meshgrid(SIZES[:5], TOKENS_PER_PARAMETER, (0.1, 0.3, 0.6))
    sizes, ratios, code = (grid.ravel() for grid in grids)
    return Truth(
        law=MixtureAndScaleLaw(["code", "text"]),
        parameters=np.array([0.8, 200.0, 500.0, 0.33, 0.30, 0.4, 0.15]),
        inputs={
            "parameters": sizes,
            "tokens": sizes * ratios,
            "share_code": code,
            "share_text": 1 - code,
        },
        target={**TARGET, "share_code": np.array([0.25]), "share_text": np.array([0.75])},
        target_name=TARGET_NAME,
        goal=None,
    )


LADDERS = (chinchilla_ladder, overtraining_ladder, mixture_ladder)


def coverage(
    truth: Truth,
    *,
    draws: int = DRAWS,
    noise: float = NOISE,
    seed: int = 0,
    level: float = LEVEL,
    finished: Callable[[int], None] = lambda number: None,
) -> dict[str, float]:
    """Share of draws whose interval holds the truth, for each parameter and for the target.

    noise: standard deviation of the log of what is measured.
    """
    true = truth.law.predict(truth.parameters, truth.inputs)
    true_target = truth.law.predict(truth.parameters, truth.target)[0]
    held: dict[str, list[bool]] = {}
    generator = np.random.default_rng(seed)
    for number in range(draws):
        measured = true * np.exp(noise * generator.standard_normal(len(true)))
        fit = analyse(truth.law, truth.inputs, measured, seed=number, level=level)
        for parameter, value in zip(fit.parameters, truth.parameters, strict=True):
            held.setdefault(parameter.name, []).append(parameter.low <= value <= parameter.high)
        predicted = fit.predict(truth.target)
        holds = predicted.low[0] <= true_target <= predicted.high[0]
        held.setdefault(truth.target_name, []).append(bool(holds))
        finished(1)
    return {name: float(np.mean(values)) for name, values in held.items()}


def coverage_rows(
    *, draws: int = DRAWS, seed: int = 0, finished: Callable[[int], None] = lambda number: None
) -> Iterator[Row]:
    """For each ladder a row for each parameter and for the target, in percent; judged for as many
    draws as the goal is for."""
    for truth in (make() for make in LADDERS):
        found = coverage(truth, draws=draws, seed=seed, finished=finished)
        for name, share in found.items():
            row = Row(
                name=f"{truth.law.name}: 90% interval of {name} holds it",
                ours=100 * share,
                peer=None,
                unit="%",
                goal=truth.goal,
                note=f"{draws} draws of {len(truth.inputs['tokens'])} runs, noise {NOISE:.1%}",
            )
            yield row if draws >= DRAWS else row.unjudged()
