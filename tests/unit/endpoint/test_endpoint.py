"""One request to a judge that is slow, busy, broken or wrong: what is tried again, what is not."""

import email.utils
import json
import threading
import time

import pytest

from megatron_codemix.endpoint import endpoint as endpoint_module
from megatron_codemix.endpoint.endpoint import Endpoint, RequestRefused, Stopped
from megatron_codemix.endpoint.pace import Pace
from megatron_codemix.errors import RetryableError, UnavailableError
from tests.helpers.endpoint_server import Behaviour, Question, Reply, endpoint_server
from tests.helpers.judge_server import prefer


def ask(url: str, **options: object) -> str:
    endpoint = Endpoint(
        **{"base_url": url, "model": "judge", "name": url, "retry_seconds": 0.0, **options}
    )
    stop = threading.Event()
    body = endpoint.body("Preamble.", "Question?", opening="Comparison:")
    return endpoint.ask(body, Pace(None, stop), stop)["text"]


def first_then_well(*first: Reply) -> Behaviour:
    """The given replies, then a judgement."""

    def behave(question: Question) -> Reply:
        return first[question.number - 1] if question.number <= len(first) else prefer("A")

    return behave


def test_chat_request_has_preamble_question_and_key() -> None:
    with endpoint_server(lambda question: prefer("A")) as judge:
        assert "Preferred: Answer (A)" in ask(judge.url, key="secret", max_tokens=7)
    (question,) = judge.questions
    assert question.path == "/v1/chat/completions"
    assert question.headers["Authorization"] == "Bearer secret"
    assert question.body == {
        "model": "judge",
        "max_tokens": 7,
        "temperature": 0,
        "messages": [
            {"role": "system", "content": "Preamble."},
            {"role": "user", "content": "Question?"},
        ],
    }


def test_completions_request_ends_where_the_judge_goes_on() -> None:
    with endpoint_server(lambda question: prefer("B")) as judge:
        assert "Preferred: Answer (B)" in ask(judge.url + "/", api="completions")
    (question,) = judge.questions
    assert question.path == "/v1/completions"
    assert question.body["prompt"] == "Preamble.\n\nQuestion?\n\nComparison:"
    assert "Authorization" not in question.headers


NOT_NOW = {
    "429 with a number": Reply(status=429, headers={"Retry-After": "0"}, body=b""),
    "429 with a date gone by": Reply(
        status=429, headers={"Retry-After": email.utils.formatdate(0, usegmt=True)}, body=b""
    ),
    "429 with nonsense": Reply(status=429, headers={"Retry-After": "soon"}, body=b""),
    "500": Reply(status=500, body=b"oops"),
    "503": Reply(status=503, body=b""),
    "closed connection": Reply(closes=True),
    "cut answer": Reply(body=b'{"choices": ['),
    "no JSON": Reply(body=b"<html>proxy</html>"),
    "no choice": Reply(body=b'{"choices": []}'),
    "a list": Reply(body=b"[]"),
    "text of another type": Reply(body=b'{"choices": [{"message": {"content": 3}}]}'),
}


@pytest.mark.parametrize("reply", NOT_NOW.values(), ids=NOT_NOW)
def test_what_passes_is_tried_again(reply: Reply) -> None:
    with endpoint_server(first_then_well(reply, reply)) as judge:
        assert "Preferred" in ask(judge.url, retries=2)
    assert len(judge.questions) == 3


@pytest.mark.parametrize("reply", NOT_NOW.values(), ids=NOT_NOW)
def test_what_does_not_pass_ends_as_try_again_later(reply: Reply) -> None:
    with endpoint_server(lambda question: reply) as judge:
        with pytest.raises(RetryableError) as error:
            ask(judge.url, retries=2)
        assert judge.url in str(error.value)
        assert "3 times in a row" in str(error.value)
    assert len(judge.questions) == 3


def test_no_answer_in_time() -> None:
    with (
        endpoint_server(lambda question: Reply(hangs=True)) as judge,
        pytest.raises(RetryableError, match=r"no answer within 0\.05 s, 2 times in a row"),
    ):
        ask(judge.url, retries=1, timeout_seconds=0.05)


def test_nobody_there() -> None:
    with endpoint_server(lambda question: prefer("A")) as judge:
        url = judge.url
    with pytest.raises(RetryableError, match=r"cannot be reached \(.*refused.*\), 2 times"):
        ask(url, retries=1)


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (400, RequestRefused, "HTTP 400 Bad Request: too long"),
        (413, RequestRefused, "HTTP 413"),
        (401, UnavailableError, "--api-key-env"),
        (403, UnavailableError, "may not use the model"),
        (404, UnavailableError, "ends in /v1"),
        (418, UnavailableError, "HTTP 418"),
    ],
)
def test_what_no_retry_mends(status: int, error: type[Exception], said: str) -> None:
    with endpoint_server(lambda question: Reply(status=status, body=b"too  long")) as judge:
        with pytest.raises(error) as raised:
            ask(judge.url)
        assert said in str(raised.value)
    assert len(judge.questions) == 1


def test_a_server_without_tls_is_not_asked_twice() -> None:
    with (
        endpoint_server(lambda question: prefer("A")) as judge,
        pytest.raises(UnavailableError, match="no secure connection"),
    ):
        ask(judge.url.replace("http:", "https:"), key="secret")
    assert judge.questions == []


def test_the_key_does_not_follow_a_redirect() -> None:
    with endpoint_server(lambda question: prefer("A")) as elsewhere:
        moved = Reply(status=302, headers={"Location": elsewhere.url}, body=b"")
        with (
            endpoint_server(lambda question: moved) as judge,
            pytest.raises(UnavailableError, match="has moved to"),
        ):
            ask(judge.url, key="secret")
    assert elsewhere.questions == []


def test_a_null_text_with_a_reason_is_an_empty_judgement() -> None:
    choice = {"message": {"content": None}, "finish_reason": "length"}
    body = json.dumps({"choices": [choice]}).encode()
    with endpoint_server(lambda question: Reply(body=body)) as judge:
        assert ask(judge.url) == ""


def test_a_null_text_without_a_reason_is_asked_for_again() -> None:
    body = json.dumps({"choices": [{"message": {"content": None}}]}).encode()
    with endpoint_server(
        lambda question: Reply(body=body) if question.number == 1 else prefer("A")
    ) as judge:
        assert "Preferred" in ask(judge.url)
        assert len(judge.questions) == 2


def test_half_a_character_can_be_written() -> None:
    body = b'{"choices": [{"message": {"content": "\\ud800 Preferred: Answer (A)"}}]}'
    with endpoint_server(lambda question: Reply(body=body)) as judge:
        assert ask(judge.url).encode().endswith(b" Preferred: Answer (A)")


def test_loopback_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with endpoint_server(lambda question: prefer("A")) as judge:
        assert "Preferred" in ask(judge.url)


class _Clock:
    """Stands in for the clock and for the waiting of threads."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waited: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def wait(self, seconds: float) -> bool:
        self.waited.append(seconds)
        self.now += seconds
        return False


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    clock = _Clock()
    monkeypatch.setattr("megatron_codemix.endpoint.pace.time", clock)
    return clock


def test_pace_spreads_requests_over_the_minute(clock: _Clock) -> None:
    pace = Pace(30, clock)  # type: ignore[arg-type]  # an event that moves the clock
    assert [pace.wait() for _ in range(4)] == [True] * 4
    assert clock.waited == [0, 2, 2, 2]


def test_a_retry_waits_as_long_as_it_is_asked_to(clock: _Clock) -> None:
    busy = Reply(status=429, headers={"Retry-After": "17"}, body=b"")
    with endpoint_server(first_then_well(busy)) as judge:
        endpoint = Endpoint(base_url=judge.url, model="m", name="n", retry_seconds=1)
        pace = Pace(None, clock)  # type: ignore[arg-type]  # as above
        endpoint.ask(endpoint.body("p", "q", opening=""), pace, clock)  # type: ignore[arg-type]  # as above
    assert clock.waited == [0, 17, 0]


def test_delays_double_up_to_a_minute_with_jitter(clock: _Clock) -> None:
    with endpoint_server(lambda question: Reply(status=500, body=b"")) as judge:
        endpoint = Endpoint(base_url=judge.url, model="m", name="n", retries=8, retry_seconds=1)
        pace = Pace(None, clock)  # type: ignore[arg-type]  # as above
        with pytest.raises(RetryableError):
            endpoint.ask(endpoint.body("p", "q", opening=""), pace, clock)  # type: ignore[arg-type]  # as above
    delays = [seconds for seconds in clock.waited if seconds]
    bounds = [1, 2, 4, 8, 16, 32, 60, 60]
    assert len(delays) == len(bounds)
    for delay, bound in zip(delays, bounds, strict=True):
        assert bound / 2 <= delay <= bound


def test_a_stop_ends_the_waiting() -> None:
    stop = threading.Event()
    stop.set()
    with endpoint_server(lambda question: prefer("A")) as judge:
        endpoint = Endpoint(base_url=judge.url, model="m", name="n")
        with pytest.raises(Stopped):
            endpoint.ask(endpoint.body("p", "q", opening=""), Pace(None, stop), stop)
    assert judge.questions == []


def test_asked_delay_is_a_number_or_a_date() -> None:
    asked = endpoint_module._asked_delay
    assert asked("12") == 12
    assert asked("1e9") == asked("inf") == 600
    assert asked("-5") == asked(None) == asked("soon") == 0
    later = email.utils.formatdate(time.time() + 300, usegmt=True)
    assert 200 < asked(later) <= 300
