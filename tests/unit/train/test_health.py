"""Which losses are thrown out."""

import math
import statistics

import numpy as np
import pytest

from megatron_codemix.config.schema import SpikeConfig
from megatron_codemix.errors import RunError
from megatron_codemix.mcore.step import StepResult
from megatron_codemix.runs import RunDirectory
from megatron_codemix.train.health import LossGuard, SkipStepError, record_skip


def result(loss: float, norm: float = 1.0) -> StepResult:
    return StepResult(
        source_nats=np.array([loss * 10.0]),
        source_tokens=np.array([10]),
        source_samples=np.array([1]),
        grad_norm=norm,
    )


@pytest.mark.parametrize(
    ("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (2.0, math.nan), (2.0, math.inf)]
)
def test_what_is_not_finite_is_skipped_from_the_first_step_on(loss: float, norm: float) -> None:
    with pytest.raises(SkipStepError, match="step 1"):
        LossGuard(None).judge(1, result(loss, norm))


def test_a_spike_is_so_many_deviations_above_a_full_window() -> None:
    losses = np.random.default_rng(0).normal(3.0, 0.1, 8).tolist()
    limit = statistics.fmean(losses) + 4 * statistics.pstdev(losses)
    for loss, is_spike in ((limit * 1.001, True), (limit * 0.999, False)):
        guard = LossGuard(SpikeConfig(deviations=4, window_steps=8))
        guard.judge(1, result(50.0))  # the window is not full: nothing is a spike
        for step, one in enumerate(losses, start=2):
            guard.judge(step, result(one))
        if is_spike:
            with pytest.raises(SkipStepError, match="above the limit"):
                guard.judge(10, result(loss))
            assert guard.losses == pytest.approx(losses)  # it does not move the limit
        else:
            guard.judge(10, result(loss))


def test_a_restored_guard_judges_alike() -> None:
    spike = SpikeConfig(deviations=2, window_steps=4)
    first = LossGuard(spike)
    for step, loss in enumerate([3.0, 2.9, 3.1, 3.0, 2.95], start=1):
        first.judge(step, result(loss))
    second = LossGuard(spike)
    second.restore(first.losses)
    for guard in (first, second):
        with pytest.raises(SkipStepError):
            guard.judge(6, result(3.3))


def test_too_many_skips_end_the_run(tmp_path) -> None:
    run = RunDirectory(tmp_path)
    for step in (3, 8):
        record_skip(run, SkipStepError(step, "spike", result(math.inf)), max_skips=2)
    assert run.skipped_steps() == {3, 8}
    with pytest.raises(RunError, match="diverged"):
        record_skip(run, SkipStepError(9, "spike", result(9.0)), max_skips=2)
    run.skipped.write_text('{"step": "x"}\n')
    with pytest.raises(RunError, match="not a readable list"):
        run.skipped_steps()
