"""Steps that must not count: losses that are no numbers, or far from those before them.

Every rank has the same loss and gradient norm, so every rank comes to the same verdict without a
word. A step that is thrown out is written to `skipped.jsonl`; the run goes back to its last
checkpoint and passes over that batch, whose samples count as drawn and not as trained on.
"""

import math
from collections import deque
from collections.abc import Sequence
from typing import Any

from megatron_codemix.config.schema import SpikeConfig
from megatron_codemix.errors import RunError
from megatron_codemix.files import append_jsonl
from megatron_codemix.mcore.step import StepResult
from megatron_codemix.runs import RunDirectory


class SkipStepError(Exception):
    """The step is to be skipped: train again from the last checkpoint, without its batch."""

    def __init__(self, step: int, reason: str, result: StepResult) -> None:
        self.step, self.reason, self.result = step, reason, result
        super().__init__(f"step {step}: {reason}")


class LossGuard:
    """Judges each step by the losses of the steps before it."""

    def __init__(self, spike: SpikeConfig | None) -> None:
        self.spike = spike
        self._losses: deque[float] = deque(maxlen=spike.window_steps if spike else 0)

    @property
    def losses(self) -> list[float]:
        """Of the window, for the checkpoint: a resumed run must judge alike."""
        return list(self._losses)

    def restore(self, losses: Sequence[float]) -> None:
        """Goes on from what `losses` gave."""
        self._losses.clear()
        self._losses.extend(losses)

    def judge(self, step: int, result: StepResult) -> None:
        """Raises SkipStepError for a step that must not count, else remembers its loss."""
        loss, norm = result.loss_nats, result.grad_norm
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise SkipStepError(step, f"loss {loss}, gradient norm {norm}", result)
        limit = self._limit()
        if limit is not None and loss > limit:
            raise SkipStepError(step, f"loss {loss:.4f} above the limit of {limit:.4f}", result)
        self._losses.append(loss)

    def _limit(self) -> float | None:
        """Mean and deviation of the window; None until it is full."""
        if self.spike is None or len(self._losses) < self.spike.window_steps:
            return None
        count = len(self._losses)
        mean = math.fsum(self._losses) / count
        variance = math.fsum((loss - mean) ** 2 for loss in self._losses) / count
        return mean + self.spike.deviations * math.sqrt(variance)


def record_skip(run: RunDirectory, skip: SkipStepError, *, max_skips: int) -> None:
    """Notes the step. Raises RunError if that is one too many. One rank calls it."""
    known = run.skipped_steps()
    if len(known) >= max_skips:
        raise RunError(
            f"{run.path}: {skip}: training has diverged ({len(known)} steps were skipped "
            "already, survival.max_skips allows no more); lower the learning rate or lengthen the "
            "warmup"
        )
    line: dict[str, Any] = {
        "step": skip.step,
        "reason": skip.reason,
        "loss_nats": _number(skip.result.loss_nats),
        "grad_norm": _number(skip.result.grad_norm),
    }
    append_jsonl(run.skipped, line)


def _number(value: float) -> float | str:
    """JSON has no infinities and no NaN."""
    return value if math.isfinite(value) else str(value)
