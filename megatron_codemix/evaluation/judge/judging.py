"""Asks the judge for every verdict on a list of pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from megatron_codemix.endpoint.asking import Asking, Reply
from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.endpoint.kept_replies import KeptReplies, request_key
from megatron_codemix.evaluation.judge.outcome import Judgement
from megatron_codemix.evaluation.judge.pairs import Pair
from megatron_codemix.evaluation.judge.question import (
    OPENING,
    PREAMBLE,
    Verdict,
    question,
    read_verdict,
)
from megatron_codemix.files import Json


@dataclass(frozen=True)
class JudgedPair:
    """A pair and what the judge said of it, A first and B first."""

    pair: Pair
    a_first: Reply
    b_first: Reply

    @property
    def judgement(self) -> Judgement:
        return Judgement(_verdict(self.a_first), _verdict(self.b_first))


def _verdict(reply: Reply) -> Verdict | None:
    return None if reply.text is None else read_verdict(reply.text)


def judge_pairs(
    pairs: Sequence[Pair],
    endpoint: Endpoint,
    kept: KeptReplies,
    *,
    concurrency: int,
    requests_per_minute: float | None,
    on_reply: Callable[[], None],
) -> list[JudgedPair]:
    """Each pair with both replies. What `kept` has is not asked again, nor is a question that
    stands twice in `pairs`; `on_reply` is called for each question that is settled.

    Raises what `Asking.run` raises.
    """
    orders = [(_body(endpoint, pair, True), _body(endpoint, pair, False)) for pair in pairs]
    bodies = {request_key(endpoint, body): body for both in orders for body in both}
    asking = Asking(endpoint, kept, requests_per_minute=requests_per_minute, on_reply=on_reply)
    asking.run(bodies, concurrency)
    replies = [[asking.reply(request_key(endpoint, body)) for body in both] for both in orders]
    return [JudgedPair(pair, *both) for pair, both in zip(pairs, replies, strict=True)]


def _body(endpoint: Endpoint, pair: Pair, a_is_first: bool) -> dict[str, Json]:
    both = (pair.answer_a, pair.answer_b)
    first, second = both if a_is_first else both[::-1]
    asked = question(pair.instruction, pair.context, first, second)
    return endpoint.body(PREAMBLE, asked, opening=OPENING)
