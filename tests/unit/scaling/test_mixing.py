"""The data-mixing law, on published runs and on known constants."""

import numpy as np
import pytest

from megatron_codemix.errors import ConfigError, FitError
from megatron_codemix.scaling.best_shares import best_shares, weighted_mean
from megatron_codemix.scaling.laws.mixing import MixingLaw
from megatron_codemix.scaling.registry import build_law, sources_of

GITHUB = np.array([0.25, 0.375, 0.5, 0.625, 0.75])
MIXTURES = {"share_github": GITHUB, "share_pile_cc": 1 - GITHUB}
PUBLISHED = [
    # size, evaluation, losses after 30,000 steps, t and ln k by the authors' own fit
    ("70M", "github", [1.44434, 1.38597, 1.32782, 1.29360, 1.25677], -1.6405, -0.6819),
    ("160M", "github", [1.21302, 1.15533, 1.10663, 1.07623, 1.04117], -1.6139, -0.7760),
    ("70M", "pile_cc", [3.49873, 3.53159, 3.56695, 3.62689, 3.70329], -2.5189, -0.6257),
    ("160M", "pile_cc", [3.16343, 3.19214, 3.23002, 3.29358, 3.36603], -2.7239, -0.6131),
]
"""Ye et al. 2024 (arXiv 2403.16952), github.com/yegcjs/mixinglaws, data/2Mix."""


@pytest.mark.parametrize(("size", "evaluation", "losses", "t", "log_k"), PUBLISHED)
def test_published_mixtures_give_the_published_exponents(
    size: str, evaluation: str, losses: list[float], t: float, log_k: float
) -> None:
    other = {"github": "pile_cc", "pile_cc": "github"}[evaluation]
    law = MixingLaw([evaluation, other])
    found = law.fit(MIXTURES, np.array(losses))
    # Five points for three parameters, and another method of fitting: no closer than this.
    assert found.parameters[2] == pytest.approx(t, abs=0.2)
    assert np.log(found.parameters[1]) == pytest.approx(log_k, abs=0.05)
    assert found.at_bounds == ()
    errors = law.predict(found.parameters, MIXTURES) - losses
    assert np.sqrt(np.mean(errors**2)) < 0.003


def random_mixtures(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    shares = np.random.default_rng(seed).dirichlet([1, 1, 1], rows)
    return {f"share_{name}": column for name, column in zip("abc", shares.T, strict=True)}


def test_known_constants_are_found_in_any_order_of_the_runs() -> None:
    law, constants = MixingLaw("abc"), np.array([1.2, 0.7, -3.0, 0.8])
    inputs = random_mixtures(40)
    noise = np.random.default_rng(1).normal(0, 0.001, 40)
    losses = law.predict(constants, inputs) * np.exp(noise)
    found = law.fit(inputs, losses)
    assert found.parameters == pytest.approx(constants, rel=0.03)
    turned = {name: column[::-1] for name, column in inputs.items()}
    assert law.fit(turned, losses[::-1]).parameters == pytest.approx(found.parameters, rel=1e-6)


def test_a_resample_is_fitted_as_its_rows_would_be() -> None:
    law = MixingLaw("abc")
    inputs = random_mixtures(12)
    noise = np.random.default_rng(1).normal(0, 0.003, 12)
    losses = law.predict(np.array([1.2, 0.7, -3.0, 0.8]), inputs) * np.exp(noise)
    times = np.array([2, 1, 0, 1, 1, 3, 0, 1, 1, 1, 0, 1])
    start = law.fit(inputs, losses).parameters
    [refitted] = law.refit(inputs, losses, times[None].astype(float), start)
    repeated = {name: np.repeat(column, times) for name, column in inputs.items()}
    assert refitted == pytest.approx(
        law.fit(repeated, np.repeat(losses, times)).parameters, rel=1e-4
    )


def test_the_law_is_built_again_from_its_inputs() -> None:
    law = build_law("mixing", ["github", "pile_cc"])
    assert build_law("mixing", sources_of(law.inputs)).parameter_names == law.parameter_names


def test_best_shares_of_two_sources_have_a_closed_form() -> None:
    """w k t exp(t r) = w' k' t' exp(t' (1 - r)), with the 160M constants above."""
    code, text = MixingLaw(["github", "pile_cc"]), MixingLaw(["pile_cc", "github"])
    fits = {"code": np.array([0.9242, 0.45, -1.778]), "text": np.array([3.0823, 0.5371, -2.536])}
    sources = ["github", "pile_cc"]
    objective = weighted_mean(
        {
            "code": code.over_shares(fits["code"], sources),
            "text": text.over_shares(fits["text"], sources),
        },
        {"code": 0.6, "text": 0.4},
    )
    ratio = (0.4 * 0.5371 * 2.536) / (0.6 * 0.45 * 1.778)
    expected = (np.log(ratio) - 2.536) / (-1.778 - 2.536)
    best = best_shares(objective, sources)
    assert best.shares["github"] == pytest.approx(expected, abs=1e-5)
    assert best.loss_nats == pytest.approx(
        0.6 * (0.9242 + 0.45 * np.exp(-1.778 * expected))
        + 0.4 * (3.0823 + 0.5371 * np.exp(-2.536 * (1 - expected)))
    )


def test_what_cannot_be_fitted_says_why() -> None:
    law = MixingLaw(["github", "pile_cc"])
    with pytest.raises(FitError, match="2 different runs are too few for 3 parameters"):
        law.fit({name: column[:2] for name, column in MIXTURES.items()}, np.array([1.2, 1.1]))
    half = np.full(5, 0.5)
    with pytest.raises(FitError, match="do not vary independently"):
        law.fit({"share_github": half, "share_pile_cc": half}, np.linspace(1, 2, 5))
    with pytest.raises(FitError, match="5 of 5 rows the shares of github, pile_cc do not sum to 1"):
        law.fit({"share_github": half, "share_pile_cc": half / 2}, np.linspace(1, 2, 5))
    with pytest.raises(ConfigError, match=r"column share\.<source>"):
        MixingLaw([])
