"""Attention on the GPU: beside the formula, and by kernels that do not write the scores down."""

from typing import Any

import pytest

pytestmark = pytest.mark.gpu

CLOSE = {"float32": 1e-4, "bfloat16": 3e-2}
"""Absolute, of numbers of about 1, or of the largest where that is larger."""
FUSED = ("flash_attention", "efficient_attention", "cudnn_attention")
"""In the names of torch's operations for kernels that keep a number for each row alone."""
LENGTH, BATCH, HEADS, GROUPS, WIDTH = 256, 2, 8, 2, 64


def heads(number: int, length: int, seed: int, dtype: str) -> Any:
    import torch

    generator = torch.Generator("cuda").manual_seed(seed)
    made = torch.randn(BATCH, number, length, WIDTH, generator=generator, device="cuda")
    return made.to(getattr(torch, dtype)).requires_grad_()


def operations_of(function: Any) -> tuple[Any, list[str]]:
    """What the function gives, and names of the operations that torch has chosen for it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        result = function()
    return result, [event.key for event in profiler.key_averages()]


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("num_groups", [HEADS, GROUPS])
@pytest.mark.parametrize("kind", ["whole", "last part", "documents"])
def test_no_kernel_writes_the_scores(kind: str, num_groups: int, dtype: str, gpu: Any) -> None:
    """Grouped queries, parts of a sequence as under context parallelism, documents: forward and
    backward beside the formula in fp32."""
    import torch

    from megatron_codemix.mcore.layers import attend_on_gpu

    queries = LENGTH // 4 if kind == "last part" else LENGTH
    query = heads(HEADS, queries, 0, dtype)
    key, value = heads(num_groups, LENGTH, 1, dtype), heads(num_groups, LENGTH, 2, dtype)
    order = torch.arange(LENGTH, device=gpu.device)
    hidden = order[LENGTH - queries :, None] < order[None]
    mask = None
    if kind == "documents":
        hidden = hidden | (order[:, None] // 100 != order[None] // 100)
        mask = hidden.expand(BATCH, 1, -1, -1)
    output, names = operations_of(lambda: attend_on_gpu(query, key, value, mask, None))
    assert any(word in name for name in names for word in FUSED), names
    assert not any("softmax" in name for name in names), names
    direction = heads(HEADS, queries, 3, dtype).detach()
    found = [output, *torch.autograd.grad(output, (query, key, value), direction)]

    def formula(query: Any, key: Any, value: Any) -> Any:
        key, value = (one.repeat_interleave(HEADS // num_groups, 1) for one in (key, value))
        scores = (query @ key.transpose(-1, -2) / WIDTH**0.5).masked_fill(hidden, -torch.inf)
        return scores.softmax(-1) @ value

    wide = [one.detach().float().requires_grad_() for one in (query, key, value)]
    expected = formula(*wide)
    gradients = torch.autograd.grad(expected, wide, direction.float())
    for one, other in zip(found, [expected, *gradients], strict=True):
        scale = max(1.0, float(other.detach().abs().max()))
        torch.testing.assert_close(one.float(), other, atol=CLOSE[dtype] * scale, rtol=0)
