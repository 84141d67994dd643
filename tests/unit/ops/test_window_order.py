import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

KEY = 0x0123456789ABCDEF


def rows_of(parts) -> list[tuple[int, int, int]]:
    return list(zip(*(column.tolist() for column in parts), strict=True))


@given(
    num_tokens=st.integers(2, 4000),
    sequence_length=st.integers(1, 70),
    key=st.integers(0, 2**64 - 1),
    data=st.data(),
)
def test_equals_the_oracle(num_tokens, sequence_length, key, data):
    sequence_length = min(sequence_length, num_tokens - 1)
    order = ops.WindowOrder(num_tokens, sequence_length, key)
    epochs = st.integers(0, 4 * order.windows_per_epoch - 1)
    cursors = np.array(data.draw(st.lists(epochs, max_size=8)), np.int64)
    expected = reference.window_parts(cursors, num_tokens, sequence_length, key)
    assert rows_of(order.parts(cursors)) == expected


@pytest.mark.parametrize("num_tokens", [2**33 + 5, 15 * 10**12, 2**62])
def test_equals_the_oracle_on_streams_that_no_memory_holds(num_tokens):
    order = ops.WindowOrder(num_tokens, 2048, KEY)
    last = order.windows_per_epoch - 1
    cursors = np.array([0, 1, 999, last, last + 1, 2 * last + 2, 3 * last + 7], np.int64)
    expected = reference.window_parts(cursors, num_tokens, 2048, KEY)
    assert rows_of(order.parts(cursors)) == expected


@pytest.mark.parametrize(
    ("num_tokens", "sequence_length"), [(2, 1), (101, 10), (1000, 7), (65, 64)]
)
def test_an_epoch_reads_each_token_once_and_leaves_out_less_than_a_window(
    num_tokens, sequence_length
):
    order = ops.WindowOrder(num_tokens, sequence_length, KEY)
    n = order.windows_per_epoch
    left_out = []
    for epoch in range(40):
        times_read = np.zeros(num_tokens, np.int64)
        row, first, length = order.parts(np.arange(epoch * n, (epoch + 1) * n))
        assert np.array_equal(np.bincount(row, length), np.full(n, sequence_length + 1))
        for window in range(n):
            pieces = np.flatnonzero(row == window)
            tokens = np.concatenate([np.arange(first[p], first[p] + length[p]) for p in pieces])
            times_read[tokens[:-1]] += 1
        assert times_read.max() == 1
        assert 1 <= (times_read == 0).sum() <= sequence_length
        left_out.append(np.flatnonzero(times_read == 0))
    # Never the same tail: over the epochs, other tokens are left out.
    assert len({tuple(tokens) for tokens in left_out}) > min(num_tokens, 20) // 2


@pytest.mark.parametrize(("num_tokens", "sequence_length"), [(101, 10), (1000, 7), (600_000, 9)])
def test_cursor_of_finds_the_window_that_reads_a_token(num_tokens, sequence_length):
    order = ops.WindowOrder(num_tokens, sequence_length, KEY)
    rng = np.random.default_rng(0)
    none = 0
    for epoch in (0, 1, 5):
        for token in rng.integers(0, num_tokens, 150).tolist():
            cursor = order.cursor_of(epoch, token)
            if cursor is None:
                none += 1
                continue
            assert cursor // order.windows_per_epoch == epoch
            _, first, length = order.parts(np.array([cursor]))
            pieces = [range(f, f + n) for f, n in zip(first.tolist(), length.tolist(), strict=True)]
            tokens = [token for piece in pieces for token in piece]
            assert token in tokens[:-1]
    left_out = num_tokens - order.windows_per_epoch * sequence_length
    # 450 draws, each left out with that probability; six standard deviations and one.
    mean = 450 * left_out / num_tokens
    assert abs(none - mean) <= 6 * mean**0.5 + 1


def test_threads_may_share_one():
    order = ops.WindowOrder(5000, 3, KEY)
    n = order.windows_per_epoch
    batches = [np.arange(epoch * n, epoch * n + 200) for epoch in range(40)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(order.parts, batches * 5))
    for batch, result in zip(batches * 5, results, strict=True):
        alone = ops.WindowOrder(5000, 3, KEY).parts(batch)
        assert all(np.array_equal(a, b) for a, b in zip(result, alone, strict=True))


def test_a_copy_sent_to_another_process_reads_the_same():
    order = ops.WindowOrder(5000, 3, KEY)
    copy = pickle.loads(pickle.dumps(order))
    cursors = np.arange(9000, 9100)
    assert rows_of(copy.parts(cursors)) == rows_of(order.parts(cursors))


def test_no_cursors_are_no_parts():
    parts = ops.WindowOrder(5000, 3, KEY).parts(np.empty(0, np.int64))
    assert [(len(column), column.dtype) for column in parts] == [(0, np.int64)] * 3


@pytest.mark.parametrize(
    ("num_tokens", "sequence_length", "message"),
    [
        (10, 0, "sequence_length is 0"),
        (10, 10, "10 tokens; from sequence_length"),
        (2**62 + 1, 1, "to 2"),
    ],
)
def test_refuses_a_stream_without_windows(num_tokens, sequence_length, message):
    with pytest.raises(ValueError, match=message):
        ops.WindowOrder(num_tokens, sequence_length, KEY)


def test_refuses_what_no_window_is_called():
    order = ops.WindowOrder(100, 10, KEY)
    with pytest.raises(ValueError, match="cursor -1 is negative"):
        order.parts(np.array([3, -1]))
    with pytest.raises(TypeError):
        order.parts(np.array([3], np.int32))
    with pytest.raises(ValueError, match="token 100 is outside"):
        order.cursor_of(0, 100)
    with pytest.raises(ValueError, match="epoch -1"):
        order.cursor_of(-1, 0)
