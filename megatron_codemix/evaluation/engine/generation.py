"""Generates over data-parallel copies of the model: prompts wait, enter a slot as one becomes free,
and leave it when they are done.

Rank 0 has the prompts and gives each copy as many as keep it busy until the next report, so that
copies whose texts end early get more of them.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.engine.control import Control
from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.mcore.inference.stage import Stage

MAX_SLOTS = 64
CACHED_BATCHES = 32
"""The cache has room for no more than so many times the places of a forward pass."""
CACHE_BYTES = 4 << 30
"""Nor is it larger on any rank."""


@dataclass(frozen=True)
class StartCommand:
    """Makes the caches."""

    num_slots: int
    length: int
    """Tokens of a slot."""
    max_batch_tokens: int


@dataclass(frozen=True)
class ContinueCommand:
    """(number, request) of the prompts that are new to each copy of the model; then some tokens
    more of all."""

    requests: list[list[tuple[int, GenerationRequest]]]


@dataclass(frozen=True)
class EndCommand:
    """Gives the caches back."""


def check_requests(requests: Sequence[GenerationRequest], max_length: int) -> None:
    """Raises DataError for what cannot be generated."""
    for number, request in enumerate(requests):
        assert len(request.prompt) > 0, f"request {number}: a prompt has a token, the prefix token"
        assert request.max_new_tokens > 0, f"request {number}: asks for no token"
        if request.max_new_tokens >= max_length:
            raise DataError(
                f"request {number}: {request.max_new_tokens} new tokens leave no room for a prompt "
                f"in the model's context of {max_length}; ask for fewer"
            )


def generate_all(
    requests: Sequence[GenerationRequest],
    on_result: Callable[[int, Generation], None],
    *,
    control: Control,
    stage: Stage,
    max_length: int,
    max_batch_tokens: int,
) -> None:
    """On rank 0: has the ranks generate for all requests, the longest first."""
    check_requests(requests, max_length)
    sizes = [min(max_length, len(each.prompt) + each.max_new_tokens) for each in requests]
    order = sorted(range(len(requests)), key=lambda number: -sizes[number])
    waiting = deque((number, requests[number]) for number in order)
    if not waiting:
        return
    length, num_copies = max(sizes), stage.parallel.data_size
    room = min(CACHED_BATCHES * max_batch_tokens, CACHE_BYTES // stage.cached_token_bytes)
    num_slots = max(1, min(MAX_SLOTS, room // length, -(-len(requests) // num_copies)))
    control.ask(StartCommand(num_slots, length, max_batch_tokens))
    open_requests = [0] * num_copies
    while waiting or any(open_requests):
        for copy, done in control.ask(ContinueCommand(_deal(waiting, open_requests, num_slots))):
            open_requests[copy] -= len(done)
            for number, generation in done:
                on_result(number, generation)
    control.ask(EndCommand())


def _deal(
    waiting: deque[tuple[int, GenerationRequest]], open_requests: list[int], num_slots: int
) -> list[list[tuple[int, GenerationRequest]]]:
    """New requests of each copy, until each has as many as slots and half as many again."""
    dealt: list[list[tuple[int, GenerationRequest]]] = [[] for _ in open_requests]
    while waiting and min(open_requests) < num_slots + (num_slots + 1) // 2:
        copy = open_requests.index(min(open_requests))
        dealt[copy].append(waiting.popleft())
        open_requests[copy] += 1
    return dealt
