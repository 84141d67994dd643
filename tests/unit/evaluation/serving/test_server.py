"""OpenAI's interface over HTTP on loopback, in front of a model without weights."""

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.errors import UnavailableError
from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.evaluation.serving import server as server_module
from megatron_codemix.evaluation.serving.serve import serve
from megatron_codemix.evaluation.serving.server import ApiServer
from tests.helpers.language_models import ByteModel

CONTEXT = 64


class WaitingModel(ByteModel):
    """Begins a batch only when it is let to; keeps the sizes of the batches."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, CONTEXT)
        self.begun = threading.Semaphore(0)
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.batches: list[int] = []
        self.fails = False

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_result: Callable[[int, Generation], None],
    ) -> None:
        self.batches.append(len(requests))
        self.begun.release()
        self.may_go_on.wait()
        if self.fails:
            raise MemoryError("no room")
        super().generate(requests, on_result)


class Client:
    """One connection."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self.headers = {"Content-Type": "application/json"}
        if key is not None:
            self.headers["Authorization"] = f"Bearer {key}"

    def send(self, method: str, path: str, content: bytes | None, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, content, {**self.headers, **named})

    def receive(self) -> tuple[int, dict[str, Any]]:
        response = self.connection.getresponse()
        assert response.headers["Content-Type"] == "application/json"
        return response.status, json.loads(response.read())

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, Any]]:
        self.send("GET", path, None, **headers)
        return self.receive()

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send("POST", path, content, **headers)
        return self.receive()

    def complete(self, prompt: object = "ab", **fields: object) -> tuple[int, dict[str, Any]]:
        return self.post("/v1/completions", {"model": "tiny", "prompt": prompt, **fields})

    def close(self) -> None:
        self.connection.close()


@contextlib.contextmanager
def served(
    model: WaitingModel, *, key: str | None = None, max_waiting: int = 256
) -> Iterator[tuple[str, threading.Event]]:
    """The server's address and what stops it; the model is asked in another thread."""
    server = ApiServer("127.0.0.1", 0, key=key)
    stop, is_ready = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(
            serve,
            server,
            model,
            name="tiny",
            max_waiting=max_waiting,
            should_stop=stop.is_set,
            on_ready=is_ready.set,
        )
        try:
            assert is_ready.wait(60)
            yield server.url, stop
        finally:
            stop.set()
            model.may_go_on.set()
            running.result(60)


@pytest.fixture
def model(tmp_path: Path) -> WaitingModel:
    return WaitingModel(tmp_path)


@pytest.fixture
def client(model: WaitingModel) -> Iterator[Client]:
    with served(model) as (url, _):
        client = Client(url)
        yield client
        client.close()


def test_completion_has_openais_form(model: WaitingModel, client: Client) -> None:
    status, answer = client.complete("ab", max_tokens=5, temperature=0, seed=3)
    text = model.continue_text("ab", 3)[:5]
    assert status == 200
    assert answer["object"] == "text_completion"
    assert answer["model"] == "tiny"
    assert answer["choices"] == [
        {"index": 0, "text": text, "finish_reason": "length", "logprobs": None}
    ]
    assert answer["usage"] == {"prompt_tokens": 2, "completion_tokens": 5, "total_tokens": 7}
    (asked,) = model.generated
    assert model.tokenizer.decode(asked.prompt) == "ab"


def test_defaults_are_openais(model: WaitingModel, client: Client) -> None:
    client.complete()
    client.complete()
    one, other = model.generated
    assert (one.max_new_tokens, one.temperature, one.top_p, one.stop) == (16, 1.0, 1.0, ())
    assert one.seed != other.seed


def test_several_prompts_and_choices_in_order(model: WaitingModel, client: Client) -> None:
    _, answer = client.complete(["a", "b"], n=2, seed=7, max_tokens=8)
    texts = [choice["text"] for choice in answer["choices"]]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert texts[0] == model.continue_text("a", 7)[:8]
    assert texts[2] == model.continue_text("b", 7)[:8]
    assert texts[0] != texts[1]
    assert model.batches == [4]


def test_prompts_as_tokens(model: WaitingModel, client: Client) -> None:
    tokens = model.tokenizer.encode_batch(["xy"])[0].tolist()
    for prompt in (tokens, [tokens], ["xy"]):
        _, answer = client.complete(prompt, seed=1, max_tokens=4)
        assert answer["choices"][0]["text"] == model.continue_text("xy", 1)[:4]


def test_stop_texts(model: WaitingModel, client: Client) -> None:
    whole = model.continue_text("ab", 1)
    _, answer = client.complete("ab", seed=1, max_tokens=60, stop=[whole[5:9]])
    assert answer["choices"][0]["text"] == whole[:5]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_chat_is_rendered_by_the_plain_template(model: WaitingModel, client: Client) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
    ]
    body = {"model": "tiny", "messages": messages, "seed": 2, "max_completion_tokens": 6}
    status, answer = client.post("/v1/chat/completions", body)
    text = "System: Be kind.\nUser: Hi\nAssistant:"
    assert status == 200
    assert answer["object"] == "chat.completion"
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": model.continue_text(text, 2)[:6],
    }
    (asked,) = model.generated
    assert model.tokenizer.decode(asked.prompt) == text
    assert asked.stop == ("\nUser:",)


def test_chat_may_use_what_the_context_has_left(model: WaitingModel, client: Client) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]}
    client.post("/v1/chat/completions", body)
    (asked,) = model.generated
    assert asked.max_new_tokens == CONTEXT - len("User: Hi\nAssistant:")


def test_models_and_health(client: Client) -> None:
    status, models = client.get("/v1/models")
    assert (status, models["data"][0]["id"]) == (200, "tiny")
    assert models["data"][0]["max_model_len"] == CONTEXT
    assert client.get("/v1/models/tiny")[1] == models["data"][0]
    assert client.get("/health") == (
        200,
        {"status": "ok", "waiting": 0, "requests": 0, "batches": 0},
    )


REFUSED = {
    "no prompt": ({"prompt": None}, 400, "prompt"),
    "empty prompt": ({"prompt": ""}, 400, "[256]"),
    "empty list": ({"prompt": []}, 400, "prompt"),
    "empty among others": ({"prompt": ["a", ""]}, 400, "prompt"),
    "prompt of another type": ({"prompt": {"a": 1}}, 400, "prompt"),
    "tokens outside": ({"prompt": [5, 300]}, 400, "256"),
    "negative tokens": ({"prompt": [[-1]]}, 400, "prompt"),
    "another model": ({"model": "gpt"}, 404, "'tiny' is served"),
    "no model": ({"model": None}, 400, "'tiny' is served"),
    "max_tokens 0": ({"max_tokens": 0}, 400, "max_tokens"),
    "max_tokens beyond": ({"max_tokens": CONTEXT}, 400, "63"),
    "max_tokens of another type": ({"max_tokens": True}, 400, "max_tokens"),
    "temperature": ({"temperature": -0.1}, 400, "temperature"),
    "temperature as text": ({"temperature": "hot"}, 400, "'hot'"),
    "top_p 0": ({"top_p": 0}, 400, "top_p"),
    "top_p above 1": ({"top_p": 1.01}, 400, "top_p"),
    "n 0": ({"n": 0}, 400, "'n'"),
    "n too large": ({"n": 129}, 400, "'n'"),
    "empty stop": ({"stop": ""}, 400, "stop"),
    "stop of numbers": ({"stop": [1]}, 400, "stop"),
    "stream": ({"stream": True}, 400, "'stream' is not supported"),
    "logprobs": ({"logprobs": 5}, 400, "'logprobs' is not supported"),
    "logprobs 0": ({"logprobs": 0}, 400, "'logprobs' is not supported"),
    "echo": ({"echo": True}, 400, "'echo' is not supported"),
    "best_of": ({"best_of": 2}, 400, "'best_of' is not supported"),
    "penalty": ({"presence_penalty": 0.5}, 400, "'presence_penalty' is not supported"),
    "not ours": ({"min_p": 1}, 400, "'min_p' is not a field"),
    "too long": ({"prompt": "x" * 60, "max_tokens": 5}, 400, "sees 64 tokens; the prompt has 60"),
    "truncated to nothing": ({"truncate_prompt_tokens": 0}, 400, "truncate_prompt_tokens"),
}


@pytest.mark.parametrize(("fields", "status", "said"), REFUSED.values(), ids=REFUSED)
def test_wrong_fields_are_named(
    client: Client, fields: dict[str, object], status: int, said: str
) -> None:
    body = {"model": "tiny", "prompt": "ab", **fields}
    found, answer = client.post("/v1/completions", body)
    assert found == status
    assert said in answer["error"]["message"]
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    # The connection and the server are whole.
    assert client.complete()[0] == 200


def test_what_does_nothing_is_let_through(client: Client) -> None:
    neutral = {
        "stream": False,
        "echo": False,
        "logprobs": None,
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "best_of": 1,
        "logit_bias": {},
        "suffix": None,
        "user": "me",
    }
    assert client.complete(**neutral)[0] == 200


@pytest.mark.parametrize(
    "messages",
    [None, [], ["Hi"], [{"role": "tool", "content": "x"}], [{"role": "user"}],
     [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]],
)  # fmt: skip
def test_wrong_messages(client: Client, messages: object) -> None:
    status, answer = client.post("/v1/chat/completions", {"model": "tiny", "messages": messages})
    assert (status, answer["error"]["type"]) == (400, "invalid_request_error")


def test_a_long_prompt_is_cut_only_where_it_is_asked_for(
    model: WaitingModel, client: Client
) -> None:
    prompt = "".join(chr(ord("a") + n % 26) for n in range(100))
    status, answer = client.complete(prompt, max_tokens=14)
    assert (status, answer["error"]["code"]) == (400, "context_length_exceeded")
    _, answer = client.complete(prompt, max_tokens=14, truncate_prompt_tokens=-1)
    assert model.tokenizer.decode(model.generated[-1].prompt) == prompt[-50:]
    assert answer["usage"]["truncated_prompt_tokens"] == 50
    client.complete(prompt, max_tokens=14, truncate_prompt_tokens=7)
    assert model.tokenizer.decode(model.generated[-1].prompt) == prompt[-7:]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"[1]", {}, 400),
        (b"\xff", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b"{}", {"Content_Type": "text/plain"}, 415),
        (b"{}", {"Content_Length": "many"}, 411),
        (b"{}", {"Host": "evil.example"}, 403),
        (b"{}", {"Host": "127.0.0.1.evil.example:80"}, 403),
    ],
)
def test_wrong_bodies(client: Client, body: bytes, headers: dict[str, str], status: int) -> None:
    found, answer = client.post("/v1/completions", body, **headers)
    assert found == status
    assert answer["error"]["message"]


def test_a_body_that_is_too_large_is_refused_unread(client: Client) -> None:
    status, answer = client.post("/v1/completions", b" " * (server_module.MAX_BODY_BYTES + 1))
    assert status == 413
    assert str(server_module.MAX_BODY_BYTES) in answer["error"]["message"]


@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/v1/embeddings")])
def test_unknown_paths(client: Client, method: str, path: str) -> None:
    client.send(method, path, b"{}")
    status, answer = client.receive()
    assert status == 404
    assert "/v1/completions" in answer["error"]["message"]


def test_unknown_methods_are_told_in_the_same_form(client: Client) -> None:
    client.send("PUT", "/v1/models", None)
    status, answer = client.receive()
    assert (status, answer["error"]["type"]) == (405, "invalid_request_error")


def test_the_key_is_wanted_everywhere_but_for_health(model: WaitingModel) -> None:
    with served(model, key="secret") as (url, _):
        for key in (None, "", "Secret", "secret ", "s\u00e9cret"):
            stranger = Client(url, key)
            status, answer = stranger.complete()
            assert (status, answer["error"]["code"]) == (401, "invalid_api_key")
            assert stranger.get("/v1/models")[0] == 401
            assert stranger.get("/health")[0] == 200
            stranger.close()
        friend = Client(url, "secret")
        assert friend.complete()[0] == 200
        # With a key, names of this machine that others use are fine.
        assert friend.get("/v1/models", Host="node7.cluster")[0] == 200
        friend.close()


def test_what_comes_while_the_model_is_busy_is_one_batch(model: WaitingModel) -> None:
    with served(model) as (url, _):
        model.may_go_on.clear()
        clients = [Client(url) for _ in range(6)]
        ask = {"model": "tiny", "max_tokens": 4, "seed": 1}
        for number, client in enumerate(clients):
            body = json.dumps({**ask, "prompt": f"p{number}"}).encode()
            client.send("POST", "/v1/completions", body)
            if number == 0:
                assert model.begun.acquire(timeout=60)
        wait_for_waiting(url, 5)
        model.may_go_on.set()
        for number, client in enumerate(clients):
            status, answer = client.receive()
            assert status == 200
            expected = model.continue_text(f"p{number}", 1)[:4]
            assert answer["choices"][0]["text"] == expected
            client.close()
    assert model.batches == [1, 5]


def wait_for_waiting(url: str, count: int) -> None:
    """Until so many requests are in the queue."""
    client = Client(url)
    while client.get("/health")[1]["waiting"] < count:
        pass
    client.close()


def test_a_full_queue_is_429(model: WaitingModel) -> None:
    with served(model, max_waiting=2) as (url, _):
        model.may_go_on.clear()
        first, second, third = Client(url), Client(url), Client(url)
        body = json.dumps({"model": "tiny", "prompt": "a"}).encode()
        first.send("POST", "/v1/completions", body)
        assert model.begun.acquire(timeout=60)
        second.send("POST", "/v1/completions", body)
        wait_for_waiting(url, 1)
        third.send("POST", "/v1/completions", body.replace(b'"a"', b'["a", "b"]'))
        response = third.connection.getresponse()
        assert response.status == 429
        assert response.headers["Retry-After"] == "1"
        assert json.loads(response.read())["error"]["code"] == "rate_limit_exceeded"
        assert third.get("/health")[0] == 200
        model.may_go_on.set()
        assert first.receive()[0] == second.receive()[0] == 200
        for client in (first, second, third):
            client.close()


def test_more_texts_than_ever_fit_are_refused_for_good(model: WaitingModel) -> None:
    with served(model, max_waiting=4) as (url, _):
        client = Client(url)
        assert client.complete("a", n=4)[0] == 200
        status, answer = client.complete(["a", "b", "c"], n=2)
        client.close()
    assert status == 400
    assert "6 texts are asked for at once; 4" in answer["error"]["message"]


def test_a_client_that_has_gone_is_not_generated_for(model: WaitingModel) -> None:
    with served(model) as (url, _):
        model.may_go_on.clear()
        gone_while_running, gone_while_waiting, patient = (Client(url) for _ in range(3))
        for number, client in enumerate((gone_while_running, gone_while_waiting, patient)):
            body = json.dumps({"model": "tiny", "prompt": f"p{number}"}).encode()
            client.send("POST", "/v1/completions", body)
            if number == 0:
                assert model.begun.acquire(timeout=60)
            else:
                wait_for_waiting(url, number)
        gone_while_running.close()
        gone_while_waiting.close()
        model.may_go_on.set()
        assert patient.receive()[0] == 200
        assert patient.complete()[0] == 200
        patient.close()
    prompts = [model.tokenizer.decode(request.prompt) for request in model.generated]
    assert prompts == ["p0", "p2", "ab"]


def test_a_stop_answers_the_running_batch_and_refuses_the_rest(model: WaitingModel) -> None:
    with served(model) as (url, stop):
        model.may_go_on.clear()
        running, waiting = Client(url), Client(url)
        body = json.dumps({"model": "tiny", "prompt": "a"}).encode()
        running.send("POST", "/v1/completions", body)
        assert model.begun.acquire(timeout=60)
        waiting.send("POST", "/v1/completions", body)
        wait_for_waiting(url, 1)
        stop.set()
        model.may_go_on.set()
        assert running.receive()[0] == 200
        status, answer = waiting.receive()
        assert (status, answer["error"]["type"]) == (503, "server_error")
        running.close()
        waiting.close()
    with pytest.raises(ConnectionRefusedError):
        Client(url).get("/health")


def test_a_model_that_fails_ends_the_server_and_no_client_hangs(model: WaitingModel) -> None:
    model.fails = True
    server, is_ready = ApiServer("127.0.0.1", 0, key=None), threading.Event()
    options = {"name": "tiny", "max_waiting": 9, "should_stop": lambda: False}
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(serve, server, model, on_ready=is_ready.set, **options)
        assert is_ready.wait(60)
        client = Client(server.url)
        assert client.complete()[0] == 503
        client.close()
        with pytest.raises(MemoryError, match="no room"):
            running.result(60)


def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"127.0.0.1:{port}"):
            ApiServer("127.0.0.1", port, key=None)


def test_ipv6(model: WaitingModel) -> None:
    try:
        server = ApiServer("::1", 0, key=None)
    except UnavailableError:
        pytest.skip("this machine has no IPv6")
    assert server.url.startswith("http://[::1]:")
    server.server_close()
