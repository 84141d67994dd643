"""Bare steps beside the trainer's: the same model over batches that lie ready on the device, with
nothing of the loop around them."""

from collections.abc import Iterator
from typing import Any

import torch

from megatron_codemix.backend.devices import Backend
from megatron_codemix.bench.train.setting import LEARNING_RATE, SEED
from megatron_codemix.data.batches import Batch
from megatron_codemix.mcore.build import build_trained
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.microbatch_graph import MicrobatchGraph
from megatron_codemix.mcore.optimizer import set_step_sizes
from megatron_codemix.mcore.step import launch_step
from megatron_codemix.train.in_flight import StepsInFlight
from megatron_codemix.train.phase import Phase
from megatron_codemix.train.reporting import FinishedStep


def bare_steps(
    phase: Phase, parallel: ModelParallel, backend: Backend, num_steps: int
) -> "BareSteps":
    """megatron-core's own, which wait for the device twice a step, where a step's result is waited
    for anyhow; on a GPU, where the trainer's are not waited for, those that it launches."""
    kind = LaunchedSteps if backend.steps_ahead else BareSteps
    return kind(phase, parallel, backend, num_steps)


class BareSteps:
    """megatron-core's schedule and optimizer, and the mean loss."""

    recorded: MicrobatchGraph | None = None

    def __init__(
        self, phase: Phase, parallel: ModelParallel, backend: Backend, num_steps: int
    ) -> None:
        """num_steps: for which there are batches, those of the phase."""
        # Not above: megatron_codemix.mcore, which is imported there, must be before it.
        from megatron.core.pipeline_parallel import get_forward_backward_func

        self.choose_schedule = get_forward_backward_func
        config = phase.config
        self.sequence = config.data.sequence_length
        self.model, self.optimizer = build_trained(
            config.model,
            config.optimizer,
            config.layout,
            config.precision,
            sequence_length=self.sequence,
            seed=SEED,
            parallel=parallel,
            backend=backend,
            asked=config.backend,
        )
        dataset = phase.data.dataset()
        size = self.sequences = config.train.global_batch_sequences
        self.batches = [
            _on_device(dataset.batch(range(step * size, (step + 1) * size)), backend)
            for step in range(num_steps)
        ]
        self.decay = config.optimizer.weight_decay
        self.losses: list[float] = []
        """Of the steps whose results were read."""

    def step(self, number: int) -> None:
        """Over the batch of this number."""
        set_step_sizes(self.optimizer, LEARNING_RATE, self.decay)
        for chunk in self.model:
            chunk.zero_grad_buffer()
        self.optimizer.zero_grad()
        reports = self.choose_schedule()(
            forward_step_func=_forward,
            data_iterator=iter([self.batches[number]]),
            model=self.model[0],
            num_microbatches=1,
            seq_length=self.sequence,
            micro_batch_size=self.sequences,
            forward_only=False,
        )
        self.optimizer.step()
        self.losses.append(float(reports[0]))

    def finish(self) -> None:
        """Reads what was not read yet: nothing."""


class LaunchedSteps(BareSteps):
    """Steps as the trainer asks a GPU for them, from a CUDA graph where its own are. Nobody waits
    for the device; a result is read when the next step was launched."""

    def __init__(
        self, phase: Phase, parallel: ModelParallel, backend: Backend, num_steps: int
    ) -> None:
        super().__init__(phase, parallel, backend, num_steps)
        self.parallel, self.backend = parallel, backend
        self.num_sources = len(phase.data.sources)
        self.in_flight = StepsInFlight(backend.steps_ahead, self._take)
        if phase.config.backend.cuda_graphs != "none":
            self.recorded = MicrobatchGraph(
                self.model, num_sources=self.num_sources, parallel=parallel, backend=backend
            )

    def step(self, number: int) -> None:
        self.in_flight.begin()
        set_step_sizes(self.optimizer, LEARNING_RATE, self.decay)
        launched = launch_step(
            self.model,
            self.optimizer,
            [self.batches[number]],
            num_sources=self.num_sources,
            parallel=self.parallel,
            backend=self.backend,
            passes=self.recorded,
        )
        self.in_flight.add(launched, number=number, learning_rate=LEARNING_RATE, waited_seconds=0.0)

    def finish(self) -> None:
        """Reads the last step's."""
        self.in_flight.finish()

    def _take(self, step: FinishedStep) -> None:
        self.losses.append(step.result.loss_nats)


def _on_device(batch: Batch, backend: Backend) -> Batch:
    """With tensors in the places of the arrays, which a step reads where they lie."""
    arrays: dict[str, Any] = {
        name: None if array is None else torch.from_numpy(array).to(backend.device)
        for name, array in vars(batch).items()
    }
    return Batch(**arrays)


def _forward(batches: Iterator[Any], model: Any) -> tuple[torch.Tensor, Any]:
    batch = next(batches)
    return model(batch.tokens, batch.position_ids, None, labels=batch.labels), _mean_loss


def _mean_loss(losses: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    count = torch.tensor(losses.numel(), dtype=torch.int, device=losses.device)
    return losses.sum(), count, losses.detach().double().mean()
