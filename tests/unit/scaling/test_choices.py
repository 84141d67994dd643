"""Decisions between the mixtures of a table: by a law of each, by one of all, and what is told."""

import numpy as np
import pytest

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.choices import MixtureDecisions, decide_mixtures
from megatron_codemix.scaling.fits import FitRequest, fit_runs
from megatron_codemix.scaling.table import RunTable
from megatron_codemix.scaling.target import Point, point_inputs
from tests.helpers.ladder_runs import SHARES, TEXT, ladder_table, law_of

AT = Point(parameters=1e9, tokens=2e10)
ALL_TEXT = "share.code 0, share.text 1"


@pytest.fixture(scope="module")
def table() -> RunTable:
    return ladder_table()


def decide(table: RunTable, law: str, *targets: str, at: Point = AT) -> MixtureDecisions:
    return decide_mixtures(table, FitRequest(law=law, targets=targets, bootstraps=30), at, None)


def test_a_decision_has_the_noise_between_seeds(table: RunTable) -> None:
    [one] = decide(ladder_table(seeds=2, noise=0.002), "chinchilla", "text").targets
    assert one.decision is not None
    assert one.decision.winner == ALL_TEXT
    assert one.noise_is_known
    # Two seeds scatter by the noise, as a part of losses of about 3 nats.
    assert one.decision.seed_noise_nats == pytest.approx(0.002 * 3, rel=0.5)
    assert [scale.accuracy.pairs for scale in one.scales] == [3] * 19
    request = FitRequest(law="chinchilla", targets=("text",))
    [given] = decide_mixtures(table, request, Point(), 0.01).targets
    assert given.decision is None
    assert "give --tokens" in given.no_decision


def test_one_law_of_all_mixtures_decides_by_errors_that_they_share(table: RunTable) -> None:
    [one] = decide(table, "mixture-and-scale", "text").targets
    assert one.decision is not None
    losses = {one.decision.winner: one.decision.loss_nats}
    losses |= {rival.name: rival.loss_nats for rival in one.decision.rivals}
    for share in SHARES:
        mixture = {"share_code": np.array([share]), "share_text": np.array([1 - share])}
        where = {"parameters": np.array([1e9]), "tokens": np.array([2e10]), **mixture}
        name = f"share.code {share:g}, share.text {1 - share:g}"
        assert losses[name] == pytest.approx(law_of("text").predict(TEXT, where)[0], rel=0.02)
    # The chance is that of a fit's draws, each of which is asked about all mixtures.
    request = FitRequest(law="mixture-and-scale", targets=("text",), bootstraps=30)
    [fit] = fit_runs(table, request).fits
    points = [
        point_inputs(
            fit.fitted.law, Point(parameters=1e9, tokens=2e10, shares={"code": float(share)})
        )
        for share in SHARES
    ]
    drawn = np.array(
        [[fit.fitted.law.predict(draw, at)[0] for at in points] for draw in fit.fitted.draws]
    )
    wrong = (drawn.argmin(axis=1) != list(SHARES).index(0)).mean()
    assert one.decision.winner == ALL_TEXT
    assert one.decision.chance_wrong == pytest.approx(wrong, abs=0.01)


def test_a_mixture_without_a_law_is_told(table: RunTable) -> None:
    is_few = (table.frame["share.code"] == 0.25) & (table.frame["tokens"] > 1e9)
    few = RunTable.of_frame(table.frame[~is_few], "ladder")
    [one] = decide(few, "chinchilla", "text").targets
    assert one.decision is not None
    assert len(one.decision.rivals) == 1
    [(mixture, reason)] = one.not_fitted.items()
    assert mixture == "share.code 0.25, share.text 0.75"
    assert "all runs have one of the numbers of training tokens" in reason


def test_a_loss_of_no_source_has_no_decision_by_a_law_of_all(table: RunTable) -> None:
    renamed = table.frame.rename(columns={"loss_nats.code": "loss_nats.stack"})
    found = decide(RunTable.of_frame(renamed, "ladder"), "mixture-and-scale")
    by_name = {one.target: one for one in found.targets}
    assert by_name["loss_nats.text"].decision is not None
    assert by_name["loss_nats.stack"].decision is None
    assert "'stack' is no source" in by_name["loss_nats.stack"].not_fitted["all"]


def test_runs_that_are_not_used_are_listed(table: RunTable) -> None:
    frame = table.frame.copy()
    frame["diverged"] = [number == 7 for number in range(len(frame))]
    for at in (AT, Point()):
        found = decide(RunTable.of_frame(frame, "ladder"), "chinchilla", "text", at=at)
        assert found.excluded == ((frame["name"][7], "it is marked as diverged"),)
        assert found.as_dict()["excluded"][0]["run"] == frame["name"][7]


def test_what_cannot_be_decided_is_refused(table: RunTable) -> None:
    with pytest.raises(DataError, match="two mixtures"):
        decide(table.where_equal("share.code", 0.25), "chinchilla")
    with pytest.raises(ConfigError, match="knows nothing of size and tokens"):
        decide(table, "mixing")
    with pytest.raises(ConfigError, match="the target: give --tokens"):
        decide(table, "chinchilla", at=Point(parameters=1e9))
