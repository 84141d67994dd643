"""One request to an OpenAI-compatible endpoint and its answer, with retries."""

import email.utils
import http.client
import json
import logging
import random
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from megatron_codemix.endpoint.loopback import is_loopback
from megatron_codemix.endpoint.pace import Pace
from megatron_codemix.errors import RetryableError, UnavailableError
from megatron_codemix.files import Json, without_lone_surrogates

log = logging.getLogger(__name__)

Api = Literal["chat", "completions"]
PATHS = {"chat": "chat/completions", "completions": "completions"}

_AGAIN = {408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529}
"""Replies that may be others later."""
_REFUSED = {400, 413, 422}
"""Replies that are about this request alone, such as one that is too long."""
_LONGEST_DELAY_SECONDS = 60.0
_LONGEST_ASKED_SECONDS = 600.0
_MAX_ANSWER_BYTES = 2**24
_MAX_DETAIL = 300


class RequestRefused(Exception):  # noqa: N818  # one item's, not an error of the run
    """The endpoint will not answer this request, though it may answer others."""


class Stopped(Exception):  # noqa: N818  # not an error
    """Another thread has ended the work."""


class _NotNow(Exception):  # noqa: N818  # becomes a retry
    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a model is, and how patiently it is asked."""

    base_url: str
    """Up to and with `/v1`."""
    model: str
    name: str
    """Who answers, where the address does not say: part of what answers are kept under."""
    api: Api = "chat"
    max_tokens: int = 512
    key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 120.0
    """For the connection, and for each part of an answer."""
    retries: int = 6
    """After the first try of a request."""
    retry_seconds: float = 1.0
    """Before the first retry; twice as long before each one after it, up to a minute."""

    def body(
        self, preamble: str, question: str, *, opening: str, temperature: float = 0
    ) -> dict[str, Json]:
        """The request; greedy where the temperature is 0, so that it can be repeated.

        opening: how the answer begins, for the interface where the model goes on with a text.
        """
        common = {"model": self.model, "max_tokens": self.max_tokens, "temperature": temperature}
        if self.api == "completions":
            return {**common, "prompt": f"{preamble}\n\n{question}\n\n{opening}"}
        messages = [
            {"role": "system", "content": preamble},
            {"role": "user", "content": question},
        ]
        return {**common, "messages": messages}

    def ask(self, body: dict[str, Json], pace: Pace, stop: threading.Event) -> dict[str, Json]:
        """`text`, and `finish_reason` and `usage` as the endpoint has them.

        Raises RequestRefused for this request alone, UnavailableError for what no retry mends (a
        wrong key, model or address), RetryableError once all retries are used, Stopped.
        """
        for attempt in range(self.retries + 1):
            if not pace.wait():
                raise Stopped
            try:
                return self._ask_once(body)
            except _NotNow as error:
                reason = str(error)
                if attempt > 0:
                    log.warning("%s: %s (try %d)", self.base_url, reason, attempt + 1)
                if attempt < self.retries:
                    if error.wait_seconds:
                        pace.hold(error.wait_seconds)
                    delay = max(error.wait_seconds, self._delay(attempt))
                    if stop.wait(delay):
                        raise Stopped from error
        raise RetryableError(f"{self.base_url}: {reason}, {self.retries + 1} times in a row")

    def _delay(self, attempt: int) -> float:
        longest = min(_LONGEST_DELAY_SECONDS, self.retry_seconds * 2.0**attempt)
        return longest * random.uniform(0.5, 1)  # apart, where several wait for the same server

    def _ask_once(self, body: dict[str, Json]) -> dict[str, Json]:
        request = urllib.request.Request(
            f"{self.base_url.rstrip('/')}/{PATHS[self.api]}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "User-Agent": "codemix"},
        )
        if self.key is not None:
            request.add_unredirected_header("Authorization", f"Bearer {self.key}")
        try:
            with _opener(self.base_url).open(request, timeout=self.timeout_seconds) as response:
                content = _read(response)
        except urllib.error.HTTPError as error:
            with error:
                raise self._failure(error) from error
        except TimeoutError as error:
            raise _NotNow(f"no answer within {self.timeout_seconds:g} s") from error
        except urllib.error.URLError as error:
            if isinstance(error.reason, TimeoutError):
                raise _NotNow(f"no answer within {self.timeout_seconds:g} s") from error
            if _is_lasting(error.reason):
                raise UnavailableError(
                    f"{self.base_url}: no secure connection ({error.reason}); check the address, "
                    "and the certificates that this machine trusts"
                ) from error
            raise _NotNow(f"cannot be reached ({error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            raise _NotNow(f"the connection broke ({error or type(error).__name__})") from error
        return self._answer(content)

    def _answer(self, content: bytes) -> dict[str, Json]:
        try:
            record = json.loads(content)
            choice = record["choices"][0]
            text = choice["message"]["content"] if self.api == "chat" else choice["text"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise _NotNow(f"answers something else than a completion ({_cut(content)})") from error
        if text is not None and not isinstance(text, str):
            raise _NotNow(f"answers something else than a text ({_cut(content)})")
        if text is None and choice.get("finish_reason") is None:
            raise _NotNow(f"answers without a text or a reason ({_cut(content)})")
        return {
            "text": without_lone_surrogates(text or ""),
            "finish_reason": choice.get("finish_reason"),
            "usage": record.get("usage"),
        }

    def _failure(self, error: urllib.error.HTTPError) -> Exception:
        detail = f"HTTP {error.code} {error.reason}".rstrip()
        told = _cut(_read(error))
        said = f"{detail}: {told}" if told else detail
        if error.code in _AGAIN:
            return _NotNow(said, _asked_delay(error.headers.get("Retry-After")))
        if error.code in _REFUSED:
            return RequestRefused(said)
        hints = {
            401: "; name the environment variable that holds the key with --api-key-env",
            403: "; this key may not use the model",
            404: f"; check the address (it ends in /v1) and the model {self.model!r}",
        }
        if error.code // 100 == 3:
            there = error.headers.get("Location")
            return UnavailableError(f"{self.base_url}: {detail}; it has moved to {there}")
        return UnavailableError(f"{self.base_url}: {said}{hints.get(error.code, '')}")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET, and the key would go to somebody else."""

    def redirect_request(self, *_: Any) -> None:  # Any: urllib's own
        return None


def _opener(url: str) -> urllib.request.OpenerDirector:
    """No proxy stands between this machine and itself."""
    handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
    if is_loopback(urllib.parse.urlsplit(url).hostname or ""):
        handlers.append(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener(*handlers)


def _is_lasting(reason: object) -> bool:
    """Whether TLS has failed for good: not because a connection broke in the middle of it."""
    broken = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return isinstance(reason, ssl.SSLError) and not isinstance(reason, broken)


def _read(response: IO[bytes] | http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _NotNow(f"the connection broke ({error or type(error).__name__})") from error


def _cut(content: bytes) -> str:
    text = " ".join(content.decode("utf-8", errors="replace").split())
    return text if len(text) <= _MAX_DETAIL else f"{text[:_MAX_DETAIL]}..."


def _asked_delay(header: str | None) -> float:
    """Seconds of a `Retry-After`: a number, or a date (RFC 9110, 10.2.3); 0 where there is none."""
    if header is None:
        return 0.0
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return 0.0
    return min(max(seconds, 0.0), _LONGEST_ASKED_SECONDS)
