"""A whole comparison in a folder: the judge's replies, a line for each item, and the summary."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from megatron_codemix.endpoint.asking import Reply
from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.endpoint.kept_replies import KeptReplies
from megatron_codemix.errors import CodemixError, UnavailableError
from megatron_codemix.evaluation.judge.judging import JudgedPair, judge_pairs
from megatron_codemix.evaluation.judge.outcome import summarize
from megatron_codemix.evaluation.judge.pairs import Pair
from megatron_codemix.evaluation.judge.question import read_verdict
from megatron_codemix.files import rewrite_jsonl, write_json
from megatron_codemix.obs.progress import progress_bar

REPLIES, ITEMS, SUMMARY = "judge.jsonl", "items.jsonl", "summary.json"


def compare(
    pairs: Sequence[Pair],
    endpoint: Endpoint,
    folder: Path,
    *,
    concurrency: int,
    requests_per_minute: float | None,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Judges all pairs and writes `items.jsonl` and `summary.json`; the summary.

    about: what else the summary says, such as the names of A and B.
    Raises what `judge_pairs` does, with what is kept and how to go on; UnavailableError where not
    one item could be judged (the files are written nevertheless).
    """
    with (
        KeptReplies.opened(folder / REPLIES) as kept,
        progress_bar("judge", 2 * len(pairs), "judgements") as advance,
    ):
        try:
            judged = judge_pairs(
                pairs,
                endpoint,
                kept,
                concurrency=concurrency,
                requests_per_minute=requests_per_minute,
                on_reply=advance,
            )
        except CodemixError as error:
            raise type(error)(
                f"{error}\n{len(kept)} replies are kept in {folder / REPLIES}; the same command "
                "asks only for the others"
            ) from error
    replies = [reply for one in judged for reply in (one.a_first, one.b_first)]
    summary = {
        **about,
        "judge": {"name": endpoint.name, "model": endpoint.model, "api": endpoint.api},
        "judgements": _count(replies),
        **summarize([one.judgement for one in judged]),
    }
    rewrite_jsonl(folder / ITEMS, [_line(number, one) for number, one in enumerate(judged)])
    write_json(folder / SUMMARY, summary)
    if summary["judged"] == 0:
        raise UnavailableError(_nothing_judged(replies, folder))
    return summary


def _count(replies: Sequence[Reply]) -> dict[str, int]:
    """Of the judgements: how many there are, and of which no verdict came out."""
    texts = [reply for reply in replies if reply.text is not None]
    unreadable = [reply for reply in texts if read_verdict(reply.text or "") is None]
    return {
        "total": len(replies),
        "unreadable": len(unreadable),
        "unreadable_and_cut": sum(reply.finish_reason == "length" for reply in unreadable),
        "refused": len(replies) - len(texts),
    }


def _line(number: int, judged: JudgedPair) -> dict[str, Any]:
    pair, judgement = judged.pair, judged.judgement
    a_first, b_first = judgement.preferred()
    return {
        "item": number,
        "instruction": pair.instruction,
        "context": pair.context,
        "answer_a": pair.answer_a,
        "answer_b": pair.answer_b,
        "outcome": judgement.outcome,
        "preferred": {"a_first": a_first, "b_first": b_first},
        "judge": {"a_first": judged.a_first.text, "b_first": judged.b_first.text},
        "refused": {"a_first": judged.a_first.refusal, "b_first": judged.b_first.refusal},
    }


def _nothing_judged(replies: Sequence[Reply], folder: Path) -> str:
    counts, first = _count(replies), replies[0]
    example = first.refusal if first.text is None else repr(first.text[:200])
    return (
        f"not one item could be judged: of {counts['total']} judgements {counts['unreadable']} "
        f"cannot be read ({counts['unreadable_and_cut']} of them cut at the limit of tokens) and "
        f"{counts['refused']} were refused; the first one: {example}\nAll are in {folder / ITEMS}; "
        + _remedy(counts)
    )


def _remedy(counts: Mapping[str, int]) -> str:
    """By what most judgements lack."""
    if counts["refused"] * 2 > counts["total"]:
        return (
            "mend what the judge's endpoint refuses: where it is the length, shorter answers or "
            "fewer --max-judge-tokens do"
        )
    return "take a judge that follows instructions, or give it more --max-judge-tokens"
