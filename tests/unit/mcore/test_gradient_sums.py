"""Who adds up the gradients of weights, asked of stand-ins with Transformer Engine's attribute.

PyTorch's product that adds is CUDA's alone: on a CPU one in numpy's arithmetic stands for it.
"""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.errors import ConfigError
from megatron_codemix.mcore import gradient_sums
from megatron_codemix.mcore.gradient_sums import TorchProducts, let_layers_sum, sum_field
from megatron_codemix.mcore.transformer import TransformerConfig

from megatron.core.tensor_parallel import layers  # isort: skip

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
NO, YES = ({"gradient_accumulation_fusion": is_on} for is_on in (False, True))


class EngineLinear(torch.nn.Linear):
    """Its attribute is what Transformer Engine 2.11 reads in each forward pass (module/linear.py)
    and names in its constructor (tests/contracts/engines.json)."""

    fuse_wgrad_accumulation = False


def config() -> Any:  # Any: megatron-core's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own defaults
        return TransformerConfig(num_layers=1, hidden_size=8, num_attention_heads=1)


def chunk() -> torch.nn.Module:
    return torch.nn.Sequential(EngineLinear(2, 2), torch.nn.Linear(2, 2), EngineLinear(2, 2))


def test_layers_of_the_engine_sum_and_graphs_are_told() -> None:
    chunks, told = [chunk(), chunk()], config()
    assert let_layers_sum(chunks, told, {}) == 4
    assert [layer.fuse_wgrad_accumulation for each in chunks for layer in (each[0], each[2])] == [
        True
    ] * 4
    assert told.gradient_accumulation_fusion


def test_an_override_keeps_them_from_it() -> None:
    one, told = chunk(), config()
    assert let_layers_sum([one], told, NO) == 0
    assert not one[0].fuse_wgrad_accumulation
    assert not told.gradient_accumulation_fusion


def test_without_such_layers_nothing_is_said() -> None:
    told = config()
    assert let_layers_sum([torch.nn.Linear(2, 2)], told, {}) == 0
    assert not told.gradient_accumulation_fusion


def in_fp32(sums: Any, left: Any, right: Any, dtype: Any, *, out: Any) -> Any:
    assert left.dtype == right.dtype == torch.bfloat16
    assert sums.dtype == dtype == torch.float32
    product = left.float().numpy() @ right.float().numpy()
    return out.copy_(torch.from_numpy(sums.numpy() + product))


def in_bf16(sums: Any, left: Any, right: Any, dtype: Any, *, out: Any) -> Any:
    return out.copy_(sums + left @ right)


@pytest.fixture
def product() -> Iterator[Callable[[Any], None]]:
    """Registers a product for the CPU; the trial's answers are forgotten before and after."""
    library = torch.library.Library("aten", "IMPL")
    gradient_sums._torch_adds_in_fp32.cache_clear()
    yield lambda function: library.impl("addmm.dtype_out", function, "CPU")
    library._destroy()
    gradient_sums._torch_adds_in_fp32.cache_clear()


def test_a_device_without_the_product_is_found_out(product: Any) -> None:
    assert not gradient_sums._torch_adds_in_fp32(CPU)


def test_a_product_that_rounds_before_it_adds_is_found_out(product: Any) -> None:
    product(in_bf16)
    assert not gradient_sums._torch_adds_in_fp32(CPU)


def test_a_product_that_adds_in_fp32_passes(product: Any) -> None:
    product(in_fp32)
    assert gradient_sums._torch_adds_in_fp32(CPU)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_layers_add_two_microbatches(
    dtype: torch.dtype, product: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the sum in fp64; a gradient in bf16 would be off by 2^-9 of its size."""
    product(in_fp32)
    monkeypatch.setattr(layers, "fused_weight_gradient_mlp_cuda", TorchProducts, raising=False)
    generator = torch.Generator().manual_seed(3)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(dtype)

    weight = torch.nn.Parameter(numbers(24, 40))
    weight.main_grad = torch.zeros(24, 40)
    expected = np.zeros((24, 40))
    for _ in range(2):
        x, slope = numbers(5, 3, 40), numbers(5, 3, 24)
        y = layers.linear_with_grad_accumulation_and_async_allreduce(
            x, weight, None, True, allreduce_dgrad=False, sequence_parallel=False
        )
        y.backward(slope)
        sides = [each.double().numpy().reshape(15, -1) for each in (slope, x)]
        expected += sides[0].T @ sides[1]
    np.testing.assert_allclose(weight.main_grad.numpy(), expected, rtol=0, atol=2e-5)


def test_an_expert_without_tokens_changes_nothing() -> None:
    sums = torch.ones(4, 6)
    TorchProducts.wgrad_gemm_accum_fp32(torch.empty(0, 6), torch.empty(0, 4), sums)
    assert torch.equal(sums, torch.ones(4, 6))


@pytest.mark.parametrize(("has_apex", "torch_adds"), [(True, False), (False, True)])
def test_megatrons_layers_sum_by_apex_or_by_torch(
    has_apex: bool, torch_adds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_grad_accum_fusion_available", has_apex)
    monkeypatch.setattr(layers, "fused_weight_gradient_mlp_cuda", "Apex's", raising=False)
    monkeypatch.setattr(gradient_sums, "_torch_adds_in_fp32", lambda device: torch_adds)
    assert sum_field(GPU, {})
    assert sum_field(GPU, YES)
    assert not sum_field(CPU, {})
    taken = layers.fused_weight_gradient_mlp_cuda
    assert taken == "Apex's" if has_apex else taken is TorchProducts


def test_without_either_the_output_layer_is_told_no(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_grad_accum_fusion_available", False)
    monkeypatch.setattr(gradient_sums, "_torch_adds_in_fp32", lambda device: False)
    assert not sum_field(GPU, {})
    with pytest.raises(ConfigError, match=r"gradient_accumulation_fusion: true needs PyTorch 2.8"):
        sum_field(GPU, YES)


def test_deferred_sums_need_apex_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """megatron-core imports it once more where they are due."""
    monkeypatch.setattr(layers, "_grad_accum_fusion_available", False)
    monkeypatch.setattr(gradient_sums, "_torch_adds_in_fp32", lambda device: True)
    with pytest.raises(ConfigError, match="defer_embedding_wgrad_compute: needs Apex"):
        sum_field(GPU, {"defer_embedding_wgrad_compute": True})
