"""What is seen of a run while it trains: lines of metrics and on the console."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from megatron_codemix.config.plan import RunPlan
from megatron_codemix.mcore.step import StepResult
from megatron_codemix.obs.metrics import MetricWriter
from megatron_codemix.runs import RunDirectory
from megatron_codemix.units import format_count, format_duration

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


class Reporter:
    """Writes `metrics.jsonl` and the console; one rank of a run has one."""

    def __init__(
        self, run: RunDirectory, plan: RunPlan, every_steps: int, sources: Sequence[str]
    ) -> None:
        self.plan, self.every_steps, self.sources = plan, every_steps, sources
        self.metrics = MetricWriter(run.metrics)

    def go_on_after(self, step: int) -> None:
        """Drops what an attempt that got further has written of later steps."""
        self.metrics.truncate_after(step)

    def add(self, step: FinishedStep) -> None:
        """Reports the step if it is due: at the interval, and the last one."""
        if step.number % self.every_steps and step.number != self.plan.num_steps:
            return
        tokens_per_second = self.plan.tokens_per_step / step.seconds
        self.metrics.write(self._line(step, tokens_per_second))
        log.info(
            "step %d/%d  loss %.4f  lr %.3e  grad norm %.3f  %s tokens/s  %s left",
            step.number,
            self.plan.num_steps,
            step.result.loss_nats,
            step.learning_rate,
            step.result.grad_norm,
            format_count(round(tokens_per_second)),
            format_duration((self.plan.num_steps - step.number) * step.seconds),
        )

    def _line(self, step: FinishedStep, tokens_per_second: float) -> dict[str, Any]:
        result = step.result
        line: dict[str, Any] = {
            "step": step.number,
            "tokens": step.number * self.plan.tokens_per_step,
            "loss/train_nats": result.loss_nats,
        }
        for number, name in enumerate(self.sources):
            if result.source_tokens[number]:
                mean = float(result.source_nats[number] / result.source_tokens[number])
                line[f"loss/source/{name}_nats"] = mean
        line["optimizer/lr"] = step.learning_rate
        line["optimizer/grad_norm"] = result.grad_norm
        line["throughput/tokens_per_second"] = tokens_per_second
        line["time/step_seconds"] = step.seconds
        line["time/data_wait_seconds"] = step.waited_seconds
        return line
