"""Asks the ranks where they stand once one of them does not go on, and says which hold up the rest.

A process that is stopped, or whose node is gone, does not answer. One that is stuck by itself has
called fewer collectives than those who wait for it. Neither torch's time-outs nor NCCL's say so.
"""

import contextlib
import datetime
import json
import math
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType

from torch.distributed import (  # type: ignore[attr-defined]  # no stub has them
    DistError,
    DistStoreError,
    ProcessGroup,
    Store,
    get_backend,
)
from torch.distributed import group as groups

# Private, and nothing public names the store and the groups that a process has.
from torch.distributed.distributed_c10d import _get_default_store, _world

from megatron_codemix.backend.meeting import by_host, ranks_that_came
from megatron_codemix.errors import RetryableError

LISTEN_SECONDS = 2.0
"""Between two looks for a call: 1,000 ranks ask the store 500 times a second."""
ANSWER_TIMEOUT = datetime.timedelta(seconds=10)
_STORE_PATIENCE = 1.5
"""Times the ranks' time to answer: then the store itself does not. Where its process stands still,
no operation on it ends, whatever time-out it is given."""
_TIMED_OUT = (
    "Timed out waiting",
    "Operation timed out",
    "Application timeout",
    "ait timeout",  # gloo's begins with a capital letter, that of torch's store does not
)
"""In what gloo, and torch, say where a collective took too long; the errors have no type."""
_PACKAGE = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a rank says of itself."""

    calls: dict[str, int]
    """Name of a group, the same on all of its ranks -> collectives called in it so far."""
    place: str
    """Where its main thread is in this package."""


class RollCall:
    """A rank's part in it, while entered: answers the others, and may ask them from any thread.

    Leaving it with the error of a collective that has timed out raises RetryableError with the
    ranks that are missing.
    """

    def __init__(
        self,
        *,
        rank: int,
        world_size: int,
        uncounted: Collection[object] = (),
        answer_timeout: datetime.timedelta = ANSWER_TIMEOUT,
        listen_seconds: float = LISTEN_SECONDS,
    ) -> None:
        """uncounted: groups in which ranks send to one another: gloo counts that as collectives.
        listen_seconds: between two looks; at most a quarter of the time to answer."""
        self.rank, self.world_size = rank, world_size
        self.answer_timeout = answer_timeout
        self.listen_seconds = min(listen_seconds, answer_timeout.total_seconds() / 4)
        self._uncounted = {id(group) for group in uncounted}
        self._store: Store = _get_default_store()
        self._keepers_host = ""
        self._answered = 0
        self._heard_at = -math.inf
        """Monotonic time when the last call was first seen."""
        self._ended = threading.Event()
        self._listener = threading.Thread(target=self._listen, name="roll call", daemon=True)

    def __enter__(self) -> "RollCall":
        if self.world_size > 1:
            self._store.set(_host_key(self.rank), socket.gethostname())
            self._answered = self._store.add(_CALLS, 0)
            self._listener.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if isinstance(error, RuntimeError) and any(text in str(error) for text in _TIMED_OUT):
                raise RetryableError(f"a collective has timed out: {self.who_is_missing()}")
        finally:
            self._ended.set()
            if self._listener.is_alive():
                self._listener.join(self.listen_seconds)

    def who_is_missing(self) -> str:
        """Asks, which takes up to one and a half times `answer_timeout`, and says which ranks hold
        up the others and what to do."""
        if self.world_size == 1:
            return f"it is alone, {_standing(self._uncounted).place}; {_AGAIN}"
        found: list[str] = []
        asking = threading.Thread(target=lambda: found.append(self._ask()), daemon=True)
        asking.start()
        asking.join(_STORE_PATIENCE * self.answer_timeout.total_seconds())
        if found:
            return found[0]
        return (
            f"the store of rank {by_host({0: self._keepers_host})} does not answer, where "
            f"ranks say where they stand; {_SILENT} {_AGAIN}"
        )

    def _listen(self) -> None:
        """Body of a thread of its own: where rank 0 stands still, it waits for ever."""
        with contextlib.suppress(DistError):  # rank 0 has ended, as all ranks see
            store = _own_client(self._store)
            self._keepers_host = store.get(_host_key(0)).decode()
            while not self._ended.wait(self.listen_seconds):
                last = store.add(_CALLS, 0)
                if last > self._answered:
                    self._heard_at = time.monotonic()
                for call in range(self._answered + 1, last + 1):
                    self._answer(store, call)
                self._answered = last

    def _answer(self, store: Store, call: int) -> None:
        answer = asdict(_standing(self._uncounted))
        store.set(_answer_key(call, self.rank), json.dumps(answer))

    def _ask(self) -> str:
        try:
            return self._describe_answers(_own_client(self._store))
        except DistError:
            return f"rank 0 has ended, whose log says why; {_AGAIN}"
        except Exception as error:  # in a thread: said here or nowhere
            said = f"{type(error).__name__}: {error}"
            return f"the ranks could not be asked where they stand ({said}); {_AGAIN}"

    def _describe_answers(self, store: Store) -> str:
        call = self._call(store)
        self._answer(store, call)
        answer_keys = [_answer_key(call, rank) for rank in range(self.world_size)]
        with contextlib.suppress(DistStoreError):  # not all of them answer
            store.wait(answer_keys, self.answer_timeout)
        answers = {
            rank: Standing(**json.loads(text)) for rank, text in _texts(store, answer_keys).items()
        }
        host_keys = [_host_key(rank) for rank in range(self.world_size)]
        hosts = {rank: text.decode() for rank, text in _texts(store, host_keys).items()}
        return describe(self.world_size, answers, hosts)

    def _call(self, store: Store) -> int:
        """Number of the call whose answers are waited for. Where all hang, all ask within a second,
        and every rank answers every call: one that came since our last look, or that we have heard
        no longer ago than that, is ours as well."""
        last = store.add(_CALLS, 0)
        seconds = time.monotonic() - self._heard_at
        if last > self._answered or seconds < self.listen_seconds:
            return last
        return int(store.compare_set(_CALLS, str(last), str(last + 1)))


_CALLS = "codemix/roll/calls"
"""How many there were. The store of torchrun's agent outlives the ranks, and so do answers."""
_SILENT = "is the process stopped, or its node gone?"
_AGAIN = "the same command goes on from the last checkpoint"


def _answer_key(call: int, rank: int) -> str:
    return f"codemix/roll/answer/{call}/{rank}"


def _host_key(rank: int) -> str:
    return f"codemix/roll/host/{rank}"


def _own_client(store: Store) -> Store:
    """One client serves one thread at a time: an operation that waits keeps all others out."""
    client: Store = store.clone()  # type: ignore[attr-defined]  # no stub has it
    return client


def _texts(store: Store, keys: Sequence[str]) -> dict[int, bytes]:
    """Rank -> value, of the ranks that have set their key."""
    ranks = ranks_that_came(store, keys, range(len(keys)))
    values = store.multi_get([keys[rank] for rank in ranks]) if ranks else []
    return dict(zip(ranks, values, strict=True))


def _standing(uncounted: Collection[int]) -> Standing:
    calls = {
        str(name): int(group._get_sequence_number_for_group())  # type: ignore[attr-defined]  # ditto
        for group, name in _world.pg_names.items()
        if group.size() > 1 and id(group) not in uncounted
    }
    return Standing(calls=calls, place=_place_of_main_thread())


def _place_of_main_thread() -> str:
    """`in train/trainer.py:90 (_train)`: its innermost line in this package."""
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_PACKAGE):
            line = f"{path.relative_to(_PACKAGE)}:{frame.f_lineno}"
            return f"in {line} ({frame.f_code.co_name})"
        frame = frame.f_back
    return "outside of megatron_codemix"


def groups_of_messages(pipeline: ProcessGroup, *, is_interleaved: bool) -> list[object]:
    """Those over which a pipeline's stages send to one another. Two stages that are interleaved
    send one direction over the group of all ranks (megatron-core's `_p2p_ops`)."""
    if is_interleaved and pipeline.size() == 2 and get_backend() == "gloo":
        return [pipeline, groups.WORLD]
    return [pipeline]


def describe(world_size: int, answers: Mapping[int, Standing], hosts: Mapping[int, str]) -> str:
    """Which ranks are missing, where they are and what to do. answers, hosts: of the ranks that
    have given them."""
    silent = [rank for rank in range(world_size) if rank not in answers]
    behind = ranks_behind({rank: answer.calls for rank, answer in answers.items()})
    parts = []
    if silent:
        parts.append(
            f"{len(silent)} of {world_size} ranks do not answer: {_at(silent, hosts)}; {_SILENT} "
        )
    # The others wait for those who are silent, and stand wherever that has left them.
    if behind and not silent:
        places = sorted({answers[rank].place for rank in behind})
        parts.append(
            f"{len(behind)} of {world_size} ranks have not come to a collective that others wait "
            f"in: {_at(behind, hosts)}, {'; '.join(places)}; "
        )
    if not parts:
        parts.append(
            f"all {world_size} ranks answer and have called the same collectives: a device, or the "
            "network between them, does not go on; "
        )
    return f"{parts[0]}{_AGAIN}"


def _at(ranks: Iterable[int], hosts: Mapping[int, str]) -> str:
    return by_host({rank: hosts.get(rank, "") for rank in ranks})


def ranks_behind(calls: Mapping[int, Mapping[str, int]]) -> list[int]:
    """Ranks for which others wait, and which wait for none themselves; where each waits for
    another, all that are behind. calls: of each rank, how many collectives it has called in each of
    its groups."""
    most: dict[str, int] = {}
    least: dict[str, int] = {}
    for counts in calls.values():
        for group, count in counts.items():
            most[group] = max(count, most.get(group, count))
            least[group] = min(count, least.get(group, count))
    behind = {
        rank
        for rank, counts in calls.items()
        if any(count < most[group] for group, count in counts.items())
    }
    waiting = {
        rank
        for rank, counts in calls.items()
        if any(count > least[group] for group, count in counts.items())
    }
    return sorted(behind - waiting or behind)
