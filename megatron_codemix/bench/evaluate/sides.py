"""Our model and the harness's own `hf` model on the same weights, in one process with one thread,
and what asking both of them costs."""

import contextlib
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

import torch
import transformers
from lm_eval.models.huggingface import HFLM

from megatron_codemix.backend.devices import select_backend
from megatron_codemix.bench.evaluate.setting import Setting
from megatron_codemix.bench.measure import Cost, Trial, alternate, cost_of
from megatron_codemix.evaluation.engine.model import run_with_model
from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.harness.language_model import HarnessModel
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.mcore.groups import destroy_model_parallel

BATCH_SIZES = (1, 8, 16, 32)
"""Of the peer; the best of them counts."""

T = TypeVar("T")
"""What a harness model answers."""


class _Peer(HFLM):  # type: ignore[misc]  # the harness's classes have no types
    """The harness's model without its progress bars, which ours has not either."""

    def loglikelihood(
        self, requests: list[Any], disable_tqdm: bool = True
    ) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        return found

    def _loglikelihood_tokens(
        self, requests: list[Any], disable_tqdm: bool = True, **options: Any
    ) -> list[tuple[float, bool]]:
        found: list[tuple[float, bool]] = super()._loglikelihood_tokens(
            requests, disable_tqdm=True, **options
        )
        return found


@dataclass(frozen=True)
class Sides:
    """Two models of the harness with the same weights."""

    ours: HarnessModel
    _peer: _Peer

    @contextlib.contextmanager
    def peer(self, batch_size: int) -> Iterator[_Peer]:
        """The peer with a batch size, without the mode in which torch's functions are asked where
        CUDA is (backend/megatron_on_cpu.py)."""
        self._peer.batch_size_per_gpu = batch_size
        with torch._C.DisableTorchFunction():
            yield self._peer

    def measure(
        self, ask: Callable[[Any], T], repeats: int, batch_sizes: Sequence[int]
    ) -> "Measured[T]":
        """By turns. Each batch size of the peer is measured once, and the best again."""
        answers: dict[str, T] = {}

        def ask_ours() -> None:
            answers["ours"] = ask(self.ours)

        def ask_peer(batch_size: int) -> None:
            with self.peer(batch_size) as peer:
                answers["peer"] = ask(peer)

        ask_ours()  # memory is taken, kernels are chosen
        trials = {size: Trial(partial(ask_peer, size)) for size in batch_sizes}
        found = {size: cost_of(trial) for size, trial in trials.items()}
        best = min(found, key=lambda size: found[size].user)
        costs = alternate({"ours": Trial(ask_ours), "peer": trials[best]}, repeats)
        return Measured(
            ours=costs["ours"],
            peer=costs["peer"],
            batch_size=best,
            our_answer=answers["ours"],
            peer_answer=answers["peer"],
        )


@dataclass(frozen=True, kw_only=True)
class Measured(Generic[T]):
    """Medians of both sides, and what they have answered."""

    ours: Cost
    peer: Cost
    batch_size: int
    """Of the peer, its best."""
    our_answer: T
    peer_answer: T


def with_both(setting: Setting, body: Callable[[Sides], None]) -> None:
    """Carries out `body` with both models."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    said: Any = transformers.utils.logging  # Any: it has no types
    said.set_verbosity_error()
    said.disable_progress_bar()
    device = str(select_backend("auto").device)
    peer = _Peer(pretrained=str(setting.exported), device=device, dtype="float32", batch_size=1)
    meeting = setting.home / "rendezvous"
    meeting.unlink(missing_ok=True)
    context = RankContext(rank=0, world_size=1, local_rank=0, init_method=f"file://{meeting}")

    def run(model: LanguageModel) -> None:
        torch.set_num_threads(1)
        body(Sides(HarnessModel(model), peer))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # megatron-core warns of its own defaults
        try:
            run_with_model(setting.run, EvaluationLayout(), context, run)
        finally:
            destroy_model_parallel()


def load() -> str:
    """How busy the machine is, for notes."""
    return f"load {os.getloadavg()[0]:.0f}"
