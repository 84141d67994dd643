"""Layouts of two and four ranks that compute on one GPU, beside the same ranks on the CPU.

Their collectives go over gloo by way of the host, as NCCL refuses two ranks on one GPU; what NCCL
does between GPUs is not tried here.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from megatron_codemix.config.schema import LayoutConfig
from tests.helpers.gpu_ranks import run_on_one_gpu
from tests.helpers.ranks import run_distributed
from tests.helpers.training import Job, train_on_rank

pytestmark = pytest.mark.gpu

TOLERANCE = 1e-4
"""On the loss in fp32, nats."""

LAYOUTS = {
    "tp2-sp": (2, {"tensor": 2, "sequence_parallel": True}),
    "pp2": (2, {"pipeline": 2}),
    "pp2-vp2": (2, {"pipeline": 2, "virtual_pipeline": 2}),
    "cp2": (2, {"context": 2}),
    "dp2-distributed-optimizer": (2, {"distributed_optimizer": True}),
    "tp2-pp2": (4, {"tensor": 2, "pipeline": 2}),
}
"""Name -> ranks and fields of the layout."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_ranks_of_one_gpu_train_as_ranks_on_the_cpu(name: str, tmp_path: Path) -> None:
    num_ranks, fields = LAYOUTS[name]
    layout = LayoutConfig(microbatch_sequences=2, **fields)  # type: ignore[arg-type]
    job = Job(layout=layout, num_steps=3)
    expected = run_distributed(train_on_rank, num_ranks, job)
    found = run_on_one_gpu(train_on_rank, num_ranks, tmp_path, replace(job, device="cuda"))
    for one, other in zip(found, expected, strict=True):
        assert one.loss == pytest.approx(other.loss, abs=TOLERANCE, rel=0)
