"""Asks an endpoint for every reply that is not on disk yet, some at a time."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from megatron_codemix.endpoint.endpoint import Endpoint, RequestRefused, Stopped
from megatron_codemix.endpoint.kept_replies import KeptReplies
from megatron_codemix.endpoint.pace import Pace
from megatron_codemix.errors import CodemixError, UnavailableError
from megatron_codemix.files import Json

_REFUSALS_BEFORE_ANY_ANSWER = 10
"""After so many of them, and no answer, the next one will be refused as well."""
_LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class Reply:
    """What came back for one request: a text, or why it was refused."""

    text: str | None
    finish_reason: str | None = None
    refusal: str | None = None


class Asking:
    """Requests to one endpoint, by the keys that their replies are kept under (`request_key`)."""

    def __init__(
        self,
        endpoint: Endpoint,
        kept: KeptReplies,
        *,
        requests_per_minute: float | None,
        on_reply: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._kept = kept
        self._stop = threading.Event()
        self._pace = Pace(requests_per_minute, self._stop)
        self._on_reply = on_reply
        self._lock = threading.Lock()
        self._refusals: dict[str, str] = {}

    def reply(self, key: str) -> Reply:
        """Of a request that `run` was given."""
        answer = self._kept.get(key)
        if answer is None:
            return Reply(None, refusal=self._refusals[key])
        return Reply(answer["text"], answer["finish_reason"])

    def run(self, bodies: Mapping[str, dict[str, Json]], concurrency: int) -> None:
        """Sends what `kept` does not have; `on_reply` is called for each request that is settled.

        Raises, after no more requests are under way, what `Endpoint.ask` raises, and
        UnavailableError where the endpoint refuses one request after the other.
        """
        missing = {key: body for key, body in bodies.items() if self._kept.get(key) is None}
        for _ in range(len(bodies) - len(missing)):
            self._on_reply()
        with ThreadPoolExecutor(concurrency, thread_name_prefix="endpoint") as pool:
            futures: list[Future[None]] = []
            try:
                for key, body in missing.items():
                    futures.append(pool.submit(self._ask, key, body))
                _wait_for_all(futures)
            finally:  # an error, or Ctrl-C
                self._stop.set()
                pool.shutdown(cancel_futures=True)
        _raise_first(futures)
        self._stop.clear()  # the next call goes on at the same pace

    def _ask(self, key: str, body: dict[str, Json]) -> None:
        try:
            answer = self._endpoint.ask(body, self._pace, self._stop)
        except RequestRefused as error:
            self._note_refusal(key, str(error))
        else:
            self._kept.add(key, answer)
        with self._lock:
            self._on_reply()

    def _note_refusal(self, key: str, reason: str) -> None:
        with self._lock:
            self._refusals[key] = reason
            if len(self._refusals) >= _REFUSALS_BEFORE_ANY_ANSWER and not len(self._kept):
                raise UnavailableError(
                    f"{self._endpoint.base_url}: refuses every request, the last one with {reason}"
                )


def _wait_for_all(futures: Sequence[Future[None]]) -> None:
    """Until all have ended, or one with an error. A wait without a limit misses a Ctrl-C that comes
    in the moment before it blocks, or to another thread."""
    while True:
        ended, waiting = wait(futures, _LOOK_EVERY_SECONDS, return_when=FIRST_EXCEPTION)
        if not waiting or any(one.exception() is not None for one in ended):
            return


def _raise_first(futures: Sequence[Future[None]]) -> None:
    """What has ended the work; that other threads were stopped is only its consequence."""
    errors = [future.exception() for future in futures if not future.cancelled()]
    causes = [error for error in errors if error is not None and not isinstance(error, Stopped)]
    readable = [error for error in causes if isinstance(error, CodemixError)]
    for error in readable + causes:
        raise error
