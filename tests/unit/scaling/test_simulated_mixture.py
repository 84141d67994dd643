"""RegMix from a table of runs to a mixture."""

import importlib.util

import numpy as np
import pandas as pd
import pytest

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.readers import regmix
from megatron_codemix.scaling.simulated_mixture import simulate_mixture
from megatron_codemix.scaling.table import RunTable
from tests.helpers.scaling_runs import published_runs

SLOPES = {"code": 0.3, "text": 1.0, "markup": 0.5}
LOSS = "loss_nats.text"


def made_up(rows: int = 40, noise: float = 0.01) -> pd.DataFrame:
    """Runs whose loss is linear in the shares."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(3), rows)
    frame = pd.DataFrame(shares, columns=[f"share.{name}" for name in SLOPES])
    frame["name"] = [f"run_{row}" for row in range(rows)]
    frame["parameters_total"], frame["tokens"] = 1_000_000, 10**9
    frame[LOSS] = 4 - shares @ list(SLOPES.values()) + rng.normal(0, noise, rows)
    return frame


def table(frame: pd.DataFrame) -> RunTable:
    return RunTable.of_frame(frame, "runs.csv")


def test_ridge_finds_the_source_that_lowers_the_loss_most() -> None:
    found = simulate_mixture(table(made_up()), LOSS, "ridge")
    assert found.shares["text"] > 0.95
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.predicted_loss == pytest.approx(3.0, abs=0.05)
    assert found.spearman_held_out > 0.95
    best = made_up().sort_values(LOSS).iloc[0]
    assert (found.best_run, found.best_run_loss) == (best["name"], best[LOSS])


def test_an_optimum_that_no_run_supports_is_told() -> None:
    """Losses level off from 3.5 nats, which a linear law goes through."""
    frame = made_up(200)
    level = frame.assign(**{LOSS: np.maximum(frame[LOSS], 3.5)})
    linear, below = simulate_mixture(table(level), LOSS, "ridge").warnings
    assert "optimum at a single source" in linear
    assert "below the lowest run" in below
    near = frame[frame["share.text"] < 0.99].copy()
    near[LOSS] = 3.5 + np.random.default_rng(1).normal(0, 0.01, len(near))
    [linear] = simulate_mixture(table(near), LOSS, "ridge").warnings
    assert "optimum at a single source" in linear


def test_losses_that_do_not_follow_the_mixture_are_not_predicted() -> None:
    frame = made_up()
    frame[LOSS] = np.random.default_rng(1).permutation(frame[LOSS].to_numpy())
    assert abs(simulate_mixture(table(frame), LOSS, "ridge").spearman_held_out) < 0.5


def test_runs_that_are_not_used_are_listed() -> None:
    frame = made_up()
    frame["diverged"] = [number == 3 for number in range(len(frame))]
    found = simulate_mixture(table(frame), LOSS, "ridge")
    assert found.runs == len(frame) - 1
    assert found.as_dict()["excluded"] == [{"run": "run_3", "reason": "it is marked as diverged"}]


def test_the_order_of_the_runs_does_not_matter() -> None:
    found = simulate_mixture(table(made_up()), LOSS, "ridge")
    assert simulate_mixture(table(made_up()[::-1]), LOSS, "ridge") == found


def test_only_mixtures_near_the_prior_are_tried() -> None:
    prior = {"code": 1e9, "text": 1.0, "markup": 1.0}
    found = simulate_mixture(table(made_up()), LOSS, "ridge", prior)
    assert found.shares["code"] > 0.99


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="no regression 'forest'; there are: trees, ridge"):
        simulate_mixture(table(made_up()), LOSS, "forest")
    with pytest.raises(DataError, match=r"19 runs with .*; a regression"):
        simulate_mixture(table(made_up(rows=19)), LOSS, "ridge")
    sizes = made_up()
    sizes["tokens"] = np.where(sizes.index < 20, 10**9, 2 * 10**9)
    with pytest.raises(DataError, match="the runs differ in tokens; choose those of one scale"):
        simulate_mixture(table(sizes), LOSS, "ridge")
    with pytest.raises(DataError, match="has no shares"):
        simulate_mixture(
            table(made_up().drop(columns=[f"share.{n}" for n in SLOPES])), LOSS, "ridge"
        )
    with pytest.raises(ConfigError) as caught:
        simulate_mixture(table(made_up()), LOSS, "ridge", {"code": 1.0, "text": -1.0, "prose": 1.0})
    assert caught.value.problems == [
        "prior of 'markup' is missing",
        "prior of 'prose': the runs have no such source",
        "prior of 'text' is -1.0; write a number above 0",
    ]


@pytest.mark.skipif(
    importlib.util.find_spec("lightgbm") is None, reason="LightGBM is not installed"
)
def test_the_published_runs_lead_to_the_published_mixture() -> None:
    """Without a look at the test mixtures; the notebook's share of Pile-CC is 0.870."""
    runs = regmix.read(published_runs("regmix")).where_equal("set", "train_1m")
    found = simulate_mixture(runs, "loss_nats.pile_cc", "trees", regmix.PILE_TOKEN_SHARES)
    assert found.shares["pile_cc"] == pytest.approx(0.870, abs=0.03)
    assert found.spearman_held_out > 0.97
    assert found.predicted_loss < 1.02 * found.best_run_loss
