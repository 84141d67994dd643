"""Which runs are fitted together, predictions of stored fits, the next run, best shares."""

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatron_codemix.errors import ConfigError, DataError, FitError
from megatron_codemix.files import write_json
from megatron_codemix.scaling.conditions import Condition, read_conditions
from megatron_codemix.scaling.fit_file import predictions, read_fits
from megatron_codemix.scaling.fits import FitRequest, fit_runs
from megatron_codemix.scaling.law import FloatArray, Inputs
from megatron_codemix.scaling.laws.chinchilla import Chinchilla
from megatron_codemix.scaling.mixture_answer import mixture_at
from megatron_codemix.scaling.mixture_optimum import share_paths
from megatron_codemix.scaling.next_run import next_runs
from megatron_codemix.scaling.readers.detect import read_runs
from megatron_codemix.scaling.registry import build_law
from megatron_codemix.scaling.table import RunTable
from megatron_codemix.scaling.target import Point, complete_shares, point_inputs
from tests.helpers.ladder_runs import CODE, SHARES, SIZES, TEXT, TOKENS, ladder_table, law_of
from tests.helpers.scaling_runs import published_runs


def where(*texts: str) -> tuple[Condition, ...]:
    return read_conditions("--where", texts)


@pytest.fixture(scope="module")
def table() -> RunTable:
    return ladder_table()


def test_mixtures_are_fitted_together_where_the_law_takes_shares(table: RunTable) -> None:
    found = fit_runs(table, FitRequest(bootstraps=30))
    assert [fit.target for fit in found.fits] == ["loss_nats.code", "loss_nats.text"]
    for fit, constants in zip(found.fits, (CODE, TEXT), strict=True):
        assert fit.where == {}
        assert fit.fitted.law.name == "mixture-and-scale"
        assert fit.groups == "trainings with all their budgets"
        alpha, beta = fit.fitted.parameter("alpha"), fit.fitted.parameter("beta")
        assert alpha.value == pytest.approx(constants[3], abs=0.05)
        assert beta.value == pytest.approx(constants[4], abs=0.05)
        held_out = {run.name for run in fit.held_out}
        assert held_out == {name for name in table.names if f"/{SIZES[-1]:g}-" in name}
        for run in fit.held_out:
            assert run.predicted == pytest.approx(run.measured, rel=0.02)


def test_a_law_without_shares_is_fitted_to_each_mixture(table: RunTable) -> None:
    found = fit_runs(table, FitRequest(law="chinchilla", targets=("code",), bootstraps=10))
    assert [fit.where["share.code"] for fit in found.fits] == list(SHARES)
    for fit in found.fits:
        assert fit.fitted.runs == 20
        # The law at this mixture is Chinchilla's with the same exponents.
        own = {"parameters": SIZES, "tokens": np.full(5, TOKENS[1])}
        share = float(fit.where["share.code"])
        mixed = {**own, "share_code": np.full(5, share), "share_text": np.full(5, 1 - share)}
        there = fit.fitted.law.predict(fit.fitted.values, own)
        assert there == pytest.approx(law_of("code").predict(CODE, mixed), rel=0.01)


def test_a_loss_that_is_named_after_no_source_needs_one(table: RunTable) -> None:
    renamed = table.frame.rename(columns={"loss_nats.code": "loss_nats.stack"})
    other = RunTable.of_frame(renamed, "ladder")
    found = fit_runs(other, FitRequest(bootstraps=5))
    assert [fit.target for fit in found.fits] == ["loss_nats.text"]
    assert "'stack' is no source of the mixtures (code, text)" in found.failures[0].reason
    request = FitRequest(bootstraps=5, targets=("stack",), own="code")
    [fit] = fit_runs(other, request).fits
    [same] = fit_runs(table, FitRequest(bootstraps=5, targets=("code",))).fits
    assert fit.fitted.values == pytest.approx(same.fitted.values)


def test_only_the_runs_that_were_chosen_are_fitted(table: RunTable) -> None:
    request = FitRequest(
        law="chinchilla", targets=("loss_nats.text",), where=where("share.code=0.25"), bootstraps=5
    )
    [fit] = fit_runs(table, request).fits
    assert fit.where == {}
    assert {name.split("/")[0] for name in fit.names} == {"code25"}
    with pytest.raises(DataError, match=r"no run with share\.code = 0\.3"):
        fit_runs(table, FitRequest(where=where("share.code=0.3")))
    with pytest.raises(ConfigError, match="holds numbers"):
        fit_runs(table, FitRequest(where=where("share.code=half")))


def test_a_target_without_effect_on_the_law_is_refused(table: RunTable) -> None:
    at = Point(parameters=1e9, tokens=2e10)
    with pytest.raises(ConfigError, match="--at-tokens have no effect on law mixing"):
        fit_runs(table, FitRequest(law="mixing", targets=("code",), bootstraps=5, at=at))
    mixed = replace(at, shares={"code": 0.5})
    with pytest.raises(ConfigError, match="--share has no effect on law chinchilla"):
        fit_runs(table, FitRequest(law="chinchilla", targets=("code",), bootstraps=5, at=mixed))
    law = build_law("mixing", ("code", "text"))
    with pytest.raises(ConfigError, match="the size has no effect on law mixing; it takes share"):
        point_inputs(law, mixed)


def test_what_the_table_does_not_have_is_named(table: RunTable) -> None:
    with pytest.raises(DataError, match=r"no column loss_nats\.markup"):
        fit_runs(table, FitRequest(targets=("markup",)))
    with pytest.raises(DataError, match="no column accuracy"):
        fit_runs(table, FitRequest(law="sigmoid-of-loss"))
    with pytest.raises(DataError, match="no column corpus"):
        fit_runs(table, FitRequest(law="chinchilla", by=("corpus",)))
    with pytest.raises(DataError, match="60 runs are of 60 kinds"):
        fit_runs(table, FitRequest(law="chinchilla", by=("name",)))
    one = table.where_equal("parameters_total", SIZES[0])
    with pytest.raises(FitError, match="all runs have one of the model sizes"):
        fit_runs(one, FitRequest(law="chinchilla", targets=("code",), bootstraps=5))


def test_a_law_without_enough_runs_says_which_were_left_out(table: RunTable) -> None:
    frame = table.where_equal("share.code", 0.25).frame.drop(columns=["loss_nats.code"])
    frame["diverged"] = frame["parameters_total"] > SIZES[0]
    marked = RunTable.of_frame(frame, "ladder")
    with pytest.raises(FitError) as caught:
        fit_runs(marked, FitRequest(law="chinchilla", bootstraps=5))
    left_out = "16 runs left out (code25/2e+07-1e+09-0: it is marked as diverged; "
    assert left_out in str(caught.value)
    assert str(caught.value).endswith("; and 13 more)")


def test_a_law_that_fits_some_targets_tells_of_the_others(table: RunTable) -> None:
    frame = table.frame.copy()
    frame.loc[8:, "loss_nats.text"] = np.nan
    partial = RunTable.of_frame(frame, "ladder")
    found = fit_runs(partial, FitRequest(bootstraps=5))
    assert [fit.target for fit in found.fits] == ["loss_nats.code"]
    [failure] = found.failures
    assert failure.target == "loss_nats.text"
    assert ("code50/1e+07-1e+09-0", "loss_nats.text is no finite number") in found.excluded


def test_stored_fits_predict_as_those_they_were_written_from(
    table: RunTable, tmp_path: Path
) -> None:
    found = fit_runs(table, FitRequest(bootstraps=30))
    write_json(tmp_path / "fit.json", json.loads(json.dumps(found.as_dict(), allow_nan=False)))
    stored = read_fits(tmp_path / "fit.json")
    at = Point(parameters=1e9, tokens=2e10, shares={"code": 0.25})
    inputs = {"parameters": np.array([1e9]), "tokens": np.array([2e10])}
    inputs |= {"share_code": np.array([0.25]), "share_text": np.array([0.75])}
    for fit, one, constants in zip(found.fits, predictions(stored, at), (CODE, TEXT), strict=True):
        expected = fit.fitted.predict(inputs)
        assert (one.value, one.low, one.high) == (
            expected.value[0],
            expected.low[0],
            expected.high[0],
        )
        truth = law_of(fit.target.split(".")[1]).predict(constants, inputs)[0]
        assert one.value == pytest.approx(truth, rel=0.01)
        assert any("times the largest that was fitted" in warning for warning in one.warnings)


def test_a_prediction_needs_a_whole_point(table: RunTable, tmp_path: Path) -> None:
    found = fit_runs(table, FitRequest(bootstraps=5, targets=("code",)))
    write_json(tmp_path / "fit.json", found.as_dict())
    stored = read_fits(tmp_path / "fit.json")
    with pytest.raises(ConfigError, match="needs tokens: --tokens"):
        predictions(stored, Point(parameters=1e9, shares={"code": 0.1}))
    with pytest.raises(ConfigError, match="give all but one"):
        predictions(stored, Point(parameters=1e9, tokens=1e10))


@pytest.fixture(scope="module")
def whole(table: RunTable) -> dict[str, Any]:
    """What is written of a fit."""
    return fit_runs(table, FitRequest(bootstraps=5, targets=("code",))).as_dict()


Change = Callable[[dict[str, Any]], object]
"""Of the first fit of a record."""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda fit: fit["parameters"][0].update(value="abc"), r"value: expected a number"),
        (lambda fit: fit["parameters"][0].update(value=float("nan")), "a finite number, got 'nan'"),
        (lambda fit: fit["parameters"].pop(), "parameters: law mixture-and-scale has E, A, B"),
        (lambda fit: fit["fitted_range"].clear(), "fitted_range: lacks parameters, tokens"),
        (lambda fit: fit["fitted_range"].update(tokens=[2.0]), r"fits\.0\.fitted_range\.tokens"),
        (lambda fit: fit["fitted_range"].update(tokens=[2.0, 1.0]), "tokens: 2 is above 1"),
        (lambda fit: fit["draws"][0].pop(), "draws: each has 7 parameters"),
        (lambda fit: fit["draws"][0].append(None), "expected a number, got nothing"),
        (lambda fit: fit.pop("draws"), r"fits\.0\.draws: missing"),
        (lambda fit: fit.update(law="chinchila"), "did you mean 'chinchilla'"),
        (lambda fit: fit.update(law="chinchilla"), "inputs: law chinchilla has parameters, tokens"),
        (lambda fit: fit.update(inputs=["tokens", "share_code"]), "two sources or more"),
        (lambda fit: fit.update(runs=0), "at least 1"),
    ],
)
def test_a_damaged_fit_is_refused(
    change: Change, words: str, whole: dict[str, Any], tmp_path: Path
) -> None:
    record = copy.deepcopy(whole)
    change(record["fits"][0])
    path = tmp_path / "fit.json"
    write_json(path, record)
    with pytest.raises(DataError, match=words) as caught:
        read_fits(path)
    assert f"{path}: no whole result of 'codemix scaling fit --out'" in str(caught.value)
    assert "fit again" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "fits: missing"),
        ('{"fits": []}', "fits: must not be empty"),
        ('{"fits": {}}', "fits: expected a list"),
        ('{"fits": [3]}', "expected a section"),
        ("[]", "expected a section"),
        ("{", "not JSON"),
        ("\xff", "not JSON"),
    ],
)
def test_a_file_that_holds_no_fits_is_refused(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=words):
        read_fits(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="a folder"):
        read_fits(tmp_path)


def test_shares_are_completed() -> None:
    law = law_of("code")
    assert complete_shares(law, {"code": 0.25}) == {"code": 0.25, "text": 0.75}
    assert complete_shares(Chinchilla(), {"code": 0.25}) == {}
    with pytest.raises(ConfigError, match="no mixture"):
        complete_shares(law, {"code": 1.25})
    with pytest.raises(ConfigError, match="did you mean 'code'"):
        complete_shares(law, {"cod": 0.25})


def test_quantities_that_a_law_does_not_take_are_refused() -> None:
    at = Point(parameters=1e9, tokens=1e10, others={"unique_tokens": 1e9})
    with pytest.raises(ConfigError, match="no effect on law chinchilla; it takes no such"):
        point_inputs(Chinchilla(), at)
    law = build_law("data-constrained")
    assert point_inputs(law, at)["unique_tokens"] == 1e9
    with pytest.raises(ConfigError, match="takes unique_tokens; did you mean 'unique_tokens'"):
        point_inputs(law, replace(at, others={"unique_token": 1e9}))
    with pytest.raises(ConfigError, match="--input tokens has no effect"):
        point_inputs(law, replace(at, others={"tokens": 1e9}))
    with pytest.raises(ConfigError, match="unique_tokens=0: must be above 0"):
        point_inputs(law, replace(at, others={"unique_tokens": 0.0}))


def test_fits_to_each_mixture_answer_for_the_mixture_that_is_asked(
    table: RunTable, tmp_path: Path
) -> None:
    found = fit_runs(table, FitRequest(law="chinchilla", targets=("code",), bootstraps=5))
    write_json(tmp_path / "fit.json", found.as_dict())
    stored = read_fits(tmp_path / "fit.json")
    assert len(predictions(stored, Point(parameters=1e9, tokens=1e10))) == 3
    [half] = predictions(stored, Point(parameters=1e9, tokens=1e10, shares={"code": 0.5}))
    assert half.where["share.code"] == 0.5
    with pytest.raises(
        ConfigError, match=r"--share markup has no effect.*share\.code, share\.text"
    ):
        predictions(stored, Point(parameters=1e9, tokens=1e10, shares={"markup": 0.5}))
    one_mixture = [replace(stored[0], where={})]
    with pytest.raises(ConfigError, match=r"--share code has no effect.*of one mixture"):
        predictions(one_mixture, Point(parameters=1e9, tokens=1e10, shares={"code": 0.5}))
    with pytest.raises(ConfigError, match="no fit to runs of that mixture"):
        predictions(stored, Point(parameters=1e9, tokens=1e10, shares={"code": 0.4}))


def test_the_best_mixture_is_where_the_known_law_has_it(table: RunTable, tmp_path: Path) -> None:
    found = fit_runs(ladder_table(noise=1e-5), FitRequest(bootstraps=5))
    write_json(tmp_path / "fit.json", found.as_dict())
    at = Point(parameters=1e9, tokens=2e10)
    weights = {"code": 0.4, "text": 0.6}
    best = mixture_at(read_fits(tmp_path / "fit.json"), at, weights, {})
    code = np.linspace(0, 1, 10_001)
    inputs = {"parameters": np.full(len(code), 1e9), "tokens": np.full(len(code), 2e10)}
    inputs |= {"share_code": code, "share_text": 1 - code}
    loss = 0.4 * law_of("code").predict(CODE, inputs) + 0.6 * law_of("text").predict(TEXT, inputs)
    assert best.optimum.best.shares["code"] == pytest.approx(code[loss.argmin()], abs=0.02)
    capped = mixture_at(read_fits(tmp_path / "fit.json"), at, weights, {"code": 0.1})
    assert capped.optimum.best.shares["code"] == pytest.approx(0.1)


def test_shares_along_compute_are_those_of_single_searches(table: RunTable, tmp_path: Path) -> None:
    """Against the exact search over shares at the same sizes and tokens."""
    found = fit_runs(table, FitRequest(bootstraps=20))
    [path] = share_paths(found.fits, (0.5,))
    write_json(tmp_path / "fit.json", found.as_dict())
    stored = read_fits(tmp_path / "fit.json")
    ratio = TOKENS[-1] / SIZES[-1]
    for place in (0, 10, 18):
        size = float(np.sqrt(path.compute_flops[place] / (6 * ratio)))
        at = Point(parameters=size, tokens=ratio * size)
        best = mixture_at(stored, at, {"code": 0.5, "text": 0.5}, {})
        assert path.share[place] == pytest.approx(best.optimum.best.shares["code"], abs=0.003)
        assert path.low[place] <= path.share[place] <= path.high[place]
        low, high = best.intervals["code"]
        assert (low, high) == pytest.approx((path.low[place], path.high[place]), abs=0.003)
        assert best.intervals["text"] == pytest.approx((1 - high, 1 - low), abs=0.003)
    assert share_paths(found.fits[:1], (0.5,)) == []


def test_a_best_mixture_far_from_the_runs_comes_with_warnings(
    table: RunTable, tmp_path: Path
) -> None:
    found = fit_runs(table, FitRequest(bootstraps=5))
    write_json(tmp_path / "fit.json", found.as_dict())
    stored = read_fits(tmp_path / "fit.json")
    near = Point(parameters=SIZES[-1], tokens=TOKENS[-1])
    inside = mixture_at(stored, near, {}, {"code": SHARES[1]})
    assert (inside.warnings, inside.weights) == ((), {"code": 0.5, "text": 0.5})
    far = mixture_at(stored, Point(parameters=2.8e9, tokens=4e11), {"code": 3.0}, {})
    assert far.weights == {"code": 1.0, "text": 0.0}
    assert far.optimum.best.shares["code"] > SHARES[-1]
    assert [warning.split(" of ")[0] for warning in far.warnings] == [
        "parameters",
        "tokens",
        "share_code",
        "share_text",
        "compute_flops",
    ]
    assert "share_code of 1 goes beyond what was fitted (0 to 0.5)" in far.warnings
    assert far.as_dict()["warnings"] == list(far.warnings)
    two = [replace(one, where={"set": name}) for one in stored for name in ("a", "b")]
    with pytest.raises(ConfigError, match=r"several fits to loss_nats\.code, one of them to set b"):
        mixture_at(two, near, {}, {})


def jacobian_of_log(parameters: FloatArray, inputs: Inputs) -> FloatArray:
    """Of Chinchilla's law, by relative changes of the parameters, in closed form [rows, 5]."""
    e, a, b, alpha, beta = parameters
    n, d = inputs["parameters"], inputs["tokens"]
    size, data = a * n**-alpha, b * d**-beta
    loss = e + size + data
    columns = [e + 0 * n, size, data, -alpha * size * np.log(n), -beta * data * np.log(d)]
    return np.stack(columns, axis=1) / loss[:, None]


def test_the_next_run_shrinks_the_variance_most(table: RunTable) -> None:
    """Against adding every candidate to the design and inverting the information anew."""
    request = FitRequest(
        law="chinchilla",
        targets=("code",),
        where=where("share.code=0.25"),
        bootstraps=5,
        at=Point(parameters=1e9, tokens=2e10),
    )
    [fit] = fit_runs(table, request).fits
    at = {"parameters": np.array([1e9]), "tokens": np.array([2e10])}
    values, spread = fit.fitted.values, fit.fitted.residual_spread
    rows, target = (jacobian_of_log(values, inputs) for inputs in (fit.inputs, at))

    def spread_with(extra: FloatArray) -> float:
        information = (rows.T @ rows + extra.T @ extra) / spread**2 + np.eye(5) / 100
        return float(np.sqrt(target[0] @ np.linalg.solve(information, target[0])))

    found = next_runs(fit.fitted, fit.inputs, at)
    assert found
    levels = [np.append(axis, axis[-1] * np.array([2, 4, 8])) for axis in (SIZES, TOKENS)]
    for run in found:
        assert run.spread_before == pytest.approx(spread_with(np.zeros((0, 5))), rel=1e-3)
        assert run.spread_after < run.spread_before
        assert run.compute_flops == 6 * run.inputs["parameters"] * run.inputs["tokens"]
        best = min(
            spread_with(jacobian_of_log(values, {"parameters": n_[None], "tokens": d_[None]}))
            for n_ in levels[0]
            for d_ in levels[1]
            if 6 * n_ * d_ <= max(1, run.times_largest) * 6 * SIZES[-1] * TOKENS[-1] * 1.001
            and 3.125 <= d_ / n_ <= 1600  # half and twice the runs' ratios
        )
        assert run.spread_after == pytest.approx(best, rel=1e-3)


def test_a_next_run_is_set_by_what_can_be_set() -> None:
    """The chain's task loss is an outcome: the law says it for each size and number of tokens."""
    runs = read_runs(published_runs("olmo_ladder"))
    task = runs.columns("accuracy")[0]
    request = FitRequest(law="ladder-chain", targets=(task,), bootstraps=5)
    [fit] = fit_runs(runs, request).fits
    assert set(fit.next_at) == {"parameters", "tokens"}
    assert fit.next_runs
    for run in fit.next_runs:
        assert set(run.inputs) == {"parameters", "tokens"}
        assert run.spread_after < run.spread_before
    asked = replace(request, at=Point(parameters=7e9, tokens=4e12))
    [fit] = fit_runs(runs, asked).fits
    assert dict(fit.next_at) == {"parameters": 7e9, "tokens": 4e12}
