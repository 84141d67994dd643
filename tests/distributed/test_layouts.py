"""A layout changes rounding, nothing else: loss and gradient norm against one process from the same
checkpoint on the same data."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.config.schema import LayoutConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import GLOBAL_BATCH, SEQUENCE, Curve, Job, train_on_rank

FP32_TOLERANCE = 1e-5
"""Absolute, on losses in nats and on the gradient norm: sums are taken in another order."""

BF16_TOLERANCE = 5e-3
"""On the loss. bf16 keeps 8 bits, and a matrix product that is split over ranks has its partial
sums rounded to bf16 before they are added."""

TOKENS_OF_A_SOURCE = GLOBAL_BATCH // 2 * SEQUENCE


def layout(**fields: object) -> LayoutConfig:
    return LayoutConfig(**{"microbatch_sequences": 2, **fields})


OVERLAP = {"overlap_grad_reduce": True, "overlap_param_gather": True, "bucket_parameters": 20_000}
FULL = {"recompute": "full", "recompute_layers": 1}

LAYOUTS = {
    "selective recompute": (
        1,
        layout(recompute="selective", recompute_modules=["core_attn", "mlp"]),
    ),
    "full recompute, block": (1, layout(recompute="full", recompute_method="block")),
    "tp2": (2, layout(tensor=2)),
    "tp2 sp": (2, layout(tensor=2, sequence_parallel=True)),
    "tp2 sp full recompute": (2, layout(tensor=2, sequence_parallel=True, **FULL)),
    "pp2": (2, layout(pipeline=2)),
    "pp2 vp2": (2, layout(pipeline=2, virtual_pipeline=2)),
    "pp2 vp2 full recompute": (2, layout(pipeline=2, virtual_pipeline=2, **FULL)),
    "cp2": (2, layout(context=2)),
    "cp2 plain optimizer": (2, layout(context=2, distributed_optimizer=False)),
    "cp2 selective recompute": (2, layout(context=2, recompute="selective")),
    "dp2": (2, layout()),
    "dp2 plain optimizer": (2, layout(distributed_optimizer=False)),
    "dp2 plain overlap": (2, layout(distributed_optimizer=False, overlap_grad_reduce=True)),
    "dp2 overlap": (2, layout(**OVERLAP)),
    "pp4": (4, layout(pipeline=4)),
    "cp4": (4, layout(context=4)),
    "tp2 pp2": (4, layout(tensor=2, pipeline=2)),
    "tp2 pp2 sp": (4, layout(tensor=2, pipeline=2, sequence_parallel=True)),
    "tp2 dp2": (4, layout(tensor=2)),
    "tp2 cp2 sp": (4, layout(tensor=2, context=2, sequence_parallel=True)),
    "pp2 cp2": (4, layout(pipeline=2, context=2)),
    "cp2 dp2 overlap": (4, layout(context=2, **OVERLAP)),
    "pp2 vp2 dp2 overlap": (4, layout(pipeline=2, virtual_pipeline=2, **OVERLAP)),
    "tp2 pp2 vp2 sp full recompute": (
        4,
        layout(tensor=2, pipeline=2, virtual_pipeline=2, sequence_parallel=True, **FULL),
    ),
    "tp2 pp2 vp2 cp2 sp overlap": (
        8,
        layout(
            tensor=2, pipeline=2, virtual_pipeline=2, context=2, sequence_parallel=True, **OVERLAP
        ),
    ),
}


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, bool], Path]:
    """Checkpoint of one process after 2 steps, in this precision, with or without the distributed
    optimizer."""

    @cache
    def make(precision: str, distributed: bool) -> Path:
        folder = tmp_path_factory.mktemp("start") / "checkpoint"
        job = Job(
            layout=layout(distributed_optimizer=distributed, microbatch_sequences=4),
            precision=precision,
            num_steps=2,
            save=folder,
        )
        run_distributed(train_on_rank, 1, job)
        return folder

    return make


@pytest.fixture(scope="module")
def one_process(start: Callable[[str, bool], Path]) -> Callable[[str], Curve]:
    """10 steps of one process from the checkpoint."""

    @cache
    def train(precision: str) -> Curve:
        job = Job(layout=layout(), precision=precision, load=start(precision, True))
        return run_distributed(train_on_rank, 1, job)[0]

    return train


@pytest.mark.parametrize("name", LAYOUTS)
def test_fp32_equals_one_process(
    name: str, start: Callable[[str, bool], Path], one_process: Callable[[str], Curve]
) -> None:
    num_ranks, asked = LAYOUTS[name]
    job = Job(layout=asked, load=start("fp32", asked.distributed_optimizer))
    curves = run_distributed(train_on_rank, num_ranks, job)
    expected = one_process("fp32")
    assert all(curve == curves[0] for curve in curves), "ranks disagree on what they report"
    assert curves[0].loss == pytest.approx(expected.loss, abs=FP32_TOLERANCE, rel=0)
    assert curves[0].grad_norm == pytest.approx(expected.grad_norm, abs=FP32_TOLERANCE, rel=0)
    found = np.array(curves[0].source_nats) / TOKENS_OF_A_SOURCE
    wanted = np.array(expected.source_nats) / TOKENS_OF_A_SOURCE
    assert found == pytest.approx(wanted, abs=FP32_TOLERANCE, rel=0)
    assert found.mean(axis=1) == pytest.approx(np.array(curves[0].loss), rel=1e-12)


@pytest.mark.parametrize(
    "name",
    [
        "tp2 sp",
        "pp2 vp2 full recompute",
        "cp2",
        "dp2 overlap",
        "tp2 pp2",
        "tp2 dp2",
        "cp2 dp2 overlap",
        "pp2 vp2 dp2 overlap",
    ],
)
def test_bf16_stays_near_one_process(
    name: str, start: Callable[[str, bool], Path], one_process: Callable[[str], Curve]
) -> None:
    num_ranks, asked = LAYOUTS[name]
    job = Job(layout=asked, precision="bf16", load=start("bf16", True))
    curve = run_distributed(train_on_rank, num_ranks, job)[0]
    assert curve.loss == pytest.approx(one_process("bf16").loss, abs=BF16_TOLERANCE, rel=0)
