"""Constants from measured steps."""

import math

import pytest

from megatron_codemix.config.schema import Fp8Config, LayoutConfig, ModelConfig, PrecisionConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import make_cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time import Constants, estimate_time, load_constants
from megatron_codemix.planner.time.fit import (
    Measurement,
    changed,
    fit_constants,
    relative_errors,
)

CLUSTER = make_cluster("h100")
START = load_constants()


def measured(truth: Constants) -> list[Measurement]:
    """Steps as the model has them with other constants."""
    found = []
    for hidden, layers in ((1024, 16), (2048, 24), (4096, 32), (8192, 32)):
        for length, gpus in ((2048, 8), (8192, 64), (4096, 512)):
            for precision in (PrecisionConfig(kind="bf16"), Fp8Config(recipe="tensorwise")):
                job = Job(
                    model=ModelConfig(
                        num_layers=layers,
                        hidden_size=hidden,
                        ffn_hidden_size=4 * hidden,
                        num_attention_heads=hidden // 128,
                        vocabulary_size=65536,
                        activation="gelu",
                        tie_embeddings=False,
                    ),
                    sequence_length=length,
                    global_batch_sequences=1024,
                    layout=LayoutConfig(overlap_grad_reduce=True, overlap_param_gather=True),
                    precision=precision,
                    world_size=gpus,
                )
                seconds = estimate_time(job, CLUSTER, truth).step_seconds
                found.append(Measurement(job=job, cluster=CLUSTER, step_seconds=seconds))
    return found


def test_constants_behind_measured_steps_are_found() -> None:
    truth = START.with_(
        gemm_efficiency=0.9 * START.gemm_efficiency,
        attention_efficiency=0.8 * START.attention_efficiency,
        jitter=1.5 * START.jitter,
    )
    measurements = measured(truth)
    before = relative_errors(measurements, START)
    fitted = fit_constants(measurements, START)
    after = relative_errors(measurements, fitted)
    assert max(map(abs, before)) > 0.1
    assert max(map(abs, after)) < 0.01
    assert fitted.gemm_efficiency == pytest.approx(truth.gemm_efficiency, rel=0.02)
    assert fitted.attention_efficiency == pytest.approx(truth.attention_efficiency, rel=0.05)


def test_right_constants_stay_as_they_are() -> None:
    fitted = fit_constants(measured(START), START)
    assert not changed(START, fitted)


def test_one_run_moves_what_it_tells_and_nothing_else() -> None:
    [first, *_] = measured(START)
    slow = Measurement(job=first.job, cluster=CLUSTER, step_seconds=1.1 * first.step_seconds)
    moved = changed(START, fit_constants([slow], START))
    assert "gemm_efficiency" in moved
    # Eight GPUs in bf16 without tensor parallelism: nothing of FP8, the network or many nodes.
    assert not {"fp8_efficiency", "hop_factor", "jitter", "tensor_exposed_fraction"} & set(moved)
    [error] = relative_errors([slow], fit_constants([slow], START))
    assert abs(error) < 0.05


def test_constants_do_not_depend_on_the_order_of_the_runs() -> None:
    measurements = measured(START.with_(gemm_efficiency=0.6))
    forward, backward = (
        fit_constants(items, START).as_dict() for items in (measurements, measurements[::-1])
    )
    assert forward == pytest.approx(backward, rel=1e-4)


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_steps_that_cannot_be_are_refused(seconds: float) -> None:
    [first, *_] = measured(START)
    wrong = Measurement(job=first.job, cluster=CLUSTER, step_seconds=seconds)
    with pytest.raises(ConfigError, match="cannot take"):
        fit_constants([wrong], START)
    with pytest.raises(ConfigError, match="no measured step"):
        fit_constants([], START)
