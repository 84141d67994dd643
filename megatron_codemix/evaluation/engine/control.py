"""Rank 0 commands, all ranks obey, answers come back to rank 0; and no rank waits for one that has
failed.

A rank that fails leaves the reason in the store through which the ranks have met, and ends. Others
that wait for it find their connection closed, and rank 0 raises the reason instead.
"""

import pickle
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch.distributed
from torch.distributed.distributed_c10d import _get_default_store

from megatron_codemix.backend.process_groups import make_host_group
from megatron_codemix.errors import CodemixError
from megatron_codemix.launch.failures import tells_of_lost_peer

_REASON = "megatron_codemix/engine/failure"
_REASON_SECONDS = 5.0
"""How long a rank that fails may take to say why, after its connections have gone."""


class RankFailedError(RuntimeError):
    """Another rank has failed; the message is its traceback."""


class Control:
    """Commands are any objects that can be pickled; `obey` carries one out on this rank and returns
    the answer, None where the rank has none to give. Every rank makes a Control."""

    def __init__(self, obey: Callable[[Any], Any]) -> None:
        self.rank, self.world_size = (
            torch.distributed.get_rank(),
            torch.distributed.get_world_size(),
        )
        self._obey = obey
        self._group = make_host_group() if self.world_size > 1 else None
        self._is_broken = False

    def ask(self, command: Any) -> list[Any]:
        """On rank 0: has all ranks obey; their answers by rank, without those that are None.
        Raises what another rank has raised."""
        self._is_broken = True  # until all have answered
        try:
            answers = self._asked(command)
        except RuntimeError as error:
            reason = self._reason() if _is_consequence(error) else None
            if reason is None:
                raise
            raise reason from error
        self._is_broken = False
        return [answer for answer in answers if answer is not None]

    def serve(self) -> None:
        """On the other ranks: obeys until `end`."""
        while True:
            command = self._broadcast(None)
            if command is None:
                return
            try:
                self._gather(self._obey(command))
            except Exception as error:
                self._leave_reason(error)
                raise

    def end(self) -> None:
        """On rank 0: lets the others go. Where a command is not done this does nothing: its ranks
        may be in any collective, and find out when this rank's connections close."""
        if not self._is_broken:
            self._broadcast(None)

    def _asked(self, command: Any) -> list[Any]:
        self._broadcast(command)
        return self._gather(self._obey(command))

    def _broadcast(self, command: Any) -> Any:
        if self._group is None:
            return command
        box = [command]
        torch.distributed.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def _gather(self, answer: Any) -> list[Any]:
        if self._group is None:
            return [answer]
        answers = [None] * self.world_size if self.rank == 0 else None
        torch.distributed.gather_object(answer, answers, dst=0, group=self._group)
        return answers or []

    def _leave_reason(self, error: Exception) -> None:
        """The first rank's counts: the others' may be its consequence."""
        text = "".join(traceback.format_exception(error))
        reason: Exception = RankFailedError(f"rank {self.rank} failed:\n{text}")
        if isinstance(error, CodemixError):
            reason = error
        _get_default_store().compare_set(_REASON, "", pickle.dumps(reason).hex())

    def _reason(self) -> Exception | None:
        store = _get_default_store()
        give_up_at = time.monotonic() + _REASON_SECONDS
        while self.world_size > 1 and time.monotonic() < give_up_at:
            if store.check([_REASON]):
                reason: Exception = pickle.loads(bytes.fromhex(store.get(_REASON).decode()))
                return reason
            time.sleep(0.05)
        return None


def _is_consequence(error: RuntimeError) -> bool:
    """Whether another rank may have more to say."""
    is_lost = tells_of_lost_peer(str(error))
    return is_lost or isinstance(error, torch.distributed.DistError)
