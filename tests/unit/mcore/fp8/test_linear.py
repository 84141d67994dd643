"""A linear layer's three products against the rules restated in numpy, added up in float64."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.mcore.fp8.formats import Quantised
from megatron_codemix.mcore.fp8.linear import RoundedProduct
from megatron_codemix.mcore.fp8.products import Product, exact_product, torch_product
from megatron_codemix.mcore.fp8.scaling import (
    BlockwiseScaling,
    DelayedScaling,
    LayerScaling,
    MicroScaling,
    TensorwiseScaling,
)
from tests.unit.mcore.fp8 import restated

SEQUENCE, BATCH, INPUTS, OUTPUTS = 40, 4, 256, 384
SUM_TOLERANCE = 2e-6
"""Of the largest element: fp32 sums of up to 384 products in another order."""

OF_ONE_SCALE: list[Product] = [exact_product, torch_product]

Rounding = Callable[[np.ndarray], np.ndarray]


def tensorwise_forward(values: np.ndarray) -> np.ndarray:
    return restated.tensorwise(values, restated.E4M3)


def tensorwise_backward(values: np.ndarray) -> np.ndarray:
    return restated.tensorwise(values, restated.E5M2)


def along(rows: int, columns: int) -> Rounding:
    return lambda values: restated.blockwise(values, rows, columns)


def microscaled(rows: int, columns: int) -> Rounding:
    return lambda values: restated.microscaled(values, rows, columns)


ROW, COLUMN, SQUARE = along(1, 128), along(128, 1), along(128, 128)
MICRO_ROW, MICRO_COLUMN = microscaled(1, 32), microscaled(32, 1)


@pytest.mark.parametrize(
    ("scaling", "output", "to_input", "to_weight"),
    [
        (
            TensorwiseScaling(None),
            (tensorwise_forward, tensorwise_forward),
            (tensorwise_backward, tensorwise_forward),
            (tensorwise_backward, tensorwise_forward),
        ),
        (BlockwiseScaling(), (ROW, SQUARE), (ROW, SQUARE), (COLUMN, COLUMN)),
        (
            MicroScaling(),
            (MICRO_ROW, MICRO_ROW),
            (MICRO_ROW, MICRO_COLUMN),
            (MICRO_COLUMN, MICRO_COLUMN),
        ),
        (
            DelayedScaling(4, 0, torch.device("cpu")),
            (lambda x: restated.rounded(x, restated.E4M3, 1.0),) * 2,
            (
                lambda x: restated.rounded(x, restated.E5M2, 1.0),
                lambda x: restated.rounded(x, restated.E4M3, 1.0),
            ),
            (
                lambda x: restated.rounded(x, restated.E5M2, 1.0),
                lambda x: restated.rounded(x, restated.E4M3, 1.0),
            ),
        ),
    ],
    ids=["tensorwise", "blockwise", "mxfp8", "delayed, first step"],
)
def test_all_three_products_take_rounded_operands(
    scaling: LayerScaling,
    output: tuple[Rounding, Rounding],
    to_input: tuple[Rounding, Rounding],
    to_weight: tuple[Rounding, Rounding],
) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((SEQUENCE, BATCH, INPUTS)).astype(np.float32)
    w = rng.standard_normal((OUTPUTS, INPUTS)).astype(np.float32) * np.float32(0.02)
    g = rng.standard_normal((SEQUENCE, BATCH, OUTPUTS)).astype(np.float32) * np.float32(1e-3)
    x2, g2 = x.reshape(-1, INPUTS), g.reshape(-1, OUTPUTS)
    wanted = {
        "output": product(output[0](x2), output[1](w).T),
        "input's gradient": product(to_input[0](g2), to_input[1](w)),
        "weight's gradient": product(to_weight[0](g2).T, to_weight[1](x2)),
    }
    unrounded = [product(x2, w.T), product(g2, w), product(g2.T, x2)]
    has_blocks = isinstance(scaling, BlockwiseScaling | MicroScaling)
    products = [exact_product] if has_blocks else OF_ONE_SCALE
    for multiply in products:
        values = three_products(x, w, g, scaling, multiply)
        for (name, expected), value, plain in zip(wanted.items(), values, unrounded, strict=True):
            error = np.abs(value.reshape(expected.shape) - expected).max()
            largest = np.abs(expected).max()
            assert error < SUM_TOLERANCE * largest, (name, multiply)
            assert np.abs(expected - plain).max() > 1e-3 * largest, f"{name}: nothing is rounded"


def three_products(
    x: np.ndarray, w: np.ndarray, g: np.ndarray, scaling: LayerScaling, multiply: Product
) -> list[np.ndarray]:
    """Output, input's gradient, weight's gradient."""
    input, weight = (torch.from_numpy(array).requires_grad_() for array in (x, w))
    rounded_weight = scaling.of_weight(weight.detach())
    found = RoundedProduct.apply(input, weight, rounded_weight, scaling, multiply)
    found.backward(torch.from_numpy(g))
    return [found.detach().numpy(), input.grad.numpy(), weight.grad.numpy()]


@pytest.mark.parametrize(
    "make",
    [
        partial(TensorwiseScaling, None),
        partial(DelayedScaling, 4, 0, torch.device("cpu")),
    ],
    ids=["tensorwise", "delayed"],
)
def test_operands_are_written_in_the_order_that_torch_takes(
    make: Callable[..., LayerScaling],
) -> None:
    """The left one by rows, the right one by columns: what is not would be copied. And the same is
    multiplied as where the order is left to the product."""
    orders = []

    def watched(left: Quantised, right: Quantised, *options: Any, **named: Any) -> torch.Tensor:
        columns = right.codes if right.codes_by_columns is None else right.codes_by_columns
        orders.append((left.codes.is_contiguous(), columns.t().is_contiguous()))
        return torch_product(left, right, *options, **named)

    rng = np.random.default_rng(1)
    x, w, g = (
        rng.standard_normal(shape).astype(np.float32)
        for shape in ((SEQUENCE, BATCH, INPUTS), (OUTPUTS, INPUTS), (SEQUENCE, BATCH, OUTPUTS))
    )
    found = three_products(x, w, g, make(in_both_orders=True), watched)
    assert orders == [(True, True)] * 3
    expected = three_products(x, w, g, make(), torch_product)
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


def product(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return left.astype(np.float64) @ right.astype(np.float64)
