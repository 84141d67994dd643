"""Products of two matrices in FP8: exact in fp32 on any device, or by PyTorch's own kernels, which
are a GPU's tensor cores.

Both give the same but for the order of sums and one rounding to the output's format, and, on a GPU,
for fast sums where they are asked for.
"""

from typing import Protocol

import torch

from megatron_codemix.mcore.fp8.formats import Quantised


class Product(Protocol):
    """left [M, K] times right [K, N] -> [M, N] in `dtype`."""

    def __call__(
        self, left: Quantised, right: Quantised, dtype: torch.dtype, *, fast_sums: bool = False
    ) -> torch.Tensor:
        """fast_sums: where the device has them, sums that round earlier, as Transformer Engine has
        them for a layer's output and not for gradients."""


def exact_product(
    left: Quantised, right: Quantised, dtype: torch.dtype, *, fast_sums: bool = False
) -> torch.Tensor:
    """In fp32, which holds products of FP8 numbers exactly; sums are never fast."""
    return (left.values() @ right.values()).to(dtype)


def torch_product(
    left: Quantised, right: Quantised, dtype: torch.dtype, *, fast_sums: bool = False
) -> torch.Tensor:
    """By torch's scaled product; one scale for each matrix. Its kernels take the left matrix by
    rows and the right one by columns, and not two in E5M2; what was not written so is copied."""
    assert (left.tile, right.tile) == (None, None), "check_precision lets no blocks through"
    by_columns = right.codes if right.codes_by_columns is None else right.codes_by_columns
    return torch._scaled_mm(
        left.codes.contiguous(),
        by_columns.t().contiguous().t(),
        scale_a=left.inverse_scale,
        scale_b=right.inverse_scale,
        out_dtype=dtype,
        use_fast_accum=fast_sums,
    )


IN_BOTH_ORDERS = ("torch_scaled_mm",)
"""Recipes whose products take each operand by rows and by columns."""

PRODUCTS: dict[str, Product] = {"emulated": exact_product, "torch_scaled_mm": torch_product}
"""By the name of the recipe."""
