from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from megatron_codemix import ops
from megatron_codemix.ops import reference

BLOCK_SHIFT = 4
FIRST_SAMPLE = 100


@dataclass
class Segment:
    """Sources of random tokens, in a random order that repeats, all of it known and checked."""

    arrays: list[np.ndarray]
    keys: list[int]
    cursors: list[int]
    known: ops.KnownPeriod
    sequence_length: int

    def sources(self, stop_cursor: int = 10**9) -> list[ops.WindowSource]:
        return [
            ops.WindowSource(
                number=number,
                order=ops.WindowOrder(len(array), self.sequence_length, key),
                first_cursor=cursor,
                stop_cursor=stop_cursor,
                is_checked=np.ones(-(-len(array) >> BLOCK_SHIFT) + 1, bool),
                block_shift=BLOCK_SHIFT,
            )
            for number, (array, key, cursor) in enumerate(
                zip(self.arrays, self.keys, self.cursors, strict=True)
            )
        ]

    def reader(self, *, draws=None, sources=None, stop_sample=None) -> ops.BatchReader:
        return ops.BatchReader(
            ops.TokenGather(self.arrays),
            draws or self.known,
            sources or self.sources(),
            first_sample=FIRST_SAMPLE,
            stop_sample=stop_sample,
        )

    def expected(self, source: int, draw: int) -> list[int]:
        array = self.arrays[source]
        cursors = np.array([self.cursors[source] + draw])
        parts = reference.window_parts(cursors, len(array), self.sequence_length, self.keys[source])
        return [token for _, first, n in parts for token in array[first : first + n].tolist()]


def make_segment(seed: int = 0, num_sources: int = 3, sequence_length: int = 9) -> Segment:
    rng = np.random.default_rng(seed)
    order = rng.integers(0, num_sources, 50).astype(np.int16)
    draws = np.array([(order[:place] == source).sum() for place, source in enumerate(order)])
    return Segment(
        arrays=[
            rng.integers(0, 60000, rng.integers(sequence_length + 1, 700)).astype(dtype)
            for dtype in rng.choice([np.uint16, np.int32], num_sources)
        ],
        keys=rng.integers(0, 2**62, num_sources).tolist(),
        cursors=rng.integers(0, 300, num_sources).tolist(),
        known=ops.KnownPeriod(
            order,
            draws.astype(np.int32),
            np.bincount(order, minlength=num_sources),
            np.ones(4, bool),
            4,
        ),
        sequence_length=sequence_length,
    )


def read(reader, samples, sequence_length):
    """(whether it was read, windows of sequence_length + 1, sources)."""
    tokens, labels = (np.full((len(samples), sequence_length), -5) for _ in range(2))
    source_ids = np.full(len(samples), -5, np.int16)
    is_read = reader.read(np.array(samples, np.int64), tokens, labels, source_ids)
    np.testing.assert_array_equal(tokens[:, 1:], labels[:, :-1])
    return is_read, np.column_stack([tokens, labels[:, -1]]), source_ids


@given(
    seed=st.integers(0, 2**32),
    num_sources=st.integers(1, 5),
    sequence_length=st.integers(1, 70),
    samples=st.lists(st.integers(FIRST_SAMPLE, 10**6), max_size=9),
)
def test_reads_the_windows_that_the_period_and_the_orders_name(
    seed, num_sources, sequence_length, samples
):
    segment = make_segment(seed, num_sources, sequence_length)
    is_read, windows, source_ids = read(segment.reader(), samples, sequence_length)
    assert is_read
    in_segment = np.array(samples, np.int64) - FIRST_SAMPLE
    numbers, draws = reference.locate_in_period(*segment.known[:3], in_segment)
    np.testing.assert_array_equal(source_ids, numbers)
    for row, number, draw in zip(windows.tolist(), numbers.tolist(), draws.tolist(), strict=True):
        assert row == segment.expected(number, draw)


def test_reads_the_windows_that_a_tree_names():
    segment = make_segment()
    units = np.array([[2**19, 2**18, 2**18], [2**18, 2**19, 2**18]])
    children = np.array([[~0, 1], [~1, ~2]], np.int32)
    samples = np.random.default_rng(1).integers(FIRST_SAMPLE, FIRST_SAMPLE + 700, 60)
    reader = segment.reader(draws=ops.SplitTree(units, 9, children))
    is_read, windows, source_ids = read(reader, samples, segment.sequence_length)
    assert is_read
    oracle = reference.SplitTree(units, 9, children, 700)
    for row, source, sample in zip(windows.tolist(), source_ids, samples.tolist(), strict=True):
        before, after = (oracle.counts(sample - FIRST_SAMPLE + more) for more in (0, 1))
        assert after[source] == before[source] + 1
        assert row == segment.expected(source, before[source])


def test_the_numbers_of_sources_are_the_gathers():
    """Of a segment that leaves out some of the mixture's sources."""
    segment = make_segment(num_sources=2)
    _, expected, numbers = read(segment.reader(), range(100, 120), 9)
    others = [np.zeros(1, np.uint16)] * 3
    places = [4, 1]
    arrays = [others[0], segment.arrays[1], *others[1:], segment.arrays[0]]
    sources = [
        source._replace(number=place)
        for source, place in zip(segment.sources(), places, strict=True)
    ]
    reader = ops.BatchReader(
        ops.TokenGather(arrays), segment.known, sources, first_sample=100, stop_sample=None
    )
    is_read, windows, source_ids = read(reader, range(100, 120), 9)
    assert is_read
    np.testing.assert_array_equal(windows, expected)
    assert source_ids.tolist() == [places[number] for number in numbers]


@pytest.mark.parametrize(
    ("sample", "is_read"), [(99, False), (100, True), (149, True), (150, False)]
)
def test_does_not_read_outside_the_segment(sample, is_read):
    segment = make_segment()
    assert read(segment.reader(stop_sample=150), [120, sample], 9)[0] == is_read


@pytest.mark.parametrize(
    ("sample", "is_read"), [(115, False), (116, True), (123, True), (124, False), (1166, True)]
)
def test_does_not_read_a_position_that_is_not_worked_out(sample, is_read):
    segment = make_segment()
    known = segment.known._replace(is_known=np.array([0, 0, 1, 0, 0, 0, 0], bool), block_shift=3)
    assert read(segment.reader(draws=known), [117, sample], 9)[0] == is_read


def test_does_not_read_past_a_cursor_that_it_is_told_to_stop_at():
    segment = make_segment(num_sources=1)
    reader = segment.reader(sources=segment.sources(stop_cursor=segment.cursors[0] + 5))
    assert read(reader, range(100, 105), 9)[0]
    assert not read(reader, [105], 9)[0]


def test_reads_blocks_only_once_they_are_checked():
    segment = make_segment(num_sources=1)
    (source,) = segment.sources()
    reader = segment.reader(sources=[source])
    for sample in range(100, 130):
        cursor = np.array([segment.cursors[0] + sample - FIRST_SAMPLE])
        _, first, length = source.order.parts(cursor)
        spans = zip(first.tolist(), length.tolist(), strict=True)
        touched = {token >> BLOCK_SHIFT for f, n in spans for token in range(f, f + n)}
        for block in range(len(source.is_checked)):
            source.is_checked[block] = False
            assert read(reader, [sample], 9)[0] == (block not in touched)
            source.is_checked[block] = True


def test_refuses_arrays_of_other_shapes_and_types():
    reader = make_segment().reader()
    samples, tokens, ids = np.arange(100, 102), np.zeros((2, 9), np.int64), np.zeros(2, np.int16)
    with pytest.raises(ValueError, match="2 samples, 3 rows of tokens, 2 of source_ids"):
        reader.read(samples, np.zeros((3, 9), np.int64), tokens, ids)
    with pytest.raises(ValueError, match="labels are 1 x 9, tokens 2 x 9"):
        reader.read(samples, tokens, tokens[:1], ids)
    with pytest.raises(ValueError, match="row 0 has more than 9 tokens"):
        reader.read(samples, tokens[:, :8].copy(), tokens[:, :8].copy(), ids)
    for wrong in (samples.astype(np.int32), samples.astype(np.float64)):
        with pytest.raises(TypeError):
            reader.read(wrong, tokens, tokens.copy(), ids)


def test_refuses_a_period_of_which_too_little_is_said():
    segment = make_segment()
    known = segment.known._replace(is_known=np.ones(3, bool))
    with pytest.raises(ValueError, match=r"a period of 50 does not lie in 3 blocks of 2\^4"):
        segment.reader(draws=known)
