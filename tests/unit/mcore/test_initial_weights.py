"""A block's numbers are its own, whoever draws it, and however many threads draw."""

import hashlib

import numpy as np
import pytest
import torch

from megatron_codemix.mcore.initial_weights import BLOCK_ELEMENTS, normal_rows

COLUMNS = 1000
BLOCK_ROWS = BLOCK_ELEMENTS // COLUMNS


@pytest.fixture(scope="module")
def matrix() -> np.ndarray:
    """Three blocks and a part of a fourth, one after the other as they are defined."""
    key = np.frombuffer(hashlib.sha256(b"7/a.weight").digest()[:16], dtype=np.uint64)
    blocks = [
        np.random.Generator(np.random.Philox(key=key, counter=[0, 0, block, 0])).standard_normal(
            (BLOCK_ROWS, COLUMNS), dtype=np.float32
        )
        for block in range(4)
    ]
    return np.concatenate(blocks)


@pytest.fixture(params=[1, 3])
def num_threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, BLOCK_ROWS),
        (0, 3 * BLOCK_ROWS + 5),
        (BLOCK_ROWS, 2 * BLOCK_ROWS),
        (BLOCK_ROWS - 1, 3 * BLOCK_ROWS + 1),
        (3, 9),
        (5, 5),
    ],
)
def test_rows_are_a_part_of_the_whole(matrix, num_threads, start, stop) -> None:
    rows = normal_rows(7, "a.weight", start, stop, COLUMNS)
    assert rows.dtype == np.float32
    assert np.array_equal(rows, matrix[start:stop])
