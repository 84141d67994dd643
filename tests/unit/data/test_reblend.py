"""Whatever happens to a mixture, each source is read in its order, without a gap or a repeat."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.batches import samples_of_step
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import MixturePlan, constant_plan, constant_segment
from megatron_codemix.data.order.stateless import StatelessOrder, source_key
from megatron_codemix.data.source import SourceSpec
from tests.helpers.shards import write_random_shard

SEQUENCE_LENGTH = 16
SEED = 7
GLOBAL_BATCH = 8
# 30 steps of 8 samples go round the smallest source's epoch several times.
SIZES = {"code": 60, "markup": 25, "text": 90}


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[SourceSpec]:
    folder: Path = tmp_path_factory.mktemp("sources")
    return [
        SourceSpec(name, write_random_shard(folder / name, num_documents=number, seed=number))
        for name, number in SIZES.items()
    ]


WEIGHTS = st.dictionaries(st.sampled_from(sorted(SIZES)), st.integers(1, 20), min_size=1)
# (what happens after these many steps, how many ranks read from then on)
EVENTS = st.tuples(
    st.integers(1, 6), st.sampled_from([1, 2, 4, 8]), st.none() | WEIGHTS, st.booleans()
)


class History:
    """What a chain of phases has read, step by step, each step on all of its ranks."""

    def __init__(self, sources: list[SourceSpec]) -> None:
        self.sources = sources
        self.read: dict[str, dict[int, np.ndarray]] = {name: {} for name in SIZES}
        self.cursors: dict[str, int] = {}
        self.num_reads = 0

    def start_phase(self, weights: dict[str, int]) -> None:
        self.plan, self.step = constant_plan(weights), 0
        self.open()

    def open(self) -> None:
        """As a process does that starts or starts again."""
        self.dataset = MixtureDataset(
            self.sources,
            self.plan,
            sequence_length=SEQUENCE_LENGTH,
            seed=SEED,
            start_cursors=self.cursors,
        )

    def change_mixture(self, weights: dict[str, int]) -> None:
        """From the next step on, within the phase."""
        last = self.plan.segments[-1]
        now = self.step * GLOBAL_BATCH
        cut = replace(last, num_samples=now - last.first_sample)
        self.plan = MixturePlan(
            (*self.plan.segments[:-1], cut, constant_segment(weights, first_sample=now))
        )
        self.open()

    def end_phase(self, weights: dict[str, int]) -> None:
        self.cursors = self.dataset.cursors_after(self.step * GLOBAL_BATCH)
        self.start_phase(weights)

    def run(self, num_steps: int, world_size: int) -> None:
        for _ in range(num_steps):
            for rank in range(world_size):
                for samples in samples_of_step(self.step, GLOBAL_BATCH, rank, world_size, 1):
                    batch = self.dataset.batch(samples)
                    for sample, tokens in zip(samples, batch.tokens, strict=True):
                        name, cursor = self.dataset.locate(sample)
                        assert self.dataset.source_names[batch.source_id[0]] == name
                        self.read[name][cursor] = tokens.copy()
                        self.num_reads += 1
            self.step += 1


def expected_tokens(spec: SourceSpec, cursor: int) -> np.ndarray:
    """Straight from the file: the shard as a circle, read where the order says."""
    tokens = np.fromfile(spec.prefix.with_suffix(".bin"), np.uint16)
    order = StatelessOrder(len(tokens), SEQUENCE_LENGTH, source_key(SEED, spec.name))
    start = int(order.parts(np.array([cursor])).first[0])
    return np.take(tokens, np.arange(start, start + SEQUENCE_LENGTH), mode="wrap")


@settings(max_examples=60, deadline=None)
@given(WEIGHTS, st.lists(EVENTS, min_size=1, max_size=7))
def test_every_source_gives_a_prefix_of_its_order(sources, weights, events):
    """Over any history of re-blends, phases, restarts and numbers of ranks."""
    history = History(sources)
    history.start_phase(weights)
    for num_steps, world_size, new_weights, is_new_phase in events:
        history.run(num_steps, world_size)
        if new_weights is None:
            history.open()  # killed, and started again
        elif is_new_phase:
            history.end_phase(new_weights)
        else:
            history.change_mixture(new_weights)
    assert history.num_reads == sum(len(rows) for rows in history.read.values())
    for spec in sources:
        rows = history.read[spec.name]
        assert sorted(rows) == list(range(len(rows)))
        for cursor, tokens in rows.items():
            np.testing.assert_array_equal(tokens, expected_tokens(spec, cursor))


def test_a_source_that_comes_back_goes_on_where_it_stood(sources):
    history = History(sources)
    history.start_phase({"code": 1, "text": 1})
    history.run(3, 2)
    stood = history.dataset.cursors_after(3 * GLOBAL_BATCH)["code"]
    history.change_mixture({"text": 1})
    history.run(2, 4)
    history.change_mixture({"code": 1})
    assert history.dataset.locate(5 * GLOBAL_BATCH) == ("code", stood)
