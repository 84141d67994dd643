"""How often small published runs rank mixtures as large ones do."""

import importlib.util
import itertools

import numpy as np
import pytest

from megatron_codemix.scaling.analysis import analyse
from megatron_codemix.scaling.decisions import decide, decision_accuracy, predict_for
from megatron_codemix.scaling.law import FloatArray
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from megatron_codemix.scaling.laws.regmix import fit_boosted_trees, fit_ridge
from megatron_codemix.scaling.readers import overtraining, regmix
from megatron_codemix.scaling.table import RunTable
from tests.helpers.scaling_runs import published_runs

CORPORA = ["c4_original", "rpj", "rw_original"]
SMALL = 5e8
"""Parameters: the testbed's grid of sizes ends at 412M."""


@pytest.fixture(scope="module")
def corpora() -> RunTable:
    """Gadre et al. 2024: three training sets, eight evaluations, 33 scales that all three have."""
    return overtraining.read(published_runs("overtraining"))


@pytest.fixture(scope="module")
def mixtures() -> RunTable:
    """Liu et al. 2024: random mixtures of the Pile's domains at three sizes."""
    return regmix.read(published_runs("regmix"))


def by_scale(table: RunTable, evaluation: str) -> dict[tuple[float, float], FloatArray]:
    """(parameters, tokens) -> losses of the three corpora; the last is the largest scale."""
    scales = {}
    for scale, rows in table.frame.groupby(["parameters_total", "tokens"]):
        if len(rows) == len(CORPORA):
            scales[scale] = rows.set_index("training_set").loc[CORPORA, evaluation].to_numpy()
    return dict(sorted(scales.items(), key=lambda item: item[0][0] * item[0][1]))


def count_right(small: FloatArray, large: FloatArray) -> int:
    """Pairs in the same order at both scales, counted one by one."""
    pairs = itertools.combinations(range(len(small)), 2)
    return sum((small[i] < small[j]) == (large[i] < large[j]) for i, j in pairs)


def test_each_scale_ranks_corpora_as_the_largest(corpora: RunTable) -> None:
    right = total = 0
    for evaluation in corpora.columns("loss_nats"):
        *smaller, largest = by_scale(corpora, evaluation).values()
        for losses in smaller:
            found = decision_accuracy(losses, largest, bootstraps=1)
            right += count_right(losses, largest)
            total += 3
            assert found.accuracy * found.pairs == pytest.approx(count_right(losses, largest))
    assert (right, total) == (671, 768)


def test_fits_to_small_models_find_the_best_corpus_for_the_largest(corpora: RunTable) -> None:
    """Each corpus' law from models of at most 412M names the one with the lowest loss at 6.9B, in
    all eight evaluations, and ranks more pairs as they are than any single scale does."""
    law, right = Chinchilla(), 0
    for evaluation in corpora.columns("loss_nats"):
        (parameters, tokens), largest = list(by_scale(corpora, evaluation).items())[-1]
        target = {"parameters": np.array([parameters]), "tokens": np.array([tokens])}
        predicted = {}
        for corpus in CORPORA:
            table = corpora.where_equal("training_set", corpus)
            inputs, losses = table.inputs_for(law, evaluation)
            small = inputs["parameters"] < SMALL
            ladder = {name: column[small] for name, column in inputs.items()}
            fitted = analyse(law, ladder, losses[small], bootstraps=30)
            predicted[corpus] = predict_for(fitted, target)
        decision = decide(predicted)
        assert decision.winner == CORPORA[int(largest.argmin())], evaluation
        assert decision.chance_wrong < 0.5
        right += count_right(np.array([predicted[c].loss_nats for c in CORPORA]), largest)
    assert right == 23  # of 24


@pytest.mark.parametrize(("domain", "accuracy"), [("github", 0.9647), ("pile_cc", 0.9687)])
def test_mixtures_at_1m_are_ranked_as_at_60m(
    mixtures: RunTable, domain: str, accuracy: float
) -> None:
    small, large = (
        mixtures.where_equal("set", name).frame[f"loss_nats.{domain}"].to_numpy()
        for name in ("test_1m", "test_60m")
    )
    found = decision_accuracy(small, large, bootstraps=100)
    assert found.pairs == 256 * 255 // 2
    assert found.accuracy == pytest.approx(count_right(small, large) / found.pairs)
    assert found.accuracy == pytest.approx(accuracy, abs=1e-4)
    assert found.low < found.accuracy < found.high


@pytest.mark.parametrize(("domain", "trees", "ridge"), [("github", 0.94, 0.76)])
def test_regressions_at_1m_rank_other_mixtures_at_1b(
    mixtures: RunTable, domain: str, trees: float, ridge: float
) -> None:
    small, large = (mixtures.where_equal("set", name) for name in ("train_1m", "test_1B"))
    columns = [f"share.{name}" for name in mixtures.sources]
    shares, new_shares = small.frame[columns].to_numpy(), large.frame[columns].to_numpy()
    losses, new_losses = (t.frame[f"loss_nats.{domain}"].to_numpy() for t in (small, large))
    fits = {"ridge": (fit_ridge(shares, losses), ridge)}
    if importlib.util.find_spec("lightgbm") is not None:
        fits["trees"] = (fit_boosted_trees(shares, losses), trees)
    for name, (regression, expected) in fits.items():
        ranked = regression.predict(new_shares)
        found = decision_accuracy(ranked, new_losses, bootstraps=1)
        assert found.accuracy == pytest.approx(expected, abs=0.02), name
        assert found.accuracy == pytest.approx(count_right(ranked, new_losses) / found.pairs)
