"""FP8 on the GPU: rounding as on the CPU, and PyTorch's own products beside exact ones."""

from dataclasses import replace
from typing import Any

import pytest

from megatron_codemix.config.schema import Fp8Config, LayoutConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import Job, train_on_rank

# megatron-core warns of its own defaults, in this process here.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

EXACT_SUMS = 2e-2
"""Of the largest element: the output is rounded to bf16 (2^-8), and Hopper's tensor cores keep 14
bits of sums in FP8 where they are fast (arXiv 2412.19437, section 3.3)."""
FIRST_STEPS = 0.02
"""On the loss of three steps, nats."""


@pytest.fixture
def scaled_products(gpu: Any) -> None:
    """Skips where the GPU has no FP8."""
    from megatron_codemix.backend.devices import compute_capability

    capability = compute_capability(gpu.device)
    if capability is None or capability < (8, 9):
        pytest.skip(f"FP8 products need compute capability 8.9, and this GPU has {capability}")


def matrix(rows: int, columns: int, seed: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rows, columns, generator=generator).bfloat16()


@pytest.mark.parametrize("name", ["E4M3", "E5M2"])
def test_the_gpu_rounds_as_the_cpu(name: str, gpu: Any) -> None:
    import torch

    from megatron_codemix.mcore.fp8 import formats
    from megatron_codemix.mcore.fp8.scaling import absolute_maximum, scale_of

    to = getattr(formats, name)
    one = matrix(256, 384, 0)
    codes = []
    for place in (one, one.to(gpu.device)):
        scale = scale_of(absolute_maximum(place), to)
        codes.append(formats.quantise(place, scale, to).codes.cpu().view(torch.uint8))
    assert torch.equal(*codes)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", ["E4M3", "E5M2"])
def test_products_are_near_exact_ones(
    name: str, fast: bool, gpu: Any, scaled_products: None
) -> None:
    """Both orders of memory of each operand: what forward and the two gradients ask for."""
    import torch

    from megatron_codemix.mcore.fp8 import formats
    from megatron_codemix.mcore.fp8.products import exact_product, torch_product
    from megatron_codemix.mcore.fp8.scaling import absolute_maximum, scale_of

    def rounded(one: Any, to: Any) -> Any:
        one = one.to(gpu.device)
        return formats.quantise(one, scale_of(absolute_maximum(one), to), to)

    left = rounded(matrix(256, 384, 1), getattr(formats, name))
    right = rounded(matrix(512, 384, 2), formats.E4M3)
    turned = rounded(matrix(384, 256, 1), getattr(formats, name))
    for one, other in (
        (left, right.transposed()),
        (turned.transposed(), rounded(matrix(384, 512, 2), formats.E4M3)),
    ):
        found = torch_product(one, other, torch.bfloat16, fast_sums=fast).float()
        expected = exact_product(one, other, torch.float32)
        assert float((found - expected).abs().max() / expected.abs().max()) < EXACT_SUMS


@pytest.mark.parametrize("rule", ["tensorwise", "delayed"])
def test_steps_are_near_those_that_are_emulated(
    rule: str, alone: Any, scaled_products: None
) -> None:
    job = Job(
        layout=LayoutConfig(microbatch_sequences=4),
        precision=Fp8Config(kind="fp8", recipe="emulated", rule=rule),
        num_steps=3,
    )
    [expected] = run_distributed(train_on_rank, 1, job)
    product = Fp8Config(kind="fp8", recipe="torch_scaled_mm", rule=rule)
    found = train_on_rank(None, replace(job, device="cuda", precision=product))
    assert found.loss == pytest.approx(expected.loss, abs=FIRST_STEPS, rel=0)
