"""The law of size, tokens and mixture, beside Chinchilla's law for each mixture."""

import json

import numpy as np
import pytest

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.analysis import FittedLaw, analyse
from megatron_codemix.scaling.compute_optimum import best_mixture, best_mixture_against_compute
from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.laws.chinchilla import Chinchilla, compute_optimal
from megatron_codemix.scaling.laws.mixture_and_scale import MixtureAndScaleLaw
from megatron_codemix.scaling.registry import build_law, sources_of

CODE = MixtureAndScaleLaw(["code", "text"])
TEXT = MixtureAndScaleLaw(["text", "code"])
CODE_CONSTANTS = np.array([0.8, 200.0, 500.0, 0.33, 0.30, 0.4, 0.15])
TEXT_CONSTANTS = np.array([1.8, 400.0, 900.0, 0.34, 0.31, 0.5, 0.05])
MIXTURES = (0.0, 0.25, 0.5, 0.75)
SIZES = np.array([2e7, 6e7, 2e8, 6e8])
TOKENS_PER_PARAMETER = np.array([5.0, 20.0, 60.0, 150.0])
TARGET = {"parameters": 2.8e9, "tokens": 4e11}


def ladder(code_shares: tuple[float, ...] = MIXTURES) -> Inputs:
    grids = np.meshgrid(SIZES, TOKENS_PER_PARAMETER, code_shares)
    sizes, ratios, code = (grid.ravel() for grid in grids)
    return {
        "parameters": sizes,
        "tokens": sizes * ratios,
        "share_code": code,
        "share_text": 1 - code,
    }


def at_target(code_share: float) -> Inputs:
    row = {**TARGET, "share_code": code_share, "share_text": 1 - code_share}
    return {name: np.array([value]) for name, value in row.items()}


def measured(law: MixtureAndScaleLaw, constants: FloatArray, noise: float, seed: int) -> FloatArray:
    exact = law.predict(constants, ladder())
    return exact * np.exp(np.random.default_rng(seed).normal(0, noise, len(exact)))


def rows_of(inputs: Inputs, code_share: float) -> np.ndarray:
    return inputs["share_code"] == code_share


@pytest.mark.parametrize(("law", "constants"), [(CODE, CODE_CONSTANTS), (TEXT, TEXT_CONSTANTS)])
def test_known_constants_are_found_in_any_order_of_the_runs(
    law: MixtureAndScaleLaw, constants: FloatArray
) -> None:
    losses = measured(law, constants, noise=0.002, seed=1)
    found = law.fit(ladder(), losses)
    assert found.at_bounds == ()
    for place in (0, 3, 4):  # E, alpha, beta
        assert found.parameters[place] == pytest.approx(constants[place], rel=0.05)
    assert found.parameters[5:] == pytest.approx(constants[5:], rel=0.15)
    turned = {name: column[::-1] for name, column in ladder().items()}
    again = law.fit(turned, losses[::-1])
    assert again.parameters == pytest.approx(found.parameters, rel=1e-5)


def test_each_mixture_of_the_law_is_chinchillas() -> None:
    """With r fixed: A / n^alpha and B / d^beta in the place of A and B."""
    inputs = ladder()
    losses = CODE.predict(CODE_CONSTANTS, inputs)
    e, a, b, alpha, beta, nu, tau = CODE_CONSTANTS
    for r in MIXTURES:
        rows = rows_of(inputs, r)
        plain = {name: column[rows] for name, column in inputs.items()}
        factors = [a * (r + nu * (1 - r)) ** -alpha, b * (r + tau * (1 - r)) ** -beta]
        expected = Chinchilla().predict(np.array([e, *factors, alpha, beta]), plain)
        assert losses[rows] == pytest.approx(expected, rel=1e-12)


def test_the_law_predicts_the_target_better_than_a_fit_for_each_mixture() -> None:
    """On noisy runs of known constants, the target 4.7 times the largest size away."""
    inputs = ladder()
    errors = []
    for seed in range(10):
        losses = measured(CODE, CODE_CONSTANTS, noise=0.004, seed=seed)
        together = CODE.fit(inputs, losses).parameters
        for r in MIXTURES:
            rows = rows_of(inputs, r)
            one = {name: column[rows] for name, column in inputs.items()}
            alone = Chinchilla().fit(one, losses[rows]).parameters
            truth = CODE.predict(CODE_CONSTANTS, at_target(r))
            errors.append(
                [
                    float(CODE.predict(together, at_target(r))[0] / truth[0] - 1),
                    float(Chinchilla().predict(alone, at_target(r))[0] / truth[0] - 1),
                ]
            )
    together_rms, alone_rms = np.sqrt(np.mean(np.square(errors), axis=0))
    assert together_rms < 0.01
    assert together_rms < 0.75 * alone_rms
    # Both mean the same law: neither is far from the other.
    assert alone_rms < 0.05


def test_it_interpolates_to_a_mixture_that_was_not_run() -> None:
    losses = measured(CODE, CODE_CONSTANTS, noise=0.002, seed=3)
    found = CODE.fit(ladder(), losses).parameters
    unseen = ladder(code_shares=(0.1, 0.4, 1.0))
    truth = CODE.predict(CODE_CONSTANTS, unseen)
    assert CODE.predict(found, unseen) == pytest.approx(truth, rel=0.01)


def test_derivatives_are_those_of_the_residuals() -> None:
    inputs = ladder()
    problem = CODE.problem(inputs, measured(CODE, CODE_CONSTANTS, noise=0.01, seed=0))
    point = problem.searched(CODE_CONSTANTS)[None] + 0.1
    values, derivatives = problem.residuals(point)
    for place in range(point.shape[1]):
        step = np.zeros_like(point)
        step[0, place] = 1e-6
        slope = (problem.residuals(point + step)[0] - values) / 1e-6
        assert derivatives[..., place] == pytest.approx(slope, rel=1e-3, abs=1e-6)
    assert problem.natural(problem.searched(CODE_CONSTANTS)) == pytest.approx(CODE_CONSTANTS)


def test_the_law_is_built_again_from_its_inputs() -> None:
    law = build_law("mixture-and-scale", ["code", "text"])
    again = build_law("mixture-and-scale", sources_of(law.inputs))
    assert again.parameter_names == law.parameter_names == CODE.parameter_names


def test_what_cannot_be_fitted_says_why() -> None:
    one = {name: column[rows_of(ladder(), 0.5)] for name, column in ladder().items()}
    with pytest.raises(FitError, match="do not vary independently"):
        CODE.fit(one, np.linspace(1, 2, len(one["tokens"])))
    flat = {**ladder(), "parameters": np.full(64, 1e8)}
    with pytest.raises(FitError, match="all runs have one of the model sizes"):
        CODE.fit(flat, np.linspace(1, 2, 64))


FITS = {"code": (CODE, CODE_CONSTANTS), "text": (TEXT, TEXT_CONSTANTS)}


def weighted_loss(
    code_weight: float, sizes: FloatArray, tokens: FloatArray, r: FloatArray
) -> FloatArray:
    rows = {"parameters": sizes, "tokens": tokens, "share_code": r, "share_text": 1 - r}
    code, text = CODE.predict(CODE_CONSTANTS, rows), TEXT.predict(TEXT_CONSTANTS, rows)
    return code_weight * code + (1 - code_weight) * text


def test_the_best_share_is_that_of_a_search_over_all() -> None:
    for code_weight in (0.2, 0.5, 0.8):
        best = best_mixture(FITS, {"code": code_weight, "text": 1 - code_weight}, **TARGET)
        r = np.linspace(0, 1, 10_001)
        losses = weighted_loss(code_weight, *np.full((2, len(r)), [[2.8e9], [4e11]]), r)
        assert best.best.shares["code"] == pytest.approx(r[losses.argmin()], abs=2e-4)
        assert best.best.loss_nats == pytest.approx(losses.min(), abs=1e-6)
        assert best.loss_nats["code"] == pytest.approx(
            CODE.predict(CODE_CONSTANTS, at_target(best.best.shares["code"]))[0], rel=1e-9
        )


def test_the_best_size_and_share_are_those_of_a_search_over_all() -> None:
    weights = {"code": 0.5, "text": 0.5}
    for optimum in best_mixture_against_compute(FITS, weights, [1e19, 1e22]):
        compute = optimum.compute_flops
        r, ratio = np.meshgrid(np.linspace(0.01, 0.99, 197), np.geomspace(1, 1000, 301))
        sizes = np.sqrt(compute / 6 / ratio)
        losses = weighted_loss(0.5, sizes.ravel(), (sizes * ratio).ravel(), r.ravel())
        place = np.unravel_index(losses.argmin(), r.shape)
        assert optimum.best.loss_nats <= losses.min()
        assert optimum.best.loss_nats == pytest.approx(losses.min(), abs=1e-4)
        assert optimum.best.shares["code"] == pytest.approx(r[place], abs=0.02)
        assert optimum.tokens / optimum.parameters == pytest.approx(ratio[place], rel=0.1)


def test_code_alone_has_chinchillas_optimum() -> None:
    [optimum] = best_mixture_against_compute(FITS, {"code": 1.0}, [1e21])
    expected = compute_optimal(CODE_CONSTANTS[:5], 1e21)
    assert optimum.best.shares["code"] == pytest.approx(1.0, abs=1e-6)
    assert optimum.parameters == pytest.approx(expected.parameters, rel=0.01)
    assert optimum.tokens == pytest.approx(expected.tokens, rel=0.01)


def test_tokens_per_parameter_that_are_given_are_kept() -> None:
    [optimum] = best_mixture_against_compute(
        FITS, {"code": 0.5, "text": 0.5}, [6e21], tokens_per_parameter=10
    )
    assert optimum.parameters == pytest.approx(1e10)
    assert optimum.tokens == pytest.approx(1e11)
    assert optimum.compute_flops == pytest.approx(6e21)


def test_a_fit_that_was_saved_predicts_the_same() -> None:
    fitted = analyse(CODE, ladder(), measured(CODE, CODE_CONSTANTS, noise=0.004, seed=0))
    again = FittedLaw.from_dict(json.loads(json.dumps(fitted.as_dict())))
    for name in ("value", "low", "high"):
        assert getattr(again.predict(at_target(0.4)), name) == pytest.approx(
            getattr(fitted.predict(at_target(0.4)), name), rel=1e-12
        )
    truth = CODE.predict(CODE_CONSTANTS, at_target(0.4))
    assert fitted.predict(at_target(0.4)).low < truth < fitted.predict(at_target(0.4)).high
