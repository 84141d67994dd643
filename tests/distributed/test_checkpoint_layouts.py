"""A checkpoint of any layout is loaded into any other, weights and optimizer state."""

from pathlib import Path

import pytest

from megatron_codemix.config.schema import LayoutConfig, MoeConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, train_on_rank

STEPS = 2
TOLERANCE = 1e-5
"""Absolute, fp32: the tolerance of test_layouts.py."""

OVERLAP = {"overlap_grad_reduce": True, "overlap_param_gather": True, "bucket_parameters": 20_000}

DENSE = [
    (1, LayoutConfig(microbatch_sequences=4)),
    (2, LayoutConfig(microbatch_sequences=2, pipeline=2, virtual_pipeline=2)),
    (2, LayoutConfig(microbatch_sequences=2, context=2)),
    (4, LayoutConfig(tensor=2, sequence_parallel=True, **OVERLAP)),
    (4, LayoutConfig(pipeline=4)),
    (2, LayoutConfig(pipeline=2, virtual_pipeline=2, recompute="full")),
    (2, LayoutConfig(**OVERLAP)),
    (1, LayoutConfig(microbatch_sequences=2)),
]
"""Each goes on from the checkpoint of the one before."""

EXPERTS = [
    (1, LayoutConfig(microbatch_sequences=4)),
    (2, LayoutConfig(expert=2, **OVERLAP)),
    (4, LayoutConfig(tensor=2, sequence_parallel=True, expert=4)),
    (2, LayoutConfig(context=2)),
    (4, LayoutConfig(pipeline=2, virtual_pipeline=2, expert=2, microbatch_sequences=2)),
    (1, LayoutConfig(microbatch_sequences=2)),
]
MOE = MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.1)
CHAINS = {
    "dense": (MODEL, DENSE),
    "experts": (MODEL.model_copy(update={"moe": MOE}), EXPERTS),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_run_moved_through_layouts_equals_one_that_stayed(name: str, tmp_path: Path) -> None:
    model, chain = CHAINS[name]
    stayed = Job(
        layout=LayoutConfig(microbatch_sequences=2), model=model, num_steps=STEPS * len(chain)
    )
    expected = run_distributed(train_on_rank, 1, stayed)[0]
    load = None
    for number, (num_ranks, layout) in enumerate(chain):
        save, first = tmp_path / str(number), STEPS * number
        job = Job(
            layout=layout, model=model, first_step=first, num_steps=STEPS, load=load, save=save
        )
        curve = run_distributed(train_on_rank, num_ranks, job)[0]
        steps = slice(first, first + STEPS)
        assert curve.loss == pytest.approx(expected.loss[steps], abs=TOLERANCE, rel=0), layout
        assert curve.grad_norm == pytest.approx(expected.grad_norm[steps], abs=TOLERANCE, rel=0)
        load = save
