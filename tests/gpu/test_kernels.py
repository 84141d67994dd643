"""Our kernels on the GPU: beside megatron-core's formulas there, and torch's own optimizer."""

import warnings
from typing import Any

import pytest

pytestmark = pytest.mark.gpu

CLOSE = {"float32": (1e-5, 0.0), "bfloat16": (3e-2, 2**-7)}
"""Absolute, of numbers up to about 4, and of a number's own size: bf16 has 8 bits, so that
neighbours from 4 on are further apart than the first."""


def random(*shape: int, seed: int = 0, dtype: str = "float32") -> Any:
    import torch

    generator = torch.Generator("cuda").manual_seed(seed)
    made = torch.randn(shape, generator=generator, device="cuda")
    return made.to(getattr(torch, dtype)).requires_grad_()


def results(function: Any, argument: Any) -> list[Any]:
    """The function's value, and the gradient from the same numbers behind it."""
    argument = argument.detach().clone().requires_grad_()
    value = function(argument)
    value.backward(random(*value.shape, seed=7).detach().to(value.dtype))
    return [value.detach(), argument.grad]


def assert_same(found: list[Any], expected: list[Any], close: tuple[float, float]) -> None:
    import torch

    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=close[0], rtol=close[1])


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", CLOSE)
def test_rotation_is_megatron_cores(dtype: str, interleaved: bool, gpu: Any) -> None:
    import torch

    # First: it prepares megatron.core's import.
    from megatron_codemix.mcore.kernels import SequenceFirst, rotate

    from megatron.core.models.common.embeddings.rope_utils import (  # isort: skip
        _apply_rotary_pos_emb_bshd,
    )

    angles = torch.outer(torch.arange(64.0), torch.tensor([1.0, 0.1, 0.01, 0.001]))
    twice = angles.repeat_interleave(2, -1) if interleaved else torch.cat([angles, angles], -1)
    angles = twice[:, None, None].to(gpu.device)
    x = random(64, 3, 4, 8, dtype=dtype)
    expected = results(lambda x: _apply_rotary_pos_emb_bshd(x, angles, interleaved), x)
    for given in (angles, SequenceFirst(angles)):
        found = results(lambda x, given=given: rotate(x, given, interleaved), x)
        assert_same(found, expected, CLOSE[dtype])


@pytest.mark.parametrize("dtype", CLOSE)
def test_gated_silu_is_the_formula(dtype: str, gpu: Any) -> None:
    import torch.nn.functional as F

    from megatron_codemix.mcore.kernels import _GatedSiluOfInput

    def formula(x: Any) -> Any:
        gate, up = x.chunk(2, -1)
        return F.silu(gate) * up

    x = random(64, 2, 96, dtype=dtype)
    assert_same(results(_GatedSiluOfInput.apply, x), results(formula, x), CLOSE[dtype])


def test_the_maximum_of_logits(gpu: Any) -> None:
    import torch

    from megatron_codemix.mcore.kernels import logits_and_maximum

    logits = random(5, 2, 100, dtype="bfloat16").detach()
    _, maximum = logits_and_maximum(logits)
    assert torch.equal(maximum, logits.float().max(-1).values)


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("masked", [False, True])
def test_attention_is_the_formula(dtype: str, masked: bool, gpu: Any) -> None:
    """Grouped queries, with and without documents: torch takes another kernel for each."""
    import torch

    from megatron_codemix.mcore.layers import SdpaCoreAttention, document_attention_mask

    from megatron.core.transformer.transformer_config import TransformerConfig  # isort: skip

    length, batch, heads, groups, width = 64, 2, 4, 2, 16
    query = random(length, batch, heads, width, dtype=dtype)
    key, value = (
        random(length, batch, groups, width, seed=seed, dtype=dtype).detach() for seed in (1, 2)
    )
    ids = torch.arange(length, device=gpu.device).expand(batch, -1) // (20 if masked else length)
    hidden = document_attention_mask(ids)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # megatron-core warns of its own default
        config = TransformerConfig(num_layers=1, hidden_size=64, num_attention_heads=heads)
    attention = SdpaCoreAttention(config, 1, None, "self")

    def formula(query: Any) -> Any:
        q, k, v = (one.float().permute(1, 2, 0, 3) for one in (query, key, value))
        k, v = (one.repeat_interleave(heads // groups, 1) for one in (k, v))
        scores = (q @ k.transpose(-1, -2) / width**0.5).masked_fill(hidden, float("-inf"))
        return (scores.softmax(-1) @ v).permute(2, 0, 1, 3).flatten(2).to(query.dtype)

    assert_same(
        results(lambda q: attention.attend(q, key, value, hidden if masked else None), query),
        results(formula, query),
        CLOSE[dtype],
    )


def test_adam_is_torchs(gpu: Any) -> None:
    import torch

    from megatron_codemix.mcore.fused_adam import FusedAdam

    settings = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    start = [random(7, 5).detach(), random(5, seed=1).detach()]
    ours, others = ([one.clone().requires_grad_() for one in start] for _ in range(2))
    optimizers = FusedAdam(ours, **settings), torch.optim.AdamW(others, **settings)
    for step in range(20):
        for seed, (one, other) in enumerate(zip(ours, others, strict=True)):
            one.grad = random(*one.shape, seed=10 * step + seed).detach()
            other.grad = one.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(ours, others, rtol=1e-5, atol=1e-6)


def test_products_add_gradients_up_in_fp32(gpu: Any) -> None:
    """Beside the sum in fp64 on the host: what rounds to bf16 on the way is off by 2^-9."""
    import torch

    import megatron_codemix.mcore  # noqa: F401  # before megatron.core
    from megatron_codemix.mcore.gradient_sums import TorchProducts, sum_field

    assert sum_field(gpu.device, {})
    inputs, slopes = (
        random(256, width, seed=width, dtype="bfloat16").detach() for width in (96, 80)
    )
    sums = torch.zeros(80, 96, device="cuda")
    for _ in range(2):
        TorchProducts.wgrad_gemm_accum_fp32(inputs, slopes, sums)
    expected = 2 * slopes.double().cpu().T @ inputs.double().cpu()
    torch.testing.assert_close(sums.double().cpu(), expected, atol=1e-3, rtol=0.0)
