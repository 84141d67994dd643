"""Whole comparisons in a folder, with a real judge on loopback."""

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.endpoint.endpoint import Endpoint
from megatron_codemix.endpoint.kept_replies import KeptReplies
from megatron_codemix.errors import RetryableError, UnavailableError
from megatron_codemix.evaluation.judge.comparison import compare
from megatron_codemix.evaluation.judge.judging import judge_pairs
from megatron_codemix.evaluation.judge.pairs import Pair
from megatron_codemix.files import read_json, read_jsonl
from tests.helpers.endpoint_server import Question, Reply, endpoint_server
from tests.helpers.judge_server import answers_of, prefer, prefer_longer

# A's answer is longer on items 0 to 5, B's on 6 to 8.
PAIRS = [
    Pair(f"Question {n}?", "", "long answer" if n < 6 else "x", "short" if n < 6 else "longer")
    for n in range(9)
]


def judge(url: str, folder: Path, pairs: list[Pair] = PAIRS, **options: object) -> dict[str, Any]:
    settings = {"base_url": url, "model": "judge", "name": "judge", "retry_seconds": 0.0, **options}
    endpoint = Endpoint(**settings)
    return compare(
        pairs, endpoint, folder, concurrency=3, requests_per_minute=None, about={"a": "A"}
    )


def test_known_wins(tmp_path: Path) -> None:
    with endpoint_server(prefer_longer) as server:
        summary = judge(server.url, tmp_path)
    assert [summary[name]["count"] for name in ("win", "tie", "loss")] == [6, 0, 3]
    assert summary["win_minus_loss"]["value"] == pytest.approx(1 / 3)
    assert summary["agreement"]["value"] == 1
    assert summary["position_bias"]["value"] == 0
    assert summary["judgements"] == {
        "total": 18,
        "unreadable": 0,
        "unreadable_and_cut": 0,
        "refused": 0,
    }
    assert read_json(tmp_path / "summary.json") == summary
    lines = read_jsonl(tmp_path / "items.jsonl")
    assert [line["outcome"] for line in lines] == ["win"] * 6 + ["loss"] * 3
    assert lines[6]["preferred"] == {"a_first": "b", "b_first": "b"}


def test_each_pair_is_asked_in_both_orders(tmp_path: Path) -> None:
    with endpoint_server(prefer_longer) as server:
        judge(server.url, tmp_path, PAIRS[:1])
    assert {answers_of(question) for question in server.questions} == {
        ("long answer", "short"),
        ("short", "long answer"),
    }


def test_a_judge_that_always_takes_the_first_finds_ties_alone(tmp_path: Path) -> None:
    with endpoint_server(lambda question: prefer("A")) as server:
        summary = judge(server.url, tmp_path)
    assert summary["tie"]["count"] == len(PAIRS)
    assert summary["position_bias"]["value"] == 1
    assert summary["agreement"]["value"] == 0
    assert summary["single_order"]["a_first"]["win"]["value"] == 1


def nonsense_on_question_3(question: Question) -> Reply:
    return Reply("42") if "Question 3?" in question.text else prefer_longer(question)


def test_unreadable_judgements_are_counted_and_kept(tmp_path: Path) -> None:
    with endpoint_server(nonsense_on_question_3) as server:
        summary = judge(server.url, tmp_path)
    assert (summary["judged"], summary["not_judged"]) == (8, 1)
    assert summary["judgements"]["unreadable"] == 2
    assert summary["win"]["count"] == 5
    line = read_jsonl(tmp_path / "items.jsonl")[3]
    assert line["outcome"] == "not judged"
    assert line["judge"] == {"a_first": "42", "b_first": "42"}


def refuse_question_3(question: Question) -> Reply:
    too_long = Reply(status=400, body=b"too long")
    return too_long if "Question 3?" in question.text else prefer_longer(question)


def test_a_refused_request_costs_its_item_and_is_asked_again_next_time(tmp_path: Path) -> None:
    with endpoint_server(refuse_question_3) as server:
        summary = judge(server.url, tmp_path)
        assert (summary["judged"], summary["judgements"]["refused"]) == (8, 2)
        refused = read_jsonl(tmp_path / "items.jsonl")[3]["refused"]["a_first"]
        assert "too long" in refused
        server.behave = prefer_longer
        assert judge(server.url, tmp_path)["judged"] == 9
    assert len(server.questions) == 18 + 2


def test_an_endpoint_that_refuses_everything_is_not_asked_for_ever(tmp_path: Path) -> None:
    pairs = [Pair(f"Question {n}?", "", "x", "y") for n in range(200)]
    with endpoint_server(lambda question: Reply(status=400, body=b"no such option")) as server:
        with pytest.raises(UnavailableError, match="refuses every request") as error:
            judge(server.url, tmp_path, pairs)
        assert "no such option" in str(error.value)
    assert len(server.questions) < 20


def test_nothing_but_nonsense_is_an_error_with_an_example(tmp_path: Path) -> None:
    with (
        endpoint_server(lambda question: Reply("As an AI, I cannot choose.")) as server,
        pytest.raises(UnavailableError, match="not one item could be judged") as error,
    ):
        judge(server.url, tmp_path)
    assert "As an AI" in str(error.value)
    assert read_json(tmp_path / "summary.json")["judgements"]["unreadable"] == 18


def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    def until_the_tenth(question: Question) -> Reply:
        return prefer_longer(question) if question.number <= 10 else Reply(status=429, body=b"")

    with endpoint_server(until_the_tenth) as server:
        with pytest.raises(RetryableError, match=r"10 replies are kept in .*the same command"):
            judge(server.url, tmp_path, retries=1)
        answered = server.bodies()[:10]
        server.questions.clear()
        server.behave = prefer_longer
        summary = judge(server.url, tmp_path)
    assert len(server.questions) == 8
    assert not set(answered) & set(server.bodies())
    assert summary["judged"] == 9


@pytest.mark.parametrize("changed", [{"name": "other"}, {"model": "other"}, {"max_tokens": 9}])
def test_another_judge_is_asked_anew(tmp_path: Path, changed: dict[str, object]) -> None:
    with endpoint_server(prefer_longer) as server:
        judge(server.url, tmp_path)
        judge(server.url, tmp_path, **changed)
    assert len(server.questions) == 36


def test_equal_questions_are_asked_once(tmp_path: Path) -> None:
    with endpoint_server(prefer_longer) as server:
        summary = judge(server.url, tmp_path, [PAIRS[0]] * 4)
    assert len(server.questions) == 2
    assert summary["win"]["count"] == 4


def test_equal_answers_are_asked_in_one_order_and_tie(tmp_path: Path) -> None:
    with endpoint_server(prefer_longer) as server:
        summary = judge(server.url, tmp_path, [Pair("Question?", "", "same", "same")])
    assert len(server.questions) == 1
    assert summary["tie"]["count"] == 1


def test_ctrl_c_that_another_thread_gets_ends_the_work(tmp_path: Path) -> None:
    """As one that comes in the moment before the main thread blocks: nothing wakes that."""

    def slow_down(question: Question) -> Reply:
        busy = Reply(status=429, headers={"Retry-After": "500"}, body=b"")
        return prefer("A") if question.number == 1 else busy

    def interrupt() -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)

    with (
        endpoint_server(slow_down) as server,
        KeptReplies.opened(tmp_path / "judge.jsonl") as kept,
        pytest.raises(KeyboardInterrupt),
    ):
        judge_pairs(
            PAIRS,
            Endpoint(base_url=server.url, model="judge", name="judge"),
            kept,
            concurrency=1,
            requests_per_minute=None,
            on_reply=interrupt,
        )
    assert len(read_jsonl(tmp_path / "judge.jsonl")) == 1
