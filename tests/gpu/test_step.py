"""Steps of a small model on the GPU beside the same on the CPU."""

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from megatron_codemix.config.schema import LayoutConfig, MuonConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import (
    MODEL,
    Job,
    build_with_optimizer,
    train_on_rank,
    train_steps,
)

# megatron-core warns of its own defaults, in this process here.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

TOLERANCE = {"fp32": 1e-4, "bf16": 0.02}
"""On the loss, nats. bf16 keeps 8 bits, and two devices add in another order."""
NORM_TOLERANCE = {"fp32": 1e-3, "bf16": 0.05}
"""On the gradient norm, relative."""

LAYOUT = LayoutConfig(microbatch_sequences=4)
CASES = {
    "plain": Job(layout=LAYOUT),
    "bf16": Job(layout=LAYOUT, precision="bf16"),
    "distributed optimizer": Job(
        layout=LAYOUT.model_copy(
            update={"distributed_optimizer": True, "overlap_grad_reduce": True}
        )
    ),
    "recomputed": Job(
        layout=LAYOUT.model_copy(
            update={"recompute": "full", "recompute_method": "uniform", "recompute_layers": 1}
        )
    ),
    "parallel block": Job(layout=LAYOUT, model=MODEL.model_copy(update={"block": "parallel"})),
    "layernorm, gelu, biases": Job(
        layout=LAYOUT,
        model=MODEL.model_copy(
            update={"normalization": "layernorm", "activation": "gelu", "add_bias": True}
        ),
    ),
    "muon": Job(
        layout=LAYOUT.model_copy(update={"distributed_optimizer": False}),
        optimizer=MuonConfig(weight_decay=0.1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradient_norms_are_those_of_the_cpu(name: str, alone: Any) -> None:
    job = replace(CASES[name], num_steps=5)
    [expected] = run_distributed(train_on_rank, 1, job)
    found = train_on_rank(None, replace(job, device="cuda"))
    assert found.loss == pytest.approx(expected.loss, abs=TOLERANCE[job.precision], rel=0)
    assert found.grad_norm == pytest.approx(
        expected.grad_norm, rel=NORM_TOLERANCE[job.precision], abs=0
    )


def test_a_checkpoint_of_the_gpu_goes_on_there_and_on_the_cpu(alone: Any, tmp_path: Any) -> None:
    from megatron_codemix.mcore.groups import destroy_model_parallel

    job = Job(layout=LAYOUT, num_steps=6, device="cuda")
    whole = train_on_rank(None, job)
    destroy_model_parallel()
    train_on_rank(None, replace(job, num_steps=3, save=tmp_path / "saved"))
    destroy_model_parallel()
    rest = replace(job, first_step=3, num_steps=3, load=tmp_path / "saved")
    on_gpu = train_on_rank(None, rest)
    [on_cpu] = run_distributed(train_on_rank, 1, replace(rest, device="cpu"))
    for found in (on_gpu, on_cpu):
        assert found.loss == pytest.approx(whole.loss[3:], abs=TOLERANCE["fp32"], rel=0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_checkpoint_that_the_gpu_copies_by_itself_is_the_ordinary_one(
    precision: str, alone: Any, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Byte by byte, though training goes on at once; the second time without a look at it."""
    from megatron_codemix.mcore.checkpoint import begin_save
    from megatron_codemix.mcore.checkpoint_writer import CheckpointProcess

    job = Job(layout=LAYOUT, precision=precision, device="cuda")
    ordinary, by_itself = CheckpointProcess(), CheckpointProcess(alone)
    with contextlib.closing(ordinary), contextlib.closing(by_itself):
        model, optimizer, parallel, backend = build_with_optimizer(job)
        for step in range(3):
            train_steps(job, model, optimizer, parallel, backend, range(step, step + 1))
            saves = [
                begin_save(tmp_path / f"{name}{step}", model, optimizer, {}, parallel, process)
                for name, process in (("ordinary", ordinary), ("by_itself", by_itself))
            ]
            train_steps(job, model, optimizer, parallel, backend, range(step + 1, step + 2))
            for save in saves:
                save.finish()
            first, second = (tmp_path / f"{name}{step}" for name in ("ordinary", "by_itself"))
            [expected] = first.glob("*.distcp")
            assert (second / expected.name).read_bytes() == expected.read_bytes(), step
    told = [one for one in caplog.records if one.name.startswith("megatron_codemix")]
    assert not told, "it is registered, and has been trusted"
