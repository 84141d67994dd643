"""Gradients that the output layer and its neighbours add to their sums by themselves, as on a GPU,
against those that are added behind them: tables that share their weight, and layers in FP8, which
do not have it. A product of bf16 that adds in fp32 is CUDA's: here its operands are cast before."""

from dataclasses import replace
from typing import Any

import pytest

from megatron_codemix.config.schema import Fp8Config, LayoutConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import (
    GLOBAL_BATCH,
    MODEL,
    Curve,
    Job,
    build_with_optimizer,
    train_steps,
)

ONE = LayoutConfig()
TIED = MODEL.model_copy(update={"tie_embeddings": True})

MICROBATCHES, STEPS = GLOBAL_BATCH, 2
FP8 = Fp8Config(recipe="emulated", rule="tensorwise")
JOBS = {
    "tied tables": Job(layout=ONE, model=TIED, num_steps=STEPS),
    "FP8 layers": Job(layout=ONE, precision=FP8, num_steps=STEPS),
}
PRODUCTS = {"tied tables": 4 * 4 + 1, "FP8 layers": 1}
"""That make a gradient of a weight: four in each of four layers, and the logits'."""
TOLERANCE = {"tied tables": 1e-6, "FP8 layers": 2e-3}
"""Of losses and norms: sums in another order, and in bf16 the logits' gradient is rounded before it
is added where that is done behind the product."""


class Products:
    """Those that add to fp32 sums, counted."""

    calls = 0

    @classmethod
    def wgrad_gemm_accum_fp32(cls, inputs: Any, gradients: Any, sums: Any) -> None:
        """inputs [M, K], gradients [M, N], sums fp32 [N, K]."""
        from megatron_codemix.mcore.gradient_sums import TorchProducts

        cls.calls += 1
        TorchProducts.wgrad_gemm_accum_fp32(inputs.float(), gradients.float(), sums)


def both_ways(context: RankContext) -> dict[str, tuple[list[Curve], int]]:
    """Curves without and with it, and how often the product was asked for."""
    from megatron_codemix.mcore.groups import destroy_model_parallel

    from megatron.core.tensor_parallel import layers  # isort: skip

    layers._grad_accum_fusion_available = True
    layers.fused_weight_gradient_mlp_cuda = Products
    found = {}
    for name, job in JOBS.items():
        curves, Products.calls = [], 0
        for is_fused in (False, True):
            asked = replace(job, config_changes={"gradient_accumulation_fusion": is_fused})
            built = build_with_optimizer(asked)
            curves.append(train_steps(asked, *built, asked.steps))
            destroy_model_parallel()
        found[name] = curves, Products.calls
    return found


@pytest.fixture(scope="module")
def found() -> dict[str, tuple[list[Curve], int]]:
    return run_distributed(both_ways, 1)[0]


@pytest.mark.parametrize("name", JOBS)
def test_sums_are_those_of_added_gradients(
    name: str, found: dict[str, tuple[list[Curve], int]]
) -> None:
    (behind, within), calls = found[name]
    assert calls == PRODUCTS[name] * MICROBATCHES * STEPS
    assert within.loss == pytest.approx(behind.loss, rel=TOLERANCE[name])
    assert within.grad_norm == pytest.approx(behind.grad_norm, rel=TOLERANCE[name])
