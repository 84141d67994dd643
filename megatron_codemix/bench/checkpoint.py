"""Saving and loading a checkpoint of 1.1 GB, beside megatron-core's synchronous save of the same
state, by turns in one process."""

import queue
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed

from megatron_codemix.backend.devices import Backend, select_backend
from megatron_codemix.backend.process_groups import initialize_process_group
from megatron_codemix.bench.measure import Cost
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.checkpoints import changed_files, files_of, read_marker, total_bytes
from megatron_codemix.config.schema import (
    AdamWConfig,
    LayoutConfig,
    ModelConfig,
    PrecisionConfig,
)
from megatron_codemix.data.batches import Batch
from megatron_codemix.mcore.checkpoint import begin_save, load_checkpoint, sharded_weights
from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess
from megatron_codemix.mcore.groups import initialize_model_parallel
from megatron_codemix.mcore.model import build_model, wrap_data_parallel
from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
from megatron_codemix.mcore.step import train_step

MAX_BLOCKED = 0.15
"""Of a synchronous save: the goal for what the training waits."""

_VOCABULARY = 8192
_SEQUENCE = 64
_CONTENT = {"distrib_optim_sharding_type": "fully_reshardable"}


@dataclass(frozen=True)
class _Costs:
    """What one round has measured."""

    blocked: Cost
    written_seconds: float
    """From the beginning to the marker, while training goes on."""
    waited: Cost
    peer_save: Cost
    step: Cost
    step_meanwhile: Cost
    load: Cost
    peer_load: Cost
    hash_seconds: float


def checkpoint_rows(
    folder: Path, *, scale: float, repeats: int, finished: Callable[[int], None]
) -> list[Row]:
    """All rows. Works in a folder of its own below `folder` and removes it; `finished` is told of
    each round. The first round, which uses everything for the first time, is not counted."""
    with tempfile.TemporaryDirectory(prefix="codemix-bench-", dir=folder) as work:
        trial = _Trial(Path(work), scale)
        try:
            rounds = []
            for number in range(repeats + 1):
                costs = trial.measure()
                rounds += [costs] if number else []
                finished(1)
            rows = _rows(rounds, trial.num_bytes)
        finally:
            trial.close()
    return [row if scale == 1 else row.unjudged() for row in rows]


class _Trial:
    """A model that is trained, saved and loaded."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.folder = folder
        backend = select_backend("auto")
        backend.prepare()
        method = f"file://{folder / 'rendezvous'}"
        initialize_process_group(backend, rank=0, world_size=1, init_method=method)
        self.process = CheckpointProcess(backend)
        layout, precision = LayoutConfig(), PrecisionConfig(kind="fp32")
        self.parallel = initialize_model_parallel(layout, 1)
        shape = _model(scale)
        chunks = build_model(
            shape,
            layout,
            precision,
            sequence_length=_SEQUENCE,
            seed=1,
            parallel=self.parallel,
            backend=backend,
        )
        self.backend: Backend = backend
        self.model = wrap_data_parallel(chunks, layout, self.parallel)
        self.optimizer = build_optimizer(
            AdamWConfig(weight_decay=0.1),
            layout,
            precision,
            self.model,
            self.parallel,
            width_ratio=1.0,
        )
        self.step()

    @property
    def num_bytes(self) -> int:
        return total_bytes(read_marker(self.folder / "ours"))

    def close(self) -> None:
        self.process.close()
        torch.distributed.destroy_process_group()

    def measure(self) -> _Costs:
        for name in ("ours", "peer"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        step = _cost(self.step)
        peer_save = _cost(self.save_as_megatron_does)
        started = time.perf_counter()
        begun = _cost(self.begin)
        meanwhile = []
        while self.save.is_writing():
            meanwhile.append(_cost(self.step))
        finish = _cost(self.save.finish)
        written_seconds = time.perf_counter() - started
        ours = self.folder / "ours"
        shutil.rmtree(ours)
        waited = _cost(self.save_and_wait)
        hashed = time.perf_counter()
        changed_files(ours, files_of(read_marker(ours)))
        hash_seconds = time.perf_counter() - hashed
        return _Costs(
            blocked=Cost(
                begun.user + finish.user, begun.system + finish.system, begun.wall + finish.wall
            ),
            written_seconds=written_seconds,
            waited=waited,
            peer_save=peer_save,
            step=step,
            step_meanwhile=_median(meanwhile or [step]),
            load=_cost(lambda: load_checkpoint(ours, self.model, self.optimizer, with_state=True)),
            peer_load=_cost(self.load_as_megatron_does),
            hash_seconds=hash_seconds,
        )

    def step(self) -> None:
        tokens = np.random.default_rng(0).integers(0, _VOCABULARY, (1, _SEQUENCE + 1))
        batch = Batch(
            tokens=tokens[:, :-1].copy(),
            labels=tokens[:, 1:].copy(),
            loss_mask=np.ones((1, _SEQUENCE), np.float32),
            position_ids=np.arange(_SEQUENCE)[None],
            document_ids=None,
            source_id=np.zeros(1, np.int16),
        )
        set_step_sizes(self.optimizer, 1e-4, 0.1)
        train_step(
            self.model,
            self.optimizer,
            [batch],
            num_sources=1,
            parallel=self.parallel,
            backend=self.backend,
        )

    def begin(self) -> None:
        self.save = begin_save(
            self.folder / "ours",
            self.model,
            self.optimizer,
            {"step": 1},
            self.parallel,
            self.process,
        )

    def save_and_wait(self) -> None:
        self.begin()
        self.save.finish()

    def save_as_megatron_does(self) -> None:
        from megatron.core import dist_checkpointing
        from megatron.core.dist_checkpointing.strategies import filesystem_async

        # Spared: a manager process, which takes seconds to start and is not needed here.
        filesystem_async._results_queue = queue.SimpleQueue()
        (self.folder / "peer").mkdir()
        dist_checkpointing.save(
            self._their_state(is_loading=False),
            str(self.folder / "peer"),
            content_metadata=_CONTENT,
        )

    def load_as_megatron_does(self) -> None:
        from megatron.core import dist_checkpointing

        state = self._their_state(is_loading=True)
        loaded = dist_checkpointing.load(state, str(self.folder / "peer"))
        with torch.no_grad():
            self.optimizer.load_state_dict(loaded["optimizer"])

    def _their_state(self, *, is_loading: bool) -> dict[str, Any]:
        state = sharded_weights(self.model)
        state["optimizer"] = self.optimizer.sharded_state_dict(
            state, is_loading=is_loading, metadata=_CONTENT
        )
        return state


def _model(scale: float) -> ModelConfig:
    heads = max(1, round(12 * scale**0.5))
    return ModelConfig(
        num_layers=max(1, round(8 * scale)),
        hidden_size=64 * heads,
        ffn_hidden_size=192 * heads,
        num_attention_heads=heads,
        vocabulary_size=_VOCABULARY,
        tie_embeddings=False,
    )


def _rows(rounds: list[_Costs], num_bytes: int) -> list[Row]:
    size = f"{num_bytes / 1e9:.2g} GB"
    goal = Goal(ratio=round(1 / MAX_BLOCKED, 2))
    blocked, peer = _median([r.blocked for r in rounds]), _median([r.peer_save for r in rounds])
    waited = _median([r.waited for r in rounds])
    load, peer_load = _median([r.load for r in rounds]), _median([r.peer_load for r in rounds])
    meanwhile = _median([r.step_meanwhile for r in rounds])
    step = _median([r.step for r in rounds])
    note = f"median of {len(rounds)}; the peer saves synchronously and reads nothing back"
    return [
        _wall(f"{size}: training waits for a save", blocked, peer, goal, note),
        _user(f"{size}: ... user time of the rank", blocked, peer, goal, note),
        Row(
            name=f"{size}: until it counts, training going on",
            ours=statistics.median(r.written_seconds for r in rounds),
            peer=peer.wall,
            unit="s",
            note="read back from the disk, compared with memory",
        ),
        _wall(f"{size}: a save that is waited for", waited, peer, None, "read back as well"),
        _wall("a step while a save is written", meanwhile, step, None, "the other: alone"),
        _user("... user time", meanwhile, step, None, ""),
        _wall(f"{size}: load", load, peer_load, None, "all files compared with their hashes"),
        _user(f"{size}: ... user time", load, peer_load, None, ""),
        Row(
            name="verify, from the page cache",
            ours=num_bytes / 1e9 / statistics.median(r.hash_seconds for r in rounds),
            peer=None,
            unit="GB/s",
            is_rate=True,
            note="two files, a thread each",
        ),
    ]


def _wall(name: str, ours: Cost, peer: Cost, goal: Goal | None, note: str) -> Row:
    return Row(name=name, ours=ours.wall, peer=peer.wall, unit="s", goal=goal, note=note)


def _user(name: str, ours: Cost, peer: Cost, goal: Goal | None, note: str) -> Row:
    return Row(
        name=name,
        ours=ours.user,
        peer=peer.user,
        unit="s",
        goal=goal,
        note=note,
        ours_system_seconds=ours.system,
        peer_system_seconds=peer.system,
    )


def _cost(action: Callable[[], object]) -> Cost:
    """Of this process, and of children that it has waited for."""
    before = _now()
    action()
    after = _now()
    return Cost(after.user - before.user, after.system - before.system, after.wall - before.wall)


def _now() -> Cost:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usage = [resource.getrusage(kind) for kind in kinds]
    return Cost(
        sum(one.ru_utime for one in usage),
        sum(one.ru_stime for one in usage),
        time.perf_counter(),
    )


def _median(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.user for cost in costs),
        statistics.median(cost.system for cost in costs),
        statistics.median(cost.wall for cost in costs),
    )
