"""A layout changes rounding, nothing else: loss and gradient norm against one process from the same
checkpoint on the same data."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.config.schema import LayoutConfig, MoeConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import GLOBAL_BATCH, MODEL, SEQUENCE, Curve, Job, train_on_rank

FP32_TOLERANCE = 1e-5
"""Absolute, on losses in nats and on the gradient norm: sums are taken in another order."""

BF16_TOLERANCES = {"dense": 5e-3, "experts": 2e-2}
"""On the loss. bf16 keeps 8 bits, and a matrix product that is split over ranks has its partial
sums rounded to bf16 before they are added; with experts, a rounding also sends a token that stands
between two of them to the other."""

FIRST_LABEL = 8
"""Labels before it do not count: context-parallel ranks have unequal numbers of tokens."""

TOKENS_OF_A_SOURCE = GLOBAL_BATCH // 2 * (SEQUENCE - FIRST_LABEL)


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


MODELS = {
    "dense": MODEL,
    "experts": MODEL.model_copy(
        update={
            "moe": MoeConfig(
                num_experts=4, top_k=2, balance_coefficient=0.1, router_z_coefficient=0.01
            )
        }
    ),
}
"""The coefficients are large, so that a loss of the router that is weighed wrongly is seen."""

EXPERT_LAYOUTS = {
    "one sample a microbatch": (1, layout(microbatch_sequences=1)),
    "ep2": (2, layout(expert=2)),
    "ep2 plain optimizer": (2, layout(expert=2, distributed_optimizer=False)),
    "cp2 ep2 moe recompute": (
        2,
        layout(context=2, expert=2, recompute="selective", recompute_modules=["moe"]),
    ),
    "tp2 sp": (2, layout(tensor=2, sequence_parallel=True)),
    "tp2 sp ep2": (2, layout(tensor=2, sequence_parallel=True, expert=2)),
    "ep2 dp2 overlap": (4, layout(expert=2, **OVERLAP)),
    "tp2 sp dp2 ep4 full recompute": (
        4,
        layout(tensor=2, sequence_parallel=True, expert=4, **FULL),
    ),
    "pp2 vp2 ep2 overlap": (4, layout(pipeline=2, virtual_pipeline=2, expert=2, **OVERLAP)),
    "tp2 pp2 cp2 sp ep4": (
        8,
        layout(tensor=2, pipeline=2, context=2, sequence_parallel=True, expert=4),
    ),
}

FP32 = [("dense", name) for name in LAYOUTS] + [("experts", name) for name in EXPERT_LAYOUTS]
BF16 = [
    ("dense", "tp2 sp"),
    ("dense", "pp2 vp2 full recompute"),
    ("dense", "cp2"),
    ("dense", "dp2 overlap"),
    ("dense", "tp2 pp2"),
    ("dense", "tp2 dp2"),
    ("dense", "cp2 dp2 overlap"),
    ("dense", "pp2 vp2 dp2 overlap"),
    ("experts", "ep2"),
    ("experts", "tp2 sp ep2"),
]


def job_of(model: str, asked: LayoutConfig, precision: str, **others: object) -> Job:
    return Job(
        layout=asked,
        model=MODELS[model],
        precision=precision,
        first_label=FIRST_LABEL,
        **others,
    )


def layout_of(model: str, name: str) -> tuple[int, LayoutConfig]:
    return (EXPERT_LAYOUTS if model == "experts" else LAYOUTS)[name]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str, bool], Path]:
    """Checkpoint of one process after 2 steps, of this model in this precision, with or without the
    distributed optimizer."""

    @cache
    def make(model: str, precision: str, distributed: bool) -> Path:
        folder = tmp_path_factory.mktemp("start") / "checkpoint"
        asked = layout(distributed_optimizer=distributed, microbatch_sequences=4)
        run_distributed(train_on_rank, 1, job_of(model, asked, precision, num_steps=2, save=folder))
        return folder

    return make


@pytest.fixture(scope="module")
def one_process(start: Callable[[str, str, bool], Path]) -> Callable[[str, str], Curve]:
    """10 steps of one process from the checkpoint."""

    @cache
    def train(model: str, precision: str) -> Curve:
        job = job_of(model, layout(), precision, load=start(model, precision, True))
        return run_distributed(train_on_rank, 1, job)[0]

    return train


@pytest.mark.parametrize(("model", "name"), FP32)
def test_fp32_equals_one_process(
    model: str,
    name: str,
    start: Callable[[str, str, bool], Path],
    one_process: Callable[[str, str], Curve],
) -> None:
    num_ranks, asked = layout_of(model, name)
    job = job_of(model, asked, "fp32", load=start(model, "fp32", asked.distributed_optimizer))
    curves = run_distributed(train_on_rank, num_ranks, job)
    expected = one_process(model, "fp32")
    assert all(curve == curves[0] for curve in curves), "ranks disagree on what they report"
    assert curves[0].loss == pytest.approx(expected.loss, abs=FP32_TOLERANCE, rel=0)
    assert curves[0].grad_norm == pytest.approx(expected.grad_norm, abs=FP32_TOLERANCE, rel=0)
    found = np.array(curves[0].source_nats) / TOKENS_OF_A_SOURCE
    wanted = np.array(expected.source_nats) / TOKENS_OF_A_SOURCE
    assert found == pytest.approx(wanted, abs=FP32_TOLERANCE, rel=0)
    assert found.mean(axis=1) == pytest.approx(np.array(curves[0].loss), rel=1e-12)


@pytest.mark.parametrize(("model", "name"), BF16)
def test_bf16_stays_near_one_process(
    model: str,
    name: str,
    start: Callable[[str, str, bool], Path],
    one_process: Callable[[str, str], Curve],
) -> None:
    num_ranks, asked = layout_of(model, name)
    job = job_of(model, asked, "bf16", load=start(model, "bf16", True))
    curve = run_distributed(train_on_rank, num_ranks, job)[0]
    tolerance = BF16_TOLERANCES[model]
    assert curve.loss == pytest.approx(one_process(model, "bf16").loss, abs=tolerance, rel=0)
