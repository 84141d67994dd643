"""A checkpoint of any layout is loaded into any other, weights and optimizer state."""

from pathlib import Path

import pytest

from megatron_codemix.config.schema import LayoutConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import Job, train_on_rank

STEPS = 2
TOLERANCE = 1e-5
"""Absolute, fp32: the tolerance of test_layouts.py."""

OVERLAP = {"overlap_grad_reduce": True, "overlap_param_gather": True, "bucket_parameters": 20_000}

CHAIN = [
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


def test_a_run_moved_through_layouts_equals_one_that_stayed(tmp_path: Path) -> None:
    stayed = Job(layout=LayoutConfig(microbatch_sequences=2), num_steps=STEPS * len(CHAIN))
    expected = run_distributed(train_on_rank, 1, stayed)[0]
    load = None
    for number, (num_ranks, layout) in enumerate(CHAIN):
        save = tmp_path / str(number)
        job = Job(layout=layout, first_step=STEPS * number, num_steps=STEPS, load=load, save=save)
        curve = run_distributed(train_on_rank, num_ranks, job)[0]
        steps = slice(STEPS * number, STEPS * (number + 1))
        assert curve.loss == pytest.approx(expected.loss[steps], abs=TOLERANCE, rel=0), layout
        assert curve.grad_norm == pytest.approx(expected.grad_norm[steps], abs=TOLERANCE, rel=0)
        load = save
