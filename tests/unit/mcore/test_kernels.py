"""Our kernels against megatron-core's own formulas and torch's autograd."""

import warnings

import pytest
import torch
import torch.nn.functional as F

import megatron_codemix.mcore  # noqa: F401  # installs the CPU meaning of torch.cuda first
from megatron_codemix.mcore.kernels import (
    GatedSilu,
    SequenceFirst,
    _GatedSilu,
    _GatedSiluOfInput,
    logits_and_maximum,
    rotate,
)

CLOSE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}
"""Of numbers up to about 4; bf16 has 8 bits."""


def random(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator).to(dtype).requires_grad_()


def results(function, argument: torch.Tensor, gradient: torch.Tensor) -> list[torch.Tensor]:
    """The function's value at a part of a wider tensor, as projections give it, and gradient."""
    wide = torch.cat([argument.detach(), argument.detach()], -1).requires_grad_()
    value = function(wide[..., : argument.shape[-1]])
    value.backward(gradient.view_as(value))
    return [value.detach(), wide.grad]


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", CLOSE)
def test_rotation_is_megatron_cores(dtype, interleaved) -> None:
    from megatron.core.models.common.embeddings.rope_utils import _apply_rotary_pos_emb_bshd

    x, gradient = random(11, 3, 4, 8, dtype=dtype), random(11, 3, 4, 8, dtype=dtype, seed=1)
    angles = torch.outer(torch.arange(11.0), torch.tensor([1.0, 0.1, 0.01, 0.001]))
    twice = angles.repeat_interleave(2, -1) if interleaved else torch.cat([angles, angles], -1)
    angles = twice[:, None, None]
    found = results(lambda x: rotate(x, angles, interleaved), x, gradient)
    expected = results(lambda x: _apply_rotary_pos_emb_bshd(x, angles, interleaved), x, gradient)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=CLOSE[dtype], rtol=0)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("dtype", CLOSE)
def test_rotation_in_either_order_of_memory_is_the_same_bit_for_bit(dtype, interleaved) -> None:
    x, gradient = random(11, 3, 4, 40, dtype=dtype), random(11, 3, 4, 40, dtype=dtype, seed=1)
    angles = random(11, 3, 1, 40, seed=2).detach()
    found = results(lambda x: rotate(x, SequenceFirst(angles), interleaved), x, gradient)
    for one, other in zip(
        found, results(lambda x: rotate(x, angles, interleaved), x, gradient), strict=True
    ):
        assert torch.equal(one, other)
    assert found[0].stride() == (480, 160, 40, 1)


@pytest.mark.parametrize("dtype", CLOSE)
def test_gated_silu_is_the_formula_bit_for_bit(dtype) -> None:
    from megatron.core.transformer.transformer_config import TransformerConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # megatron-core warns of its own default
        gated = GatedSilu(TransformerConfig(num_layers=1, hidden_size=8, num_attention_heads=1))

    def formula(x: torch.Tensor) -> torch.Tensor:
        gate, up = x.chunk(2, -1)
        return F.silu(gate) * up

    x, gradient = random(5, 2, 24, dtype=dtype), random(5, 2, 12, dtype=dtype, seed=1)
    for one, other in zip(results(gated, x, gradient), results(formula, x, gradient), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", CLOSE)
def test_gated_silu_that_keeps_its_input_alone_is_the_same(dtype) -> None:
    x, gradient = random(5, 2, 24, dtype=dtype), random(5, 2, 12, dtype=dtype, seed=1)
    expected = results(_GatedSilu.apply, x, gradient)
    for one, other in zip(results(_GatedSiluOfInput.apply, x, gradient), expected, strict=True):
        assert torch.equal(one, other)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda one: kept.append(one), lambda one: one):
        _GatedSiluOfInput.apply(x)
    assert [one.data_ptr() for one in kept] == [x.data_ptr()]


def test_maximum_is_that_of_fp32_logits() -> None:
    logits = random(5, 2, 100, dtype=torch.bfloat16).detach()
    same, maximum = logits_and_maximum(logits)
    assert (same.dtype, maximum.dtype) == (torch.float32, torch.float32)
    assert torch.equal(maximum, logits.float().max(-1).values)
