"""An endpoint on loopback that behaves as it is told: an HTTP server in a thread of the test."""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Reply:
    """What the server answers: a completion with `text`, or whatever `body` is."""

    text: str | None = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    hangs: bool = False
    """Says nothing until the test ends."""
    closes: bool = False
    """Closes the connection without a word."""


Behaviour = Callable[["Question"], Reply]


@dataclass(frozen=True)
class Question:
    """What a model reads out of a request."""

    number: int
    """From 1, over all requests."""
    body: dict[str, Any]
    headers: dict[str, str]
    path: str

    @property
    def text(self) -> str:
        if "messages" in self.body:
            return "\n\n".join(message["content"] for message in self.body["messages"])
        return str(self.body["prompt"])


@dataclass
class EndpointServer:
    """Its address, and all that it was asked."""

    url: str
    behave: Behaviour
    questions: list[Question] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def bodies(self) -> list[str]:
        """The requests as canonical JSON."""
        return [json.dumps(question.body, sort_keys=True) for question in self.questions]

    def note(self, path: str, headers: dict[str, str], content: bytes) -> Question:
        with self.lock:
            question = Question(len(self.questions) + 1, json.loads(content), headers, path)
            self.questions.append(question)
            return question


@contextlib.contextmanager
def endpoint_server(behave: Behaviour) -> Iterator[EndpointServer]:
    """A server on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            question = told.note(self.path, dict(self.headers), content)
            reply = told.behave(question)
            if reply.hangs:
                told.released.wait()
            if reply.hangs or reply.closes:
                return
            body = completion(question, reply.text) if reply.body is None else reply.body
            self.send_response(reply.status)
            for name, value in {**reply.headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        told = EndpointServer(f"http://127.0.0.1:{server.server_address[1]}/v1", behave)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield told
        finally:
            told.released.set()
            server.shutdown()
            thread.join()


def completion(question: Question, text: str | None) -> bytes:
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop"}
    if "messages" in question.body:
        choice["message"] = {"role": "assistant", "content": text}
    else:
        choice["text"] = text
    return json.dumps({"object": "completion", "choices": [choice]}).encode()
