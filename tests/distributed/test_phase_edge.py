"""What a new phase takes over: weights alone, or the optimizer's moments and step count too."""

from pathlib import Path

import pytest

from megatron_codemix.config.schema import LayoutConfig, PrecisionConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import OPTIMIZER, Job, build_on_rank, train_on_rank

NUM_STEPS = 3


def state_after_load(context: RankContext, job: Job, with_state: bool) -> dict[str, object]:
    """Of one process: flat master weights and moments, step counts, and the weights themselves."""
    import torch

    from megatron_codemix.mcore.checkpoint import load_checkpoint
    from megatron_codemix.mcore.model import gpt_of, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer

    chunks, parallel, _ = build_on_rank(job)
    model = wrap_data_parallel(chunks, job.layout, parallel)
    precision = PrecisionConfig(kind=job.precision)
    optimizer = build_optimizer(OPTIMIZER, job.layout, precision, model, parallel)
    load_checkpoint(job.load, model, optimizer, with_state=with_state)
    inner = optimizer.chained_optimizers[0].optimizer
    moments = [state for state in inner.state.values() if state]
    masters = [p for group in inner.param_groups for p in group["params"]]
    return {
        "weights": torch.cat([p.detach().float().flatten() for p in gpt_of(model[0]).parameters()]),
        "masters": float(sum(p.double().pow(2).sum() for p in masters)),
        "moments": sum(float(state["exp_avg_sq"].double().sum()) for state in moments),
        "steps": {int(group.get("step", 0)) for group in inner.param_groups if group["params"]},
    }


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_weights_and_optimizer_state_are_taken_over_as_asked(
    precision: str, tmp_path: Path
) -> None:
    folder = tmp_path / "parent"
    layout = LayoutConfig(microbatch_sequences=4)
    parent = Job(layout=layout, precision=precision, num_steps=NUM_STEPS, save=folder)
    run_distributed(train_on_rank, 1, parent)
    child = Job(layout=layout, precision=precision, load=folder)
    weights_only = run_distributed(state_after_load, 1, child, False)[0]
    everything = run_distributed(state_after_load, 1, child, True)[0]
    assert weights_only["weights"].equal(everything["weights"])
    assert everything["steps"] == {NUM_STEPS}
    assert everything["moments"] > 0
    assert weights_only["steps"] == {0}
    assert weights_only["moments"] == 0
    # the master weights are those of the model: equal in fp32, its rounded values in bf16
    squares = float(weights_only["weights"].double().pow(2).sum())
    assert weights_only["masters"] == pytest.approx(squares, rel=1e-9)
    assert everything["masters"] == pytest.approx(
        squares, rel=1e-9 if precision == "fp32" else 1e-2
    )
