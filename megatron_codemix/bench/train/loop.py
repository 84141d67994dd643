"""The trainer's loop (data, losses by source, ledger, checks, metrics, log, status) beside bare
steps of megatron-core with the same model and batches: by turns, in one process."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from megatron.core.pipeline_parallel import get_forward_backward_func

from megatron_codemix.backend.devices import Backend
from megatron_codemix.bench.measure import Cost
from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.bench.small_data import SOURCES, write_small_data
from megatron_codemix.bench.train.setting import (
    LEARNING_RATE,
    SEED,
    SEQUENCE,
    SEQUENCES,
    UNCOUNTED_STEPS,
    Setting,
    median,
    now,
    one_rank,
    since,
)
from megatron_codemix.data.batches import Batch
from megatron_codemix.files import read_jsonl
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.model import build_model, wrap_data_parallel
from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.train.loading import StepLoader
from megatron_codemix.train.phase import Phase, prepare_phase
from megatron_codemix.train.trainer import Trainer

_MAX_TIMES = 1.02
"""The bare step's: the goal."""


def loops(setting: Setting) -> Iterator[Row]:
    """A step of the loop, in fp32."""
    phase = _prepare(setting)
    log = setting.folder / "rank0.log"
    with one_rank(setting.folder) as (parallel, backend), _logging_to(log):
        trainer = _ByTurns(phase, parallel, backend)
        trainer.run()
    ours, peer = median(trainer.costs), median(trainer.peer_costs)
    counted = len(trainer.costs)
    losses = [line["loss/train_nats"] for line in read_jsonl(phase.run.metrics)]
    yield Row(
        name="fp32: a step of the loop",
        ours=ours.user,
        peer=peer.user,
        unit="ms",
        goal=Goal(ratio=round(1 / _MAX_TIMES, 3)),
        note=f"user time, median of {counted}; at most {_MAX_TIMES:g} of the bare step's",
        ours_system_seconds=ours.system / 1e3,
        peer_system_seconds=peer.system / 1e3,
    )
    yield Row(
        name="fp32: a step of the loop, by the clock", ours=ours.wall, peer=peer.wall, unit="ms"
    )
    pairs = zip(losses, trainer.bare.losses, strict=True)
    difference = max(abs(one - other) for one, other in pairs)
    yield Row(
        name="fp32: losses of loop and bare steps differ by",
        ours=difference * 1e6,
        peer=None,
        unit="1e-6 nats",
        goal=Goal(at_most=0.001),
        note=f"over {len(losses)} steps",
    )


class _ByTurns(Trainer):
    """The trainer, with a bare step before each of its own."""

    def __init__(self, phase: Phase, parallel: ModelParallel, backend: Backend) -> None:
        super().__init__(phase, parallel, backend)
        self.bare = _BareSteps(phase, parallel, backend)
        self.costs: list[Cost] = []
        self.peer_costs: list[Cost] = []
        self._since: Cost | None = None

    def _one_step(self, loader: StepLoader) -> None:
        """What the loop has used since the last bare step is its own step, with all around it."""
        if self._since is not None and self.step > UNCOUNTED_STEPS:
            self.costs.append(since(self._since))
        started = now()
        self.bare.step(self.step)
        if self.step >= UNCOUNTED_STEPS:
            self.peer_costs.append(since(started))
        self._since = now()
        super()._one_step(loader)


class _BareSteps:
    """megatron-core's schedule and optimizer over batches that lie ready, and the mean loss."""

    def __init__(self, phase: Phase, parallel: ModelParallel, backend: Backend) -> None:
        config, plan = phase.config, phase.plan
        chunks = build_model(
            config.model,
            config.layout,
            config.precision,
            sequence_length=SEQUENCE,
            seed=SEED,
            parallel=parallel,
            backend=backend,
        )
        self.model = wrap_data_parallel(chunks, config.layout, parallel)
        self.optimizer = build_optimizer(
            config.optimizer, config.layout, config.precision, self.model, parallel
        )
        dataset = phase.data.dataset()
        self.batches = [
            _on_device(dataset.batch(range(step * SEQUENCES, (step + 1) * SEQUENCES)), backend)
            for step in range(plan.num_steps)
        ]
        self.decay = config.optimizer.weight_decay
        self.losses: list[float] = []

    def step(self, number: int) -> None:
        set_step_sizes(self.optimizer, LEARNING_RATE, self.decay)
        for chunk in self.model:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        reports = get_forward_backward_func()(
            forward_step_func=_forward,
            data_iterator=iter([self.batches[number]]),
            model=self.model[0],
            num_microbatches=1,
            seq_length=SEQUENCE,
            micro_batch_size=SEQUENCES,
            forward_only=False,
        )
        self.optimizer.step()
        self.losses.append(float(reports[0]))


_Tensors = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def _on_device(batch: Batch, backend: Backend) -> _Tensors:
    tokens, positions, labels = (
        torch.from_numpy(part).to(backend.device)
        for part in (batch.tokens, batch.position_ids, batch.labels)
    )
    return tokens, positions, labels


def _forward(batches: Iterator[_Tensors], model: Any) -> tuple[torch.Tensor, Any]:
    tokens, positions, labels = next(batches)
    return model(tokens, positions, None, labels=labels), _mean_loss


def _mean_loss(losses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    count = torch.tensor(losses.numel(), dtype=torch.int, device=losses.device)
    return losses.sum(), count, losses.detach().double().mean()


@contextlib.contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """As a rank logs, its lines for the screen written to nowhere."""
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
        setup_logging(0, path)
        try:
            yield
        finally:
            setup_logging(1, None)


def _prepare(setting: Setting) -> Phase:
    model = setting.model
    data = write_small_data(setting.folder, model.vocabulary_size)
    # One step more: what follows the last of them is a checkpoint.
    num_steps = UNCOUNTED_STEPS + setting.num_steps + 1
    tokens = num_steps * SEQUENCES * SEQUENCE
    config = {
        "model": model.model_dump(mode="json", exclude_none=True),
        "data": {
            "sequence_length": SEQUENCE,
            "sources": {name: {"train": str(data / f"{name}.train")} for name in SOURCES},
            "mixture": {"kind": "constant", "weights": dict.fromkeys(SOURCES, 0.5)},
        },
        "tokenizer": {"path": str(data / "tokenizer.json")},
        "optimizer": {"weight_decay": 0.1},
        "schedule": {"kind": "constant", "lr": LEARNING_RATE, "warmup_tokens": 0},
        "train": {"train_tokens": tokens, "global_batch_sequences": SEQUENCES, "seed": SEED},
        "layout": {"microbatch_sequences": SEQUENCES},
        "precision": {"kind": "fp32"},
        "checkpoint": {"save_every_tokens": tokens},
    }
    path = setting.folder / "loop.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return prepare_phase(path, [], setting.folder / "run", 1)
