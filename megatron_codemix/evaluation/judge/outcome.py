"""From the judge's verdicts to wins, ties and losses of A against B.

Each pair is judged twice, A first and B first. A wins an item if both verdicts prefer it; the item
is a tie if the verdicts disagree, or if one of them is a tie; it is not judged if one of them
cannot be read or was refused. (The paper describes neither ties nor exchanged places.)
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from megatron_codemix.evaluation.judge.question import Verdict
from megatron_codemix.evaluation.judge.statistics import share, share_difference

Outcome = Literal["win", "tie", "loss", "not judged"]
Side = Literal["a", "b", "tie"]
_SIDES: dict[bool, dict[Verdict, Side]] = {
    True: {"first": "a", "second": "b", "tie": "tie"},
    False: {"first": "b", "second": "a", "tie": "tie"},
}


@dataclass(frozen=True)
class Judgement:
    """Both verdicts on one item; None for one that cannot be read or was refused."""

    a_first: Verdict | None
    b_first: Verdict | None

    def preferred(self) -> tuple[Side | None, Side | None]:
        """The verdicts as sides: of A first, of B first."""
        return side_of(self.a_first, a_is_first=True), side_of(self.b_first, a_is_first=False)

    @property
    def outcome(self) -> Outcome:
        """For A."""
        one, other = self.preferred()
        if one is None or other is None:
            return "not judged"
        if one != other or one == "tie":
            return "tie"
        return "win" if one == "a" else "loss"


def side_of(verdict: Verdict | None, *, a_is_first: bool) -> Side | None:
    """Whom a verdict prefers."""
    return None if verdict is None else _SIDES[a_is_first][verdict]


def summarize(judgements: Sequence[Judgement]) -> dict[str, Any]:
    """Shares with 95% intervals over the items that were judged; absent where none was.

    agreement: share of items on which both orders prefer the same, or both neither.
    position_bias: share of items on which the first place won both times, less that on which the
    second did: 1 for a judge that always takes the first, about 0 for one that reads.
    single_order: the same shares from one order alone, as the paper seems to have judged.
    """
    outcomes = Counter(judgement.outcome for judgement in judgements)
    total = len(judgements) - outcomes["not judged"]
    summary: dict[str, Any] = {"items": len(judgements), "judged": total}
    summary["not_judged"] = outcomes["not judged"]
    if total == 0:
        return summary
    judged = [judgement for judgement in judgements if judgement.outcome != "not judged"]
    both = Counter((judgement.a_first, judgement.b_first) for judgement in judged)
    sides = [judgement.preferred() for judgement in judged]
    return {
        **summary,
        **_shares([judgement.outcome for judgement in judged]),
        "agreement": asdict(share(sum(one == other for one, other in sides), total)),
        "position_bias": asdict(
            share_difference(both["first", "first"], both["second", "second"], total)
        ),
        "single_order": {
            "a_first": _shares([_outcome(one) for one, _ in sides]),
            "b_first": _shares([_outcome(other) for _, other in sides]),
        },
    }


def _outcome(side: Side | None) -> Outcome:
    assert side is not None
    outcomes: dict[Side, Outcome] = {"a": "win", "b": "loss", "tie": "tie"}
    return outcomes[side]


def _shares(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """`win`, `tie` and `loss` with counts, and two readings of the paper's win rates: their
    difference, and wins with half of the ties."""
    count, total = Counter(outcomes), len(outcomes)
    difference = share_difference(count["win"], count["loss"], total)
    shares = {
        name: {"count": count[name], **asdict(share(count[name], total))}
        for name in ("win", "tie", "loss")
    }
    halved = {
        name: (1 + value) / 2 for name, value in asdict(difference).items()
    }  # (wins + ties / 2) / total is linear in the difference
    return {**shares, "win_minus_loss": asdict(difference), "win_with_half_of_ties": halved}
