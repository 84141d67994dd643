"""Scales by hand, tiles against loops in numpy, the history against what it has to remember."""

from typing import Any

import numpy as np
import pytest
import torch

from megatron_codemix.mcore.fp8 import scaling as rules
from megatron_codemix.mcore.fp8.formats import E4M3, E5M2
from megatron_codemix.mcore.fp8.scaling import (
    BlockwiseScaling,
    DelayedScaling,
    MicroScaling,
    TensorwiseScaling,
    micro_scale_of,
    rounded_alone,
    scale_of,
)
from tests.unit.mcore.fp8 import restated

CPU = torch.device("cpu")
LARGEST_FP32 = float(np.finfo(np.float32).max)


@pytest.mark.parametrize(
    ("maximum", "expected", "power_of_two"),
    [
        (448.0, 1.0, 1.0),
        (1.0, 448.0, 256.0),
        (3.5, 128.0, 128.0),
        (3.0, np.float32(448) / np.float32(3), 128.0),
        (1000.0, np.float32(0.448), 0.25),
        (0.0, 1.0, 1.0),
        (float("inf"), 1.0, 1.0),
        (float("nan"), 1.0, 1.0),
        (1e-37, LARGEST_FP32, 2.0**127),
    ],
)
def test_scales_by_hand(maximum: float, expected: float, power_of_two: float) -> None:
    found = torch.tensor(maximum)
    assert scale_of(found, E4M3).item() == expected
    assert scale_of(found, E4M3, power_of_two=True).item() == power_of_two


def test_gradients_have_the_wider_format() -> None:
    assert scale_of(torch.tensor(2.0), E5M2).item() == 28672.0


def matrix(rows: int, columns: int) -> torch.Tensor:
    """bf16, with rows and columns of very different sizes, and a tile of zeros."""
    rng = np.random.default_rng(rows)
    sizes = 10.0 ** rng.uniform(-4, 3, (rows, 1)) * 10.0 ** rng.uniform(-2, 2, (1, columns))
    values = rng.standard_normal((rows, columns)) * sizes
    values[:, :128] = 0
    return torch.from_numpy(values).bfloat16()


def test_tensorwise_is_one_scale_in_each_format() -> None:
    values = matrix(64, 192)
    scaling, plain = TensorwiseScaling(None), values.float().numpy()
    for found, table in (
        (*scaling.of_input(values)[:1], restated.E4M3),
        (*scaling.of_weight(values)[:1], restated.E4M3),
        (*scaling.of_gradient(values)[1:], restated.E5M2),
    ):
        np.testing.assert_array_equal(found.values(), restated.tensorwise(plain, table))


def test_tensorwise_takes_one_call_where_no_rank_shares_the_tensor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []

    def counted(*arguments: Any) -> Any:
        calls.append(arguments)
        return rounded_alone.as_written(*arguments)

    monkeypatch.setattr(rules, "rounded_alone", counted)
    for other in ("absolute_maximum", "rounded_to_range"):
        monkeypatch.setattr(rules, other, None)
    TensorwiseScaling(None).of_input(matrix(64, 192))
    assert len(calls) == 1


@pytest.mark.parametrize("shape", [(128, 256), (256, 384), (200, 300)])
def test_blockwise_tiles_lie_along_what_a_product_sums_over(shape: tuple[int, int]) -> None:
    values, scaling = matrix(*shape), BlockwiseScaling()
    plain = values.float().numpy()
    over_features, over_tokens = (
        restated.blockwise(plain, 1, 128),
        restated.blockwise(plain, 128, 1),
    )
    for of in (scaling.of_input, scaling.of_gradient):
        first, second = of(values)
        np.testing.assert_array_equal(first.values(), over_features)
        np.testing.assert_array_equal(second.values(), over_tokens)
    for squares in scaling.of_weight(values):
        np.testing.assert_array_equal(squares.values(), restated.blockwise(plain, 128, 128))
    assert not np.array_equal(over_features, over_tokens)


@pytest.mark.parametrize("shape", [(64, 256), (40, 300)])
def test_microscaled_blocks_lie_along_what_a_product_sums_over(shape: tuple[int, int]) -> None:
    values, scaling = matrix(*shape), MicroScaling()
    plain = values.float().numpy()
    over_rows, over_columns = (
        restated.microscaled(plain, 1, 32),
        restated.microscaled(plain, 32, 1),
    )
    for of in (scaling.of_input, scaling.of_weight, scaling.of_gradient):
        first, second = of(values)
        np.testing.assert_array_equal(first.values(), over_rows)
        np.testing.assert_array_equal(second.values(), over_columns)
    assert not np.array_equal(over_rows, over_columns)


@pytest.mark.parametrize(
    ("maximum", "expected"),
    [
        (448.0, 1.0),
        (450.0, 0.5),
        (256.0, 1.0),
        (224.0, 2.0),
        (1.0, 256.0),
        (3e38, 2.0**-120),
        (1e-30, 2.0**108),
        (1e-36, 1.0),
        (0.0, 1.0),
        (float("inf"), 1.0),
        (float("nan"), 1.0),
    ],
)
def test_microscales_by_hand(maximum: float, expected: float) -> None:
    """The scale is rounded so that the maximum stays within 448; E8M0 ends at 2^-127."""
    assert micro_scale_of(torch.tensor(maximum), E4M3).item() == expected


def test_no_maximum_is_brought_beyond_the_format_or_below_its_half() -> None:
    maxima = torch.logspace(-30, 38, 20_000).bfloat16().float()
    brought = maxima * micro_scale_of(maxima, E4M3)
    assert brought.max() <= 448
    assert brought.min() > 224


def test_delayed_scale_is_of_the_steps_before() -> None:
    scaling = DelayedScaling(history_length=2, margin=1, device=CPU)
    inputs = [torch.tensor([[maximum, -0.1]]) for maximum in (7.0, 2.0, 2.0, 0.0, torch.inf, 1.0)]
    used = []
    for values in inputs:
        used.append(1 / scaling.of_input(values)[0].inverse_scale.item())
        scaling.finish_step(scaling.maxima)
    # 448 / 2 / the largest of the two maxima before; as it was where that is not finite.
    assert used == pytest.approx([1, 32, 32, 112, 112, 112], rel=1e-6)
    scaling.finish_step(scaling.maxima)
    assert scaling.scale[0].item() == 224.0, "1.0 and 0: what was not finite is forgotten"


def test_each_delayed_scale_begins_where_a_kernel_may_expect_it() -> None:
    """16 bytes apart, first, after a step and after a load; a checkpoint holds three numbers."""

    def begin_well(scaling: DelayedScaling) -> bool:
        return all(scaling.scale[role].data_ptr() % 16 == 0 for role in range(3))

    scaling, other = (DelayedScaling(history_length=2, margin=0, device=CPU) for _ in range(2))
    assert begin_well(scaling)
    scaling.finish_step(torch.tensor([2.0, 4.0, 8.0]))
    assert begin_well(scaling)
    state = scaling.state()
    assert state["scale"].tolist() == [224, 112, 7168]
    assert state["scale"].untyped_storage().nbytes() == 12
    other.load_state({"scale": torch.tensor([224.0, 112, 7168]), "history": state["history"]})
    assert begin_well(other)
    assert other.scale.tolist() == scaling.scale.tolist()
    assert other.history.tolist() == [[0, 2], [0, 4], [0, 8]]
    other.load_state({"scale": torch.ones(3), "history": torch.zeros(3, 5)})
    assert other.scale.tolist() == scaling.scale.tolist(), "a history of another length"


def test_delayed_scaling_keeps_the_largest_of_a_steps_microbatches_by_role() -> None:
    scaling = DelayedScaling(history_length=4, margin=0, device=CPU)
    for maximum in (2.0, 8.0, 4.0):
        scaling.of_input(torch.full((2, 2), maximum))
        scaling.of_gradient(torch.full((2, 2), -3 * maximum))
    scaling.of_weight(torch.full((2, 2), 0.5))
    assert scaling.maxima.tolist() == [8.0, 0.5, 24.0]
    scaling.finish_step(torch.tensor([16.0, 0.5, 24.0]))  # another rank had 16
    expected = [448 / 16, 448 / 0.5, np.float32(57344) / np.float32(24)]
    assert scaling.scale.tolist() == expected
    assert scaling.history[:, -1].tolist() == [16.0, 0.5, 24.0]
    assert scaling.maxima.tolist() == [0, 0, 0]
