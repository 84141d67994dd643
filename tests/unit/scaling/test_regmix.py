"""RegMix's regressions, beside the normal equations, and on the published runs."""

import importlib.util

import numpy as np
import pytest
from scipy.stats import spearmanr

from megatron_codemix.errors import FitError
from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.scaling.laws.regmix import (
    PENALTIES,
    BoostedTrees,
    RegMixLaw,
    fit_boosted_trees,
    fit_ridge,
    simulate_best,
)
from megatron_codemix.scaling.readers import regmix
from megatron_codemix.scaling.table import RunTable
from tests.helpers.scaling_runs import published_runs

HAS_LIGHTGBM = importlib.util.find_spec("lightgbm") is not None
needs_lightgbm = pytest.mark.skipif(not HAS_LIGHTGBM, reason="LightGBM is not installed")

SPEARMAN = {
    "arxiv": 99.60, "freelaw": 99.71, "pubmed_central": 99.08, "wikipedia_en": 99.45,
    "dm_mathematics": 97.20, "github": 99.77, "stackexchange": 99.73, "gutenberg_pg_19": 99.18,
    "pile_cc": 98.92, "ubuntu_irc": 96.87, "hackernews": 98.51, "pubmed_abstracts": 99.19,
    "uspto_backgrounds": 99.12,
}  # fmt: skip
"""On the 256 test mixtures at 1M, times 100; regression_fitting/regression.ipynb of
github.com/sail-sg/regmix."""

BEST_FOR_PILE_CC = {
    "pile_cc": 0.870, "ubuntu_irc": 0.064, "pubmed_abstracts": 0.024, "wikipedia_en": 0.016,
    "github": 0.0002,
}  # fmt: skip
"""The mixture that the notebook finds for the loss on Pile-CC: the largest shares, and GitHub's."""


def random_runs(rows: int, sources: int, seed: int) -> tuple[FloatArray, FloatArray]:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(sources, 0.5), rows)
    losses = 3 - shares @ rng.uniform(0, 2, sources) + rng.normal(0, 0.05, rows)
    return shares, losses


def solve_ridge(shares: FloatArray, losses: FloatArray, penalty: float) -> FloatArray:
    """Intercept and slopes by the normal equations."""
    columns = np.insert(shares, 0, 1.0, axis=1)
    diagonal = np.diag([0.0, *[penalty] * shares.shape[1]])
    return np.linalg.solve(columns.T @ columns + diagonal, columns.T @ losses)


def test_ridge_is_the_best_of_leaving_out_each_run_in_turn() -> None:
    shares, losses = random_runs(25, 6, seed=0)
    errors = []
    for penalty in PENALTIES:
        squares = []
        for row in range(25):
            kept = np.arange(25) != row
            found = solve_ridge(shares[kept], losses[kept], penalty)
            squares.append((found[0] + shares[row] @ found[1:] - losses[row]) ** 2)
        errors.append(np.mean(squares))
    ridge = fit_ridge(shares, losses)
    assert ridge.penalty == PENALTIES[int(np.argmin(errors))]
    expected = solve_ridge(shares, losses, ridge.penalty)
    assert [ridge.intercept, *ridge.slopes] == pytest.approx(expected, rel=1e-6)


def test_the_law_is_the_same_regression() -> None:
    shares, losses = random_runs(30, 3, seed=1)
    law = RegMixLaw("abc")
    inputs = {f"share_{name}": column for name, column in zip("abc", shares.T, strict=True)}
    found = law.fit(inputs, losses)
    assert law.predict(found.parameters, inputs) == pytest.approx(
        fit_ridge(shares, losses).predict(shares)
    )
    with pytest.raises(FitError, match="2 runs are too few for a ridge regression"):
        law.fit({name: column[:2] for name, column in inputs.items()}, losses[:2])


def test_one_mixture_alone_is_refused() -> None:
    with pytest.raises(FitError, match="all runs have the same mixture"):
        fit_ridge(np.full((5, 2), 0.5), np.linspace(1, 2, 5))


def test_simulation_ends_at_the_source_with_the_lowest_loss() -> None:
    shares, _ = random_runs(60, 3, seed=2)
    ridge = fit_ridge(shares, 3 - shares @ np.array([0.1, 1.0, 0.2]))
    best = simulate_best(ridge, np.array([0.4, 0.3, 0.3]))
    assert best.sum() == pytest.approx(1)
    assert best[1] > 0.99


@pytest.fixture(scope="module")
def runs() -> RunTable:
    return regmix.read(published_runs("regmix"))


def shares_of(table: RunTable) -> FloatArray:
    return table.frame[[f"share.{name}" for name in table.sources]].to_numpy()


def losses_of(table: RunTable, domain: str) -> FloatArray:
    return table.frame[f"loss_nats.{domain}"].to_numpy()


def test_the_published_runs_are_read_in_full(runs: RunTable) -> None:
    counts = {name: len(runs.where_equal("set", name)) for name in runs.frame["set"].unique()}
    assert counts == {"train_1m": 512, "test_1m": 256, "test_60m": 256, "test_1B": 64}
    assert tuple(runs.sources) == tuple(regmix.PILE_TOKEN_SHARES)
    assert len(runs.columns("loss_nats")) == 13
    first = runs.frame[runs.frame["name"] == "train_1m_1"].iloc[0]
    assert first["share.pile_cc"] == pytest.approx(0.787)
    assert first["loss_nats.github"] == pytest.approx(6.632823467254639)


def test_ridge_ranks_large_models_on_the_published_runs(runs: RunTable) -> None:
    """The paper's claim for its linear regression: small runs rank mixtures of larger models."""
    train = runs.where_equal("set", "train_1m")
    for name, least in (("test_1m", 0.85), ("test_60m", 0.85), ("test_1B", 0.8)):
        test = runs.where_equal("set", name)
        ridge = fit_ridge(shares_of(train), losses_of(train, "pile_cc"))
        rank = spearmanr(ridge.predict(shares_of(test)), losses_of(test, "pile_cc")).statistic
        assert rank > least, name


@pytest.fixture(scope="module")
def trees(runs: RunTable) -> dict[str, BoostedTrees]:
    """By domain; the end of the training is decided on the test mixtures, as the authors did."""
    train, test = (runs.where_equal("set", name) for name in ("train_1m", "test_1m"))
    return {
        domain: fit_boosted_trees(
            shares_of(train),
            losses_of(train, domain),
            (shares_of(test), losses_of(test, domain)),
        )
        for domain in SPEARMAN
    }


@needs_lightgbm
def test_boosted_trees_rank_the_test_mixtures_as_published(
    runs: RunTable, trees: dict[str, BoostedTrees]
) -> None:
    test = runs.where_equal("set", "test_1m")
    for domain, published in SPEARMAN.items():
        predicted = trees[domain].predict(shares_of(test))
        rank = 100 * spearmanr(predicted, losses_of(test, domain)).statistic
        assert rank == pytest.approx(published, abs=0.5), domain


@needs_lightgbm
def test_simulation_finds_the_published_mixture(
    runs: RunTable, trees: dict[str, BoostedTrees]
) -> None:
    prior = np.array(list(regmix.PILE_TOKEN_SHARES.values()))
    best = dict(zip(runs.sources, simulate_best(trees["pile_cc"], prior), strict=True))
    # Other random mixtures and another version of LightGBM: the same order, within 0.03.
    for domain, share in BEST_FOR_PILE_CC.items():
        assert best[domain] == pytest.approx(share, abs=0.03), domain
    assert sorted(best, key=best.get, reverse=True)[:2] == ["pile_cc", "ubuntu_irc"]
