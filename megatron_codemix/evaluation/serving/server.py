"""The HTTP side: addresses, keys, sizes, and one thread for each connection."""

import contextlib
import hmac
import json
import logging
import select
import socket
import threading
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from megatron_codemix.endpoint.loopback import is_loopback
from megatron_codemix.errors import UnavailableError
from megatron_codemix.evaluation.serving.batcher import Batcher, Closed, QueueFull
from megatron_codemix.evaluation.serving.calls import (
    Call,
    Served,
    answer,
    read_chat,
    read_completions,
)
from megatron_codemix.evaluation.serving.errors import ApiError, bad_request
from megatron_codemix.evaluation.serving.fields import Body

log = logging.getLogger(__name__)

KEY_VARIABLE = "CODEMIX_API_KEY"
"""Environment variable with the key that clients must send."""
MAX_BODY_BYTES = 8 * 2**20
_POLL_SECONDS = 0.05
_IDLE_SECONDS = 60
"""After which a connection that says nothing, or does not take its answer, is closed."""
_LAST_ANSWERS_SECONDS = 10.0
_LINGER_SECONDS = 2.0
_MAX_UNREAD_BYTES = 64 * 2**20
_RETRY_SECONDS = 1
_READERS: dict[str, Callable[[Body, Served], Call]] = {
    "/v1/completions": read_completions,
    "/v1/chat/completions": read_chat,
}


class ApiServer(ThreadingHTTPServer):
    """OpenAI's interface to one model. It has its port from the start, and listens in `open`."""

    daemon_threads = True  # a client that is slow does not keep the process
    request_queue_size = 128

    def __init__(self, host: str, port: int, *, key: str | None) -> None:
        """key: what clients must send as `Authorization: Bearer KEY`; None for none.
        Raises UnavailableError where the address cannot be had."""
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler, bind_and_activate=False)
        self.key = key
        self.is_for_this_machine = is_loopback(host)
        self.batcher: Batcher
        self.served: Served
        self._active = 0
        self._all_answered = threading.Condition()
        try:
            self.server_bind()
        except (OSError, OverflowError) as error:
            self.server_close()
            raise UnavailableError(
                f"cannot serve on {host}:{port} ({error}); give another --port, or 0 for a free one"
            ) from error

    @property
    def url(self) -> str:
        """Up to and with `/v1`."""
        host, port = self.server_address[:2]
        name = host.decode() if isinstance(host, bytes | bytearray) else host
        return f"http://{f'[{name}]' if ':' in name else name}:{port}/v1"

    @contextlib.contextmanager
    def open(self, batcher: Batcher, served: Served) -> Iterator[None]:
        """Listens during the block; at its end the last answers are sent."""
        self.batcher, self.served = batcher, served
        self.server_activate()
        thread = threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.shutdown()
            thread.join()
            with self._all_answered:
                self._all_answered.wait_for(lambda: not self._active, _LAST_ANSWERS_SECONDS)
            self.server_close()

    @contextlib.contextmanager
    def answering(self) -> Iterator[None]:
        """Around the work on one request."""
        with self._all_answered:
            self._active += 1
        try:
            yield
        finally:
            with self._all_answered:
                self._active -= 1
                self._all_answered.notify()

    def server_bind(self) -> None:
        # HTTPServer's own looks up the host's name, which may take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke; what goes wrong with a request is answered by the handler."""
        log.debug("connection of %s", client_address, exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: ApiServer
    protocol_version = "HTTP/1.1"
    server_version = "codemix"
    sys_version = ""
    timeout = _IDLE_SECONDS
    _has_unread_body = False

    def do_GET(self) -> None:
        self._answer(self._get)

    def do_POST(self) -> None:
        self._answer(self._post)

    def do_PUT(self) -> None:
        self._answer(self._refuse_method)

    def do_DELETE(self) -> None:
        self._answer(self._refuse_method)

    def _answer(self, work: Callable[[], Any]) -> None:
        with self.server.answering():
            self._has_unread_body = any(
                name in self.headers for name in ("Content-Length", "Transfer-Encoding")
            )
            try:
                self._send(HTTPStatus.OK, work())
            except ApiError as error:
                self._refuse(error)
            except Exception:
                log.exception("%s %s", self.command, self.path)
                self._refuse(ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "a bug; see the log"))

    def _get(self) -> Any:
        path = self.path.partition("?")[0]
        batcher, served = self.server.batcher, self.server.served
        if path == "/health":
            return {
                "status": "ok",
                "waiting": batcher.num_waiting,
                "requests": batcher.num_requests,
                "batches": batcher.num_batches,
            }
        self._check_caller()
        model = {
            "id": served.name,
            "object": "model",
            "created": 0,
            "owned_by": "codemix",
            "max_model_len": served.max_length,
        }
        if path == "/v1/models":
            return {"object": "list", "data": [model]}
        if path == f"/v1/models/{served.name}":
            return model
        if path in _READERS:
            raise ApiError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"{path!r} wants POST", headers={"Allow": "POST"}
            )
        raise self._unknown(path)

    def _post(self) -> Any:
        self._check_caller()
        path = self.path.partition("?")[0]
        read = _READERS.get(path)
        if read is None:
            raise self._unknown(path)
        call = read(self._body(), self.server.served)
        batcher = self.server.batcher
        if len(call.requests) > batcher.max_waiting:
            raise bad_request(
                f"{len(call.requests)} texts are asked for at once; {batcher.max_waiting} are "
                "written; send fewer prompts, or a smaller 'n'"
            )
        try:
            job = batcher.submit(call.requests, self._is_client_there)
            return answer(call, job.wait(), self.server.served)
        except QueueFull as error:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too many requests are waiting; ask again later",
                code="rate_limit_exceeded",
                headers={"Retry-After": str(_RETRY_SECONDS)},
            ) from error
        except Closed as error:
            raise ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "the server is shutting down") from error

    def _refuse_method(self) -> Any:
        raise ApiError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            f"{self.command} is not answered; GET and POST are",
            headers={"Allow": "GET, POST"},
        )

    def _check_caller(self) -> None:
        """The key; and without one, that no web page has sent the browser here under a name of its
        own (DNS rebinding)."""
        if self.server.key is not None:
            given = self.headers.get("Authorization", "")
            wanted = f"Bearer {self.server.key}"
            if not hmac.compare_digest(given.encode(errors="replace"), wanted.encode()):
                raise ApiError(
                    HTTPStatus.UNAUTHORIZED,
                    "this server wants its key, as `Authorization: Bearer KEY`",
                    code="invalid_api_key",
                    headers={"WWW-Authenticate": "Bearer"},
                )
            return
        host = self.headers.get("Host", "localhost")
        name = host.rpartition("]")[0].lstrip("[") or host.partition(":")[0]
        if not is_loopback(name):
            raise ApiError(HTTPStatus.FORBIDDEN, f"{host!r} is not this machine's own address")

    def _body(self) -> Body:
        # A form that a web page posts to another site has one of the types that need no leave.
        if self.headers.get_content_type() != "application/json":
            raise ApiError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, as Content-Type: application/json"
            )
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise ApiError(HTTPStatus.LENGTH_REQUIRED, "the length of the body is missing")
        if int(length) > MAX_BODY_BYTES:
            raise ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"the body has {length} bytes; {MAX_BODY_BYTES} are taken",
            )
        content = self.rfile.read(int(length))
        self._has_unread_body = False
        try:
            body = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise bad_request(f"the body is not JSON ({error})") from error
        if not isinstance(body, dict):
            raise bad_request("the body is not a JSON object")
        return body

    def _unknown(self, path: str) -> ApiError:
        known = ", ".join([*_READERS, "/v1/models", "/health"])
        return ApiError(HTTPStatus.NOT_FOUND, f"{path!r} is not known; there are {known}")

    def _is_client_there(self) -> bool:
        """Whether the connection still stands: nothing to read, rather than its end."""
        poll = select.poll()
        try:
            poll.register(self.connection, select.POLLIN)
            return not poll.poll(0) or bool(self.connection.recv(1, socket.MSG_PEEK))
        except (OSError, ValueError):
            return False

    def _refuse(self, error: ApiError) -> None:
        if not self._has_unread_body:
            self._send(error.status, error.body, error.headers)
            return
        # What follows would be taken for the next request. And closed at once, the connection
        # would be reset before a client that is still sending has read the answer.
        self.close_connection = True
        self._send(error.status, error.body, error.headers)
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_SECONDS)
            for _ in range(_MAX_UNREAD_BYTES // 2**16):
                if not self.connection.recv(2**16):
                    break

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class finds wrong with a request, in the same form as our own errors."""
        error = ApiError(HTTPStatus(code), message or HTTPStatus(code).phrase)
        self.close_connection = True
        self._send(error.status, error.body)

    def _send(self, status: HTTPStatus, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        try:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)
        except OSError:  # the client has gone
            log.debug("no one takes the answer to %s", self.path)
            self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)
