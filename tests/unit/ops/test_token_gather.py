import os
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

FILL = 7


def columns(source, row, first, length) -> ops.RowParts:
    return ops.RowParts(
        np.array(source, np.int16),
        np.array(row, np.int64),
        np.array(first, np.int64),
        np.array(length, np.int64),
    )


def random_parts(rng, sizes, num_rows, width, longest) -> ops.RowParts:
    """Rows in random order, some without parts, some full, none too long."""
    parts = []
    for row in rng.permutation(num_rows).tolist():
        left = int(rng.integers(0, width + 1)) if rng.random() < 0.5 else width
        while left and rng.random() < 0.95:
            source = int(rng.integers(len(sizes)))
            length = int(rng.integers(1, min(left, sizes[source], longest) + 1))
            parts.append((source, row, int(rng.integers(sizes[source] - length + 1)), length))
            left -= length
    return columns(*zip(*parts, strict=True)) if parts else columns([], [], [], [])


def tokens_of(rng, dtype, size):
    return rng.integers(0, np.iinfo(dtype).max, size, dtype=dtype, endpoint=True)


def gathered(gather, parts, num_rows, length):
    # Not zeros: what is not written shows.
    tokens = np.full((num_rows, length), -5)
    labels = np.full((num_rows, length), -5)
    return tokens, labels, gather.tokens_and_labels(parts, tokens, labels, fill=FILL)


@pytest.mark.parametrize("longest", [3, 40, 5000])
@given(seed=st.integers(0, 2**32 - 1), length=st.integers(1, 1500))
def test_tokens_and_labels_are_the_window_and_the_window_one_later(longest, seed, length):
    rng = np.random.default_rng(seed)
    sizes = [5000, 6000, 3]
    kinds = (np.uint16, np.int32, np.uint16)
    arrays = [tokens_of(rng, kind, size) for kind, size in zip(kinds, sizes, strict=True)]
    parts = random_parts(rng, sizes, 5, length + 1, longest)

    tokens, labels, counts = gathered(ops.TokenGather(arrays), parts, 5, length)

    windows, expected_counts = reference.gather_windows(arrays, parts, 5, length + 1, FILL)
    np.testing.assert_array_equal(counts, expected_counts)
    np.testing.assert_array_equal(tokens, windows[:, :-1])
    np.testing.assert_array_equal(labels, windows[:, 1:])


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@given(seed=st.integers(0, 2**32 - 1), width=st.integers(1, 1500))
def test_windows_keep_the_dtype_of_the_sources(dtype, seed, width):
    rng = np.random.default_rng(seed)
    arrays = [tokens_of(rng, dtype, 4000), tokens_of(rng, dtype, 50)]
    parts = random_parts(rng, [4000, 50], 6, width, 3000)
    rows = np.full((6, width), 9, dtype)

    counts = ops.TokenGather(arrays).windows(parts, rows, fill=FILL)

    windows, expected_counts = reference.gather_windows(arrays, parts, 6, width, FILL)
    np.testing.assert_array_equal(rows, windows)
    np.testing.assert_array_equal(counts, expected_counts)


def test_reads_a_memory_map(tmp_path):
    path = tmp_path / "tokens.bin"
    np.arange(3000, dtype=np.uint16).tofile(path)
    gather = ops.TokenGather([np.memmap(path, np.uint16, "r")])

    tokens, labels, _ = gathered(gather, columns([0], [0], [2490], [510]), 1, 509)

    np.testing.assert_array_equal(tokens[0], np.arange(2490, 2999))
    np.testing.assert_array_equal(labels[0], np.arange(2491, 3000))


@pytest.mark.parametrize("num_threads", [2, 5])
def test_threads_change_nothing(num_threads):
    rng = np.random.default_rng(0)
    arrays = [tokens_of(rng, np.uint16, 100_000)]
    # 8 MB of tokens and labels: enough for every thread.
    parts = random_parts(rng, [100_000], 64, 8193, 9000)
    many = ops.TokenGather(arrays, num_threads=num_threads)

    for _ in range(3):
        for ours, alone in zip(
            gathered(many, parts, 64, 8192),
            gathered(ops.TokenGather(arrays), parts, 64, 8192),
            strict=True,
        ):
            np.testing.assert_array_equal(ours, alone)


def test_several_threads_may_gather_at_once():
    rng = np.random.default_rng(0)
    array = tokens_of(rng, np.uint16, 100_000)
    gather = ops.TokenGather([array], num_threads=2)
    parts = random_parts(rng, [100_000], 32, 8193, 9000)
    expected = gathered(gather, parts, 32, 8192)[0]
    results: list[bool] = []

    def work() -> None:
        results.extend(
            bool((gathered(gather, parts, 32, 8192)[0] == expected).all()) for _ in range(5)
        )

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 20


def test_a_forked_child_has_threads_of_its_own():
    rng = np.random.default_rng(0)
    array = tokens_of(rng, np.uint16, 100_000)
    gather = ops.TokenGather([array], num_threads=2)
    parts = random_parts(rng, [100_000], 32, 8193, 9000)
    expected = gathered(gather, parts, 32, 8192)[0]

    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = int(not (gathered(gather, parts, 32, 8192)[0] == expected).all())
            del gather
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        (columns([1], [0], [0], [1]), "part 0 is of source 1 of 1"),
        (columns([-1], [0], [0], [1]), "part 0 is of source -1 of 1"),
        (columns([0], [2], [0], [1]), "part 0 is of row 2 of 2"),
        (columns([0], [-1], [0], [1]), "part 0 is of row -1 of 2"),
        (columns([0], [0], [95], [6]), "part 0 is 6 tokens from 95 on, of the 100 of source 0"),
        (columns([0], [0], [-1], [5]), "part 0 is 5 tokens from -1 on"),
        (columns([0], [0], [2**63 - 1], [5]), "part 0 is 5 tokens from 9223372036854775807 on"),
        (columns([0], [0], [5], [2**63 - 1]), "part 0 is 9223372036854775807 tokens from 5 on"),
        (columns([0], [0], [0], [0]), "part 0 is 0 tokens"),
        (columns([0], [0], [0], [12]), "row 0 has more than 11 tokens"),
        (columns([0, 0], [1, 1], [0, 0], [6, 6]), "row 1 has more than 11 tokens"),
        (columns([0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]), "row 0 are not neighbours"),
    ],
)
def test_refuses_parts_outside_the_arrays_or_the_rows(parts, problem):
    gather = ops.TokenGather([np.zeros(100, np.uint16)])
    tokens, labels = np.full((2, 10), -5), np.full((2, 10), -5)
    rows = np.full((2, 11), 5, np.uint16)

    with pytest.raises(ValueError, match=problem):
        gather.tokens_and_labels(parts, tokens, labels, fill=0)
    with pytest.raises(ValueError, match=problem):
        gather.windows(parts, rows, fill=0)

    assert (tokens == -5).all()
    assert (labels == -5).all()
    assert (rows == 5).all()


def test_refuses_columns_of_different_lengths():
    gather = ops.TokenGather([np.zeros(100, np.uint16)])
    parts = columns([0, 0], [0, 0], [0, 0], [1])

    with pytest.raises(ValueError, match="2 sources, 2 rows, 2 firsts and 1 lengths"):
        gathered(gather, parts, 1, 10)


def test_refuses_buffers_of_another_shape_or_dtype():
    gather = ops.TokenGather([np.zeros(100, np.uint16)])
    parts = columns([0], [0], [0], [11])
    read_only = np.zeros((1, 10), np.int64)
    read_only.flags.writeable = False

    with pytest.raises(ValueError, match="labels are 1 x 9, tokens 1 x 10"):
        gather.tokens_and_labels(
            parts, np.zeros((1, 10), np.int64), np.zeros((1, 9), np.int64), fill=0
        )
    with pytest.raises(ValueError, match="tokens has 1 dimensions"):
        gather.tokens_and_labels(parts, np.zeros(10, np.int64), np.zeros(10, np.int64), fill=0)
    with pytest.raises(ValueError, match="not writeable"):
        gather.tokens_and_labels(parts, read_only, np.zeros((1, 10), np.int64), fill=0)
    with pytest.raises(TypeError):
        gather.tokens_and_labels(parts, np.zeros((1, 10)), np.zeros((1, 10), np.int64), fill=0)
    with pytest.raises(TypeError):
        gather.tokens_and_labels(
            parts, np.zeros((1, 10), np.int64), np.zeros((1, 20), np.int64)[:, ::2], fill=0
        )
    with pytest.raises(ValueError, match="tokens of 2 bytes, the rows of 4"):
        gather.windows(parts, np.zeros((1, 11), np.int32), fill=0)


@pytest.mark.parametrize("array", [np.zeros(4), np.zeros(4, np.uint8), np.zeros(8, np.uint16)[::2]])
def test_refuses_token_arrays_that_it_cannot_read_in_place(array):
    with pytest.raises(TypeError, match="contiguous numpy arrays of uint16 or int32"):
        ops.TokenGather([array])


def test_refuses_to_work_without_a_thread():
    with pytest.raises(ValueError, match="num_threads is 0"):
        ops.TokenGather([np.zeros(4, np.uint16)], num_threads=0)
