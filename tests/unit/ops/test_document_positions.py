import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference


def int64(*values):
    return np.array(values, np.int64)


def parts_of(source, row, length) -> ops.RowParts:
    return ops.RowParts(
        np.array(source, np.int16), int64(*row), np.zeros(len(row), np.int64), int64(*length)
    )


def filled(function, lengths, parts, document, offset, shape):
    document_ids, position_ids = np.full(shape, -5), np.full(shape, -5)
    function(lengths, parts, document, offset, document_ids, position_ids)
    return document_ids, position_ids


def random_case(rng, num_rows, width):
    """Document lengths of two sources, empty documents too, and parts that lie in them."""
    lengths = [rng.integers(0, 9, 40).astype(np.int32), rng.integers(0, 60, 7).astype(np.int32)]
    cases = []
    for row in range(num_rows):
        left = int(rng.integers(0, width + 2))
        while left and rng.random() < 0.9:
            source = int(rng.integers(2))
            owners = np.repeat(np.arange(len(lengths[source])), lengths[source])
            length = int(rng.integers(1, min(left, len(owners)) + 1))
            first = int(rng.integers(len(owners) - length + 1))
            document = int(owners[first])
            cases.append(
                (source, row, length, document, first - int(lengths[source][:document].sum()))
            )
            left -= length
    source, row, length, document, offset = np.array(cases, np.int64).reshape(-1, 5).T.copy()
    parts = ops.RowParts(source.astype(np.int16), row, np.zeros_like(row), length)
    return lengths, parts, document, offset


@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 80))
def test_equals_the_count_token_by_token(seed, width):
    case = random_case(np.random.default_rng(seed), 4, width)

    ours = filled(ops.fill_document_positions, *case, (4, width))

    expected = filled(reference.fill_document_positions, *case, (4, width))
    np.testing.assert_array_equal(ours[0], expected[0])
    np.testing.assert_array_equal(ours[1], expected[1])


def test_positions_restart_at_borders_and_at_the_start_of_a_row():
    lengths = [np.array([4, 3, 5], np.int32)]
    parts = parts_of([0, 0, 0], [0, 1, 1], [8, 2, 3])

    documents, positions = filled(
        ops.fill_document_positions, lengths, parts, int64(0, 2, 0), int64(2, 3, 0), (2, 7)
    )

    assert documents.tolist() == [[0, 0, 1, 1, 1, 2, 2], [2, 2, 0, 0, 0, -1, -1]]
    assert positions.tolist() == [[0, 1, 0, 1, 2, 0, 1], [0, 1, 0, 1, 2, 0, 1]]


def test_reads_lengths_at_an_odd_address():
    block = np.zeros(34 + 12, np.uint8)
    lengths = block[33:-1].view(np.int32)
    lengths[:] = [2, 1, 9]
    assert not lengths.flags.aligned

    documents, _ = filled(
        ops.fill_document_positions, [lengths], parts_of([0], [0], [5]), int64(0), int64(1), (1, 5)
    )

    assert documents.tolist() == [[0, 1, 2, 2, 2]]


@pytest.mark.parametrize(
    ("parts", "document", "offset", "problem"),
    [
        (parts_of([1], [0], [1]), 0, 0, "part 0 is of source 1 of 1"),
        (parts_of([0], [1], [1]), 0, 0, "part 0 is of row 1 of 1"),
        (parts_of([0], [0], [0]), 0, 0, "part 0 is 0 tokens from 0 on"),
        (parts_of([0], [0], [1]), 0, -1, "part 0 is 1 tokens from -1 on"),
        (parts_of([0], [0], [1]), -1, 0, "part 0 reaches document -1 of the 2 of source 0"),
        (parts_of([0], [0], [8]), 0, 0, "part 0 reaches document 2 of the 2 of source 0"),
        (parts_of([0], [0], [1]), 0, 5, "part 0 starts 5 tokens into document 0"),
    ],
)
def test_refuses_parts_outside_the_shard(parts, document, offset, problem):
    lengths = [np.array([4, 3], np.int32)]

    with pytest.raises(ValueError, match=problem):
        filled(ops.fill_document_positions, lengths, parts, int64(document), int64(offset), (1, 10))
