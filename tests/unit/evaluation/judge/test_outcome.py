"""Wins, ties and losses from both orders, against counts made by hand."""

import itertools

import pytest
from scipy import stats

from megatron_codemix.evaluation.judge.outcome import Judgement, summarize

WIN = Judgement("first", "second")
LOSS = Judgement("second", "first")
ALWAYS_FIRST = Judgement("first", "first")
ALWAYS_SECOND = Judgement("second", "second")


@pytest.mark.parametrize(
    ("judgement", "outcome"),
    [
        (WIN, "win"),
        (LOSS, "loss"),
        (ALWAYS_FIRST, "tie"),
        (ALWAYS_SECOND, "tie"),
        (Judgement("tie", "tie"), "tie"),
        (Judgement("first", "tie"), "tie"),
        (Judgement("tie", "first"), "tie"),
        (Judgement(None, "first"), "not judged"),
        (Judgement("tie", None), "not judged"),
        (Judgement(None, None), "not judged"),
    ],
)
def test_outcome_of_an_item(judgement: Judgement, outcome: str) -> None:
    assert judgement.outcome == outcome


def test_exchanging_the_sides_turns_wins_into_losses() -> None:
    turned = {"win": "loss", "loss": "win", "tie": "tie", "not judged": "not judged"}
    for one, other in itertools.product(("first", "second", "tie", None), repeat=2):
        assert Judgement(other, one).outcome == turned[Judgement(one, other).outcome]


def test_summary_of_known_counts() -> None:
    judgements = [
        *[WIN] * 30,
        *[LOSS] * 10,
        *[ALWAYS_FIRST] * 15,
        *[ALWAYS_SECOND] * 3,
        *[Judgement("tie", "tie")] * 2,
        *[Judgement(None, "first")] * 5,
    ]
    summary = summarize(judgements)
    assert (summary["items"], summary["judged"], summary["not_judged"]) == (65, 60, 5)
    counts = {name: summary[name]["count"] for name in ("win", "tie", "loss")}
    assert counts == {"win": 30, "tie": 20, "loss": 10}
    wilson = stats.binomtest(30, 60).proportion_ci(method="wilson")
    assert (summary["win"]["low"], summary["win"]["high"]) == pytest.approx(
        (wilson.low, wilson.high)
    )
    assert summary["win_minus_loss"]["value"] == pytest.approx(20 / 60)
    assert summary["win_with_half_of_ties"]["value"] == pytest.approx((30 + 10) / 60)
    assert summary["agreement"]["value"] == (30 + 10 + 2) / 60
    assert summary["position_bias"]["value"] == pytest.approx(12 / 60)
    # A first alone: the wins and those who always take the first.
    assert summary["single_order"]["a_first"]["win"]["count"] == 45
    assert summary["single_order"]["a_first"]["tie"]["count"] == 2
    assert summary["single_order"]["b_first"]["win"]["count"] == 33


def test_a_judge_that_always_takes_the_first_decides_nothing() -> None:
    summary = summarize([ALWAYS_FIRST] * 12)
    assert summary["tie"]["value"] == 1
    assert summary["position_bias"]["value"] == 1
    assert summary["agreement"]["value"] == 0
    assert summary["win_minus_loss"]["value"] == 0


def test_nothing_judged_has_no_shares() -> None:
    assert summarize([Judgement(None, None)]) == {"items": 1, "judged": 0, "not_judged": 1}
