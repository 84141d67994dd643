"""The formats against their definition, rounding against a search for the nearest number."""

import numpy as np
import pytest
import torch

from megatron_codemix.mcore.fp8.formats import E4M3, E5M2, Format, quantise
from tests.unit.mcore.fp8 import restated

FORMATS = pytest.mark.parametrize(
    ("format_", "table"), [(E4M3, restated.E4M3), (E5M2, restated.E5M2)], ids=["e4m3", "e5m2"]
)
ONE = torch.tensor(1.0)


@FORMATS
def test_codes_stand_for_the_numbers_of_the_definition(format_: Format, table: np.ndarray) -> None:
    codes = torch.arange(256, dtype=torch.uint8).view(format_.dtype)
    np.testing.assert_array_equal(codes.double().numpy(), table)
    assert format_.maximum == table[np.isfinite(table)].max()


@FORMATS
def test_every_number_of_a_format_is_kept(format_: Format, table: np.ndarray) -> None:
    finite = table[np.isfinite(table)].astype(np.float32)
    kept = quantise(torch.from_numpy(finite), ONE, format_).values()
    np.testing.assert_array_equal(kept.numpy(), finite)


@FORMATS
def test_numbers_become_the_nearest_and_ties_the_even_one(
    format_: Format, table: np.ndarray
) -> None:
    grid = np.unique(np.abs(table[np.isfinite(table)]))
    middles = (grid[1:] + grid[:-1]) / 2  # exact in fp32, as are their neighbours
    around = [np.nextafter(middles.astype(np.float32), to) for to in (np.float32(0), np.inf)]
    random = np.random.default_rng(0).standard_normal(4000) * np.repeat(
        10.0 ** np.arange(-8, 8), 250
    )
    numbers = np.concatenate([middles, *around, random, -middles]).astype(np.float32)
    numbers = numbers[np.abs(numbers) <= format_.maximum]
    found = quantise(torch.from_numpy(numbers), ONE, format_).values().numpy()
    np.testing.assert_array_equal(found, restated.nearest(numbers.astype(np.float64), table))


@FORMATS
def test_what_is_too_large_becomes_the_largest(format_: Format, table: np.ndarray) -> None:
    numbers = torch.tensor([1e9, -1e9, torch.inf, format_.maximum * 1.001, torch.nan])
    found = quantise(numbers, ONE, format_).values().tolist()
    largest = format_.maximum
    assert found[:4] == [largest, -largest, largest, largest]
    assert np.isnan(found[4])
