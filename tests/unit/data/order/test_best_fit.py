import numpy as np
import pytest

from megatron_codemix.data.order.best_fit import BestFitOrder, describe_packing
from megatron_codemix.errors import DataError

SEQUENCE_LENGTH = 16
LENGTHS = np.random.default_rng(0).integers(0, 45, 200).astype(np.int32)
OFFSETS = np.cumsum(LENGTHS) - LENGTHS
NUM_TOKENS = int(LENGTHS.sum())


@pytest.fixture(scope="module")
def order() -> BestFitOrder:
    return BestFitOrder(LENGTHS, OFFSETS, SEQUENCE_LENGTH, key=7)


def rows_of(order: BestFitOrder, epoch: int) -> list[np.ndarray]:
    """The tokens (by their place in the shard) of each sample of an epoch."""
    n = order.samples_per_epoch
    parts = order.parts(np.arange(epoch * n, (epoch + 1) * n))
    assert (np.diff(parts.row) >= 0).all()
    pieces = [
        np.arange(first, first + length)
        for first, length in zip(parts.first, parts.length, strict=True)
    ]
    return [
        np.concatenate([piece for piece, of in zip(pieces, parts.row, strict=True) if of == row])
        for row in range(n)
    ]


@pytest.mark.parametrize("epoch", [0, 1, 5])
def test_each_token_is_a_label_once_an_epoch_and_a_row_opens_with_the_token_before(order, epoch):
    rows = rows_of(order, epoch)
    assert max(len(row) for row in rows) == SEQUENCE_LENGTH + 1
    labels = np.concatenate([row[1:] for row in rows])
    np.testing.assert_array_equal(np.sort(labels), np.arange(NUM_TOKENS))
    assert all(row[0] == (row[1] - 1) % NUM_TOKENS for row in rows)


def test_documents_that_fit_are_whole(order):
    documents = np.repeat(np.arange(len(LENGTHS)), LENGTHS)
    rows_that_hold = [set() for _ in LENGTHS]
    for number, row in enumerate(rows_of(order, 0)):
        for document in documents[row[1:]]:
            rows_that_hold[document].add(number)
    for length, rows in zip(LENGTHS, rows_that_hold, strict=True):
        assert len(rows) == -(-int(length) // SEQUENCE_LENGTH)


def test_epochs_have_the_same_rows_in_another_order(order):
    first, second = ([tuple(row) for row in rows_of(order, epoch)] for epoch in (0, 1))
    assert first != second
    assert sorted(first) == sorted(second)


def test_samples_do_not_depend_on_what_else_is_asked_for(order):
    n = order.samples_per_epoch
    cursors = np.array([2 * n + 1, 0, 3 * n - 1, n])
    together = order.parts(cursors)
    for row, cursor in enumerate(cursors):
        alone = order.parts(np.array([cursor]))
        is_row = together.row == row
        np.testing.assert_array_equal(together.first[is_row], alone.first)
        np.testing.assert_array_equal(together.length[is_row], alone.length)


def test_other_keys_give_other_orders(order):
    other = BestFitOrder(LENGTHS, OFFSETS, SEQUENCE_LENGTH, key=8)
    assert [tuple(r) for r in rows_of(other, 0)] != [tuple(r) for r in rows_of(order, 0)]


def test_finds_the_sample_of_a_token(order):
    for epoch in (0, 3):
        rows = rows_of(order, epoch)
        for token in (0, 1, 100, NUM_TOKENS - 1):
            cursor = order.cursor_of(epoch, token)
            assert token in rows[cursor - epoch * order.samples_per_epoch][1:]
    assert order.cursor_of(0, NUM_TOKENS) is None


def test_report_counts_padding_and_cut_documents(order):
    report = describe_packing(LENGTHS, SEQUENCE_LENGTH)
    rows = rows_of(order, 0)
    num_labels = sum(len(row) - 1 for row in rows)
    assert report.num_rows == len(rows)
    assert report.padding_share == pytest.approx(1 - num_labels / (len(rows) * SEQUENCE_LENGTH))
    assert report.num_documents == np.count_nonzero(LENGTHS)
    assert report.num_cut == np.count_nonzero(LENGTHS > SEQUENCE_LENGTH)
    # A window may start anywhere: the mean over all starts is exact.
    places = [np.arange(start, NUM_TOKENS, SEQUENCE_LENGTH) for start in range(SEQUENCE_LENGTH)]
    cut = [
        sum(
            np.any((place > begin) & (place < begin + n))
            for begin, n in zip(OFFSETS, LENGTHS, strict=True)
        )
        for place in places
    ]
    assert report.num_cut_if_concatenated == pytest.approx(np.mean(cut))


def test_refuses_documents_without_tokens():
    with pytest.raises(DataError, match="nothing to pack"):
        BestFitOrder(np.zeros(3, np.int32), np.zeros(3, np.int64), 16, key=1)
