"""What is seen of a run while it trains: lines of metrics, on the console and in trackers."""

import contextlib
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.files import append_jsonl, read_jsonl, rewrite_jsonl
from megatron_codemix.mcore.step import StepResult
from megatron_codemix.obs.metrics import MetricWriter
from megatron_codemix.obs.progress import Advance, progress_bar
from megatron_codemix.obs.trackers import TensorBoard, Tracker, WeightsAndBiases
from megatron_codemix.runs import RunDirectory, step_problem
from megatron_codemix.train.phase import Phase
from megatron_codemix.train.validation import Validation
from megatron_codemix.units import format_bytes, format_count, format_duration

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FinishedStep:
    """A step that was made, and how long it took."""

    number: int
    """From 1."""
    result: StepResult
    learning_rate: float
    seconds: float
    waited_seconds: float
    """Of these, for the batch."""


@dataclass
class _Interval:
    """Steps since the last line."""

    seconds: list[float] = field(default_factory=list)
    waited_seconds: float = 0.0
    tokens: int = 0

    def add(self, step: FinishedStep, tokens: int) -> None:
        self.seconds.append(step.seconds)
        self.waited_seconds += step.waited_seconds
        self.tokens += tokens

    @property
    def mean_seconds(self) -> float:
        return sum(self.seconds) / len(self.seconds)


class Reporter:
    """Writes `metrics.jsonl`, trackers and the console; one rank of a run enters one."""

    def __init__(self, phase: Phase, backend: Backend, sources: Sequence[str]) -> None:
        config = phase.config
        self.plan, self.sources, self.backend = phase.plan, sources, backend
        self.every_steps = config.logging.every_steps
        self.metrics = MetricWriter(phase.run.metrics, _trackers(phase.run, config, phase.identity))
        self.validation = phase.run.validation
        self.validation_documents = phase.run.validation_documents
        self._flops_per_token = training_flops_per_token(config.model, config.data.sequence_length)
        peak = backend.peak_flops(config.precision.model_format)
        self._peak_flops = None if peak is None else peak * phase.plan.world_size
        self._has_z_loss = config.model.z_loss is not None
        self._interval = _Interval()
        self._bar = contextlib.ExitStack()
        self._advance: Advance | None = None

    def __enter__(self) -> "Reporter":
        if sys.stderr.isatty():  # elsewhere the lines themselves are the progress
            bar = progress_bar("training", self.plan.num_steps, "steps")
            self._advance = self._bar.enter_context(bar)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.close()
        self.metrics.close()

    def go_on_after(self, step: int) -> None:
        """Drops what an attempt that got further has written of later steps."""
        self.metrics.truncate_after(step)
        if self.validation.exists():
            lines = read_jsonl(self.validation, step_problem)
            rewrite_jsonl(self.validation, [line for line in lines if line["step"] <= step])

    def start_at(self, step: int) -> None:
        """So many steps were made before."""
        if self._advance is not None and step:
            self._advance(step)

    def add(self, step: FinishedStep) -> None:
        """Reports the step if it is due: at the interval, and the last one."""
        batch = self.plan.batches.sequences(step.number - 1)
        self._interval.add(step, batch * self.plan.batches.sequence_length)
        if self._advance is not None:
            self._advance(1)
        if step.number % self.every_steps and step.number != self.plan.num_steps:
            return
        line = self._line(step, self._interval)
        self.metrics.write(line)
        log.info("%s", self._words(step, line))
        self._interval = _Interval()

    def add_validation(self, found: Validation) -> None:
        """Reports held-out losses; of the last step, of each document too."""
        line = found.line
        if line["step"] == self.plan.num_steps:
            rewrite_jsonl(self.validation_documents, found.documents)
        append_jsonl(self.validation, line)
        scores = {name: source["bits_per_byte"] for name, source in line["sources"].items()}
        shown = {f"validation/{name}_bits_per_byte": score for name, score in scores.items()}
        self.metrics.show({"step": line["step"], **shown})
        words = "  ".join(f"{name} {score:.4f}" for name, score in scores.items())
        log.info("step %d  held out, bits per byte: %s", line["step"], words)

    def _line(self, step: FinishedStep, interval: _Interval) -> dict[str, Any]:
        """Losses, rate and norm are the step's; times are means over the interval."""
        result = step.result
        tokens_per_second = interval.tokens / sum(interval.seconds)
        line: dict[str, Any] = {
            "step": step.number,
            "tokens": self.plan.batches.tokens(step.number),
            "loss/train_nats": result.loss_nats,
        }
        if len(self.plan.batches.stages) > 1:
            line["batch/sequences"] = self.plan.batches.sequences(step.number - 1)
        for number, name in enumerate(self.sources):
            if result.source_tokens[number]:
                mean = float(result.source_nats[number] / result.source_tokens[number])
                line[f"loss/source/{name}_nats"] = mean
        if self._has_z_loss:
            line["loss/z_nats"] = result.z_loss_nats
        line["optimizer/lr"] = step.learning_rate
        line["optimizer/grad_norm"] = result.grad_norm
        line["throughput/tokens_per_second"] = tokens_per_second
        if self._peak_flops is not None:
            flops = tokens_per_second * self._flops_per_token
            line["throughput/model_flops_utilisation"] = flops / self._peak_flops
        line["throughput/peak_memory_bytes"] = self.backend.peak_memory_bytes()
        line["time/step_seconds"] = interval.mean_seconds
        line["time/data_wait_seconds"] = interval.waited_seconds / len(interval.seconds)
        return line

    def _words(self, step: FinishedStep, line: dict[str, Any]) -> str:
        by_source = " ".join(
            f"{name} {line[key]:.3f}"
            for name in self.sources
            if (key := f"loss/source/{name}_nats") in line
        )
        utilisation = line.get("throughput/model_flops_utilisation")
        left = (self.plan.train_tokens - line["tokens"]) / line["throughput/tokens_per_second"]
        parts = [
            f"step {step.number}/{self.plan.num_steps}",
            f"loss {step.result.loss_nats:.4f}" + (f" ({by_source})" if by_source else ""),
            *([f"batch {line['batch/sequences']}"] if "batch/sequences" in line else []),
            f"lr {step.learning_rate:.3e}",
            f"grad norm {step.result.grad_norm:.3f}",
            f"{format_count(round(line['throughput/tokens_per_second']))} tokens/s",
            *([] if utilisation is None else [f"MFU {utilisation:.0%}"]),
            format_bytes(line["throughput/peak_memory_bytes"]),
            f"{format_duration(left)} left",
        ]
        return "  ".join(parts)


def _trackers(run: RunDirectory, config: RunConfig, identity: str) -> list[Tracker]:
    trackers: list[Tracker] = []
    if config.logging.tensorboard:
        trackers.append(TensorBoard(run.path / "tensorboard"))
    asked = config.logging.wandb
    if asked is not None:
        trackers.append(
            WeightsAndBiases(
                project=asked.project,
                entity=asked.entity,
                name=asked.name or "/".join(run.path.absolute().parts[-2:]),
                identity=identity,
                mode=asked.mode,
                folder=run.path / "wandb",
                config=config.model_dump(mode="json"),
            )
        )
    return trackers
