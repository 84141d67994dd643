"""A batch is the same whether it is put together step by step or read in one call."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.mixture import Mixture
from megatron_codemix.data.mixture.plan import (
    MixturePlan,
    constant_plan,
    constant_segment,
    megatron_plan,
)
from megatron_codemix.data.mixture.split_tree import best_tree, units_of
from megatron_codemix.data.mixture.weights import WEIGHT_UNITS, quantise_weights
from megatron_codemix.data.order.stateless import StatelessOrder, source_key
from megatron_codemix.data.source import SourceSpec
from tests.helpers.shards import write_random_shard

SEED = 5
DTYPES = {"code": np.uint16, "markup": np.int32, "text": np.uint16}
NAMES = sorted(DTYPES)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[SourceSpec]:
    folder = tmp_path_factory.mktemp("sources")
    return [
        SourceSpec(name, write_random_shard(folder / name, seed=seed, dtype=dtype))
        for seed, (name, dtype) in enumerate(DTYPES.items())
    ]


def units(shares: list[int]) -> dict[str, int]:
    total = sum(shares)
    return quantise_weights({name: n / total for name, n in zip(NAMES, shares, strict=True)})


def varying_segment(first, num_samples, start, end):
    """On a straight line from some units to others over 64 samples."""
    segment = replace(
        constant_segment(start, first, num_samples),
        method="split-tree",
        knots=((0, start), (64, end)),
    )
    return replace(segment, tree=best_tree(segment.source_names, units_of(segment))[0])


SHARES = st.lists(st.integers(1, 30), min_size=3, max_size=3)
LENGTHS = st.integers(1, 90)


@st.composite
def plans(draw) -> MixturePlan:
    """Segments of constant and of varying weights; some leave a source out."""
    segments, first = [], 0
    for _ in range(draw(st.integers(1, 4))):
        length = draw(LENGTHS)
        if draw(st.booleans()):
            weights = units(draw(SHARES))
            if draw(st.booleans()):
                weights = {"text": weights["text"], "code": WEIGHT_UNITS - weights["text"]}
            segments.append(constant_segment(weights, first, length))
        else:
            start, end = units(draw(SHARES)), units(draw(SHARES))
            segments.append(varying_segment(first, length, start, end))
        first += length
    segments[-1] = replace(segments[-1], num_samples=None)
    return MixturePlan(tuple(segments))


def expected_windows(dataset, sources, samples, sequence_length) -> np.ndarray:
    """From the files: each shard as a circle, read where the order says."""
    files = {
        spec.name: np.fromfile(spec.prefix.with_suffix(".bin"), DTYPES[spec.name])
        for spec in sources
    }
    windows = []
    for sample in samples:
        name, cursor = dataset.locate(sample)
        tokens = files[name]
        order = StatelessOrder(len(tokens), sequence_length, source_key(SEED, name))
        start = int(order.parts(np.array([cursor])).first[0])
        windows.append(tokens.take(np.arange(start, start + sequence_length + 1), mode="wrap"))
    return np.array(windows, np.int64)


@settings(max_examples=60, deadline=None)
@given(
    plan=plans(),
    sequence_length=st.sampled_from([1, 7, 60]),
    cursors=st.fixed_dictionaries({name: st.integers(0, 500) for name in NAMES}),
    first=st.integers(0, 400),
    world_size=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_batches_are_the_orders_windows_whatever_was_read_before(
    sources, plan, sequence_length, cursors, first, world_size, seed
):
    """Resumed at any sample, over the borders of segments and epochs, by any ranks, twice."""
    dataset = MixtureDataset(
        sources, plan, sequence_length=sequence_length, seed=SEED, start_cursors=cursors
    )
    samples = np.arange(first, first + 120)
    expected = expected_windows(dataset, sources, samples.tolist(), sequence_length)
    rng = np.random.default_rng(seed)
    for _ in range(2):
        for rank in rng.permutation(world_size).tolist():
            for rows in np.split(np.arange(rank, 120, world_size), 120 // world_size // 6):
                batch = dataset.batch(samples[rows])
                windows = np.column_stack([batch.tokens, batch.labels[:, -1]])
                np.testing.assert_array_equal(windows, expected[rows])
                np.testing.assert_array_equal(batch.labels[:, :-1], batch.tokens[:, 1:])
                names = [dataset.locate(sample)[0] for sample in samples[rows].tolist()]
                assert [dataset.source_names[n] for n in batch.source_id] == names


def test_what_is_known_and_checked_is_read_without_a_look_at_the_mixture(sources, monkeypatch):
    dataset = MixtureDataset(
        sources, constant_plan(units([1, 2, 3])), sequence_length=16, seed=SEED
    )
    expected = dataset.batch(range(60))
    asked = []
    monkeypatch.setattr(Mixture, "locate_many", lambda self, samples: asked.append(samples))
    batch = dataset.batch(range(60))
    assert asked == []
    for name in ("tokens", "labels", "source_id"):
        np.testing.assert_array_equal(getattr(batch, name), getattr(expected, name))


def test_a_batch_with_documents_is_never_read_without_them(sources):
    plan = constant_plan(units([1, 2, 3]))
    plain = MixtureDataset(sources, plan, sequence_length=16, seed=SEED)
    masked = MixtureDataset(sources, plan, sequence_length=16, seed=SEED, document_mask=True)
    for _ in range(2):
        expected, batch = plain.batch(range(30)), masked.batch(range(30))
        np.testing.assert_array_equal(batch.tokens, expected.tokens)
        assert (batch.document_ids >= 0).all()
        assert (batch.position_ids != expected.position_ids).any()


def test_megatrons_order_reads_as_before_the_second_time(sources):
    plan = megatron_plan({"code": 0.3, "markup": 0.2, "text": 0.5}, 200)
    dataset = MixtureDataset(sources, plan, sequence_length=16, seed=SEED)
    first, second = (dataset.batch(range(200)) for _ in range(2))
    np.testing.assert_array_equal(first.tokens, second.tokens)
    np.testing.assert_array_equal(first.source_id, second.source_id)
