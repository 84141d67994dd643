"""Rows are read in spans: neighbours, each as far as the longest of them goes."""

import numpy as np
import pytest

from megatron_codemix.mcore.inference.cache import SPAN_ROWS, spans_of


@pytest.mark.parametrize("size", [1, SPAN_ROWS, SPAN_ROWS + 1, 64])
def test_spans_cover_each_row_once_as_far_as_it_goes(size: int) -> None:
    lengths = np.random.default_rng(size).integers(1, 500, size).tolist()
    spans = spans_of(lengths)
    covered = [row for rows, _ in spans for row in range(rows.start, rows.stop)]
    assert covered == list(range(size))
    assert all(end == max(lengths[rows]) for rows, end in spans)


def test_rows_of_nearly_one_length_are_one_span() -> None:
    assert spans_of([100] * 20 + [90] * 20) == [(slice(0, 40), 100)]


def test_a_long_row_is_not_what_short_ones_are_read_like() -> None:
    assert spans_of([400] + [100] * 15) == [(slice(0, 8), 400), (slice(8, 16), 100)]
