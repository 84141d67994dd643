from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import MixturePlan, megatron_plan
from megatron_codemix.data.order.megatron import MegatronBlend, MegatronOrder
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.errors import ConfigError, DataError
from tests.helpers.megatron_core import import_megatron

VOCABULARY_SIZE = 5000
SEED = 1234
SEQUENCE_LENGTH = 16


class MegatronTokenizer:
    vocab_size = VOCABULARY_SIZE
    eod = 0
    pad = VOCABULARY_SIZE + 1
    unique_identifiers = {"class": "test"}


@pytest.fixture(scope="module")
def megatron():
    """megatron-core's datasets."""
    blended = import_megatron("megatron.core.datasets.blended_megatron_dataset_builder")
    gpt_dataset = import_megatron("megatron.core.datasets.gpt_dataset")

    class Modules:
        Builder = blended.BlendedMegatronDatasetBuilder
        GPTDataset = gpt_dataset.GPTDataset
        GPTDatasetConfig = gpt_dataset.GPTDatasetConfig
        IndexedDataset = gpt_dataset.IndexedDataset
        Split = gpt_dataset.Split

    return Modules


def write_shard(prefix: Path, num_documents: int, longest: int, dtype=np.uint16) -> Path:
    """Documents of 1 to `longest` random tokens, an end-of-document token included."""
    rng = np.random.default_rng(num_documents)
    with TokenShardWriter(prefix, dtype) as writer:
        for _ in range(num_documents):
            tokens = rng.integers(1, VOCABULARY_SIZE, rng.integers(1, longest + 1))
            tokens[-1] = 0
            writer.add_document(tokens)
        writer.finish(
            source=prefix.name,
            split="train",
            tokenizer_hash="t" * 64,
            vocabulary_size=VOCABULARY_SIZE if dtype == np.uint16 else 70_000,
            end_of_document_id=0,
            num_bytes=0,
            licences={},
            origin={},
        )
    return prefix


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory) -> list[Path]:
    """Five shards; the fourth is int32, the last holds a few samples only."""
    folder = tmp_path_factory.mktemp("shards")
    shapes = [(60, 40), (25, 90), (90, 7), (40, 30), (6, 25)]
    dtypes = [np.uint16, np.uint16, np.uint16, np.int32, np.uint16]
    return [
        write_shard(folder / f"source{number}", *shape, dtype=dtype)
        for number, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True))
    ]


def megatron_config(megatron, cache: Path | None, sequence_length: int, **fields):
    return megatron.GPTDatasetConfig(
        random_seed=SEED,
        sequence_length=sequence_length,
        split="1",
        path_to_cache=cache and str(cache),
        tokenizer=MegatronTokenizer(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
        **fields,
    )


def megatron_dataset(
    megatron, prefix: Path, cache: Path, num_samples, sequence_length, split="train", **fields
):
    indexed = megatron.IndexedDataset(str(prefix))
    documents = np.arange(len(indexed), dtype=np.int32)
    config = megatron_config(megatron, cache, sequence_length, **fields)
    return megatron.GPTDataset(
        indexed, str(prefix), documents, num_samples, megatron.Split[split], config
    )


def megatron_blend(megatron, prefixes: list[Path], weights, num_samples: int):
    """The training split, as Megatron-LM's pretrain_gpt.py builds it.

    Without a folder for the cache: with one, BlendedDataset wants process groups.
    """
    blend = ([str(prefix) for prefix in prefixes], [float(weight) for weight in weights])
    config = megatron_config(megatron, None, SEQUENCE_LENGTH, blend=blend)
    builder = megatron.Builder(megatron.GPTDataset, [num_samples, 0, 0], lambda: True, config)
    return builder.build()[0]


def order_of(prefix: Path, num_samples, sequence_length, **arguments) -> MegatronOrder:
    shard = TokenShard.open(prefix)
    return MegatronOrder(
        shard.lengths,
        shard.offsets,
        sequence_length=sequence_length,
        seed=SEED,
        num_samples=num_samples,
        **arguments,
    )


def rows_read(prefix: Path, order: MegatronOrder, cursors) -> list[np.ndarray]:
    """The tokens of each sample, the last label included."""
    shard = TokenShard.open(prefix)
    parts = order.parts(np.asarray(cursors, np.int64))
    rows: list[list[np.ndarray]] = [[] for _ in range(len(cursors))]
    for row, first, length in zip(
        parts.row.tolist(), parts.first.tolist(), parts.length.tolist(), strict=True
    ):
        rows[row].append(shard.tokens(first, first + length))
    return [np.concatenate(row) for row in rows]


def assert_indices_equal(order: MegatronOrder, theirs) -> None:
    for name in ("document_index", "sample_index", "shuffle_index"):
        ours, expected = getattr(order, name), getattr(theirs, name)
        assert ours.dtype == expected.dtype, name
        np.testing.assert_array_equal(ours, expected, err_msg=name)


def assert_samples_equal(prefix: Path, order: MegatronOrder, theirs) -> None:
    assert order.available == len(theirs)
    for ours, sample in zip(rows_read(prefix, order, np.arange(len(theirs))), theirs, strict=True):
        np.testing.assert_array_equal(ours[:-1], sample["tokens"])
        np.testing.assert_array_equal(ours[1:], sample["labels"])


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("sequence_length", [2, SEQUENCE_LENGTH, 61])
@pytest.mark.parametrize("epochs", [None, 0.3, 1.0, 1.1, 1.9, 2.0, 4.5])
def test_equals_gpt_dataset(megatron, prefixes, tmp_path, number, sequence_length, epochs):
    prefix = prefixes[number]
    per_epoch = (TokenShard.open(prefix).num_tokens - 1) // sequence_length
    num_samples = None if epochs is None else round(epochs * per_epoch)
    if per_epoch == 0:
        with pytest.raises(DataError, match="less than one sample"):
            order_of(prefix, num_samples, sequence_length)
        return
    order = order_of(prefix, num_samples, sequence_length)
    theirs = megatron_dataset(megatron, prefix, tmp_path, num_samples, sequence_length)
    assert order.samples_per_epoch == per_epoch
    assert_indices_equal(order, theirs)
    assert_samples_equal(prefix, order, theirs)


def test_the_last_epoch_is_shuffled_by_itself_just_below_its_threshold(
    megatron, prefixes, tmp_path
):
    """Around 80% of the last epoch, one sample decides; both sides of it equal megatron-core's."""
    per_epoch = order_of(prefixes[0], None, SEQUENCE_LENGTH).samples_per_epoch
    is_separate = []
    for num_samples in range(per_epoch + 1, 2 * per_epoch + 1):
        order = order_of(prefixes[0], num_samples, SEQUENCE_LENGTH)
        theirs = megatron_dataset(megatron, prefixes[0], tmp_path, num_samples, SEQUENCE_LENGTH)
        assert_indices_equal(order, theirs)
        num_documents = len(order.document_index) // 2
        first_copy = np.sort(order.document_index[:num_documents])
        is_separate.append(np.array_equal(first_copy, np.arange(num_documents)))
    threshold = int(0.8 * per_epoch)
    assert sum(is_separate) in (threshold - 1, threshold)
    assert is_separate == sorted(is_separate, reverse=True)


@pytest.mark.parametrize("number", range(5))
def test_a_partial_last_sample_is_kept_for_validation(megatron, prefixes, tmp_path, number):
    prefix = prefixes[number]
    theirs = megatron_dataset(
        megatron,
        prefix,
        tmp_path,
        None,
        SEQUENCE_LENGTH,
        "valid",
        drop_last_partial_validation_sequence=False,
    )
    order = order_of(prefix, None, SEQUENCE_LENGTH, drop_last=False)
    assert_indices_equal(order, theirs)
    num_padded = 0
    for ours, sample in zip(rows_read(prefix, order, np.arange(len(theirs))), theirs, strict=True):
        # Its padding is where the loss is masked; tokens and labels are 0 there.
        num_read = int(sample["loss_mask"].sum())
        assert len(ours) == num_read + 1
        np.testing.assert_array_equal(ours[:-1], sample["tokens"][:num_read])
        np.testing.assert_array_equal(ours[1:], sample["labels"][:num_read])
        num_padded += num_read < SEQUENCE_LENGTH
    assert num_padded == ((TokenShard.open(prefix).num_tokens - 1) % SEQUENCE_LENGTH != 0)


BLENDS = [
    [1.0],
    [0.5, 0.5],
    [3, 1, 7],
    [1e-3, 0.999],
    [1e6, 1e6 - 1, 2e6, 1],
    [0.1, 0.2, 0.3, 0.15, 0.25],
    [0.97, 0.01, 0.01, 0.005, 0.005],
    [1 / 3, 1 / 3, 1 / 3],
]


@pytest.mark.parametrize("weights", BLENDS, ids=str)
@pytest.mark.parametrize("num_samples", [1, 97, 1000])
def test_equals_blended_dataset(megatron, prefixes, weights, num_samples):
    theirs = megatron_blend(megatron, prefixes[: len(weights)], weights, num_samples)
    blend = MegatronBlend(weights, num_samples)
    assert blend.size == len(theirs)
    assert blend.requested == [dataset.num_samples for dataset in theirs.datasets]
    source, draw = blend.locate_many(np.arange(blend.size))
    assert (source.dtype, draw.dtype) == (np.int16, np.int64)
    np.testing.assert_array_equal(source, theirs.dataset_index)
    np.testing.assert_array_equal(draw, theirs.dataset_sample_index)
    orders = [
        order_of(prefix, requested, SEQUENCE_LENGTH)
        for prefix, requested in zip(prefixes, blend.requested, strict=False)
    ]
    blend.require([order.available for order in orders])
    for i in range(0, blend.size, 1 + blend.size // 60):
        sample = theirs[i]
        ours = rows_read(prefixes[source[i]], orders[source[i]], [draw[i]])[0]
        np.testing.assert_array_equal(ours[:-1], sample["tokens"])
        np.testing.assert_array_equal(ours[1:], sample["labels"])


def test_counts_are_the_draws_so_far():
    blend = MegatronBlend([0.5, 0.3, 0.2], 3_000_000)
    source, draw = blend.locate_many(np.arange(blend.size))
    for num_samples in (0, 1, 2, 999, 1 << 20, (1 << 20) + 1, blend.size):
        counts = blend.counts(num_samples)
        np.testing.assert_array_equal(counts, np.bincount(source[:num_samples], minlength=3))
        for number in range(3):
            drawn = draw[:num_samples][source[:num_samples] == number]
            np.testing.assert_array_equal(drawn, np.arange(counts[number]))


def test_a_blend_that_takes_more_than_a_source_has_is_refused():
    blend = MegatronBlend([0.5, 0.5], 100)
    blend.require([50, 50])
    with pytest.raises(DataError, match="source 1 of the blend has 49 samples, and 50 are drawn"):
        blend.require([50, 49])


@pytest.mark.parametrize(
    ("weights", "num_samples", "message"),
    [
        ([0.5, 0.0], 10, "weight 0.0 is not above 0"),
        ([0.5, float("nan")], 10, "weight nan is not above 0"),
        ([0.5, float("inf")], 10, "weight inf is not above 0"),
        ([], 10, "at least one weight"),
        ([1.0], 0, "num_samples is 0"),
    ],
)
def test_refuses_what_is_no_blend(weights, num_samples, message):
    with pytest.raises(ConfigError, match=message):
        MegatronBlend(weights, num_samples)


def test_refuses_samples_that_are_not_there(prefixes):
    order = order_of(prefixes[0], 30, SEQUENCE_LENGTH)
    blend = MegatronBlend([1.0], 30)
    for cursor in (-1, order.available):
        with pytest.raises(IndexError, match="are not all in"):
            order.parts(np.array([0, cursor]))
    for sample in (-1, blend.size):
        with pytest.raises(IndexError, match="are not all in"):
            blend.locate_many(np.array([0, sample]))


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_refuses_a_seed_that_numpy_does_not_take(seed):
    lengths, offsets = np.array([40], np.int32), np.array([0])
    with pytest.raises(ConfigError, match=f"seed {seed} is outside"):
        MegatronOrder(lengths, offsets, sequence_length=8, seed=seed, num_samples=3)


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.3, 0.2]])
def test_a_dataset_with_megatrons_plan_reads_its_blend(megatron, prefixes, weights):
    """Through MixtureDataset: sources, samples and labels, in the blend's order."""
    num_samples = 150
    theirs = megatron_blend(megatron, prefixes[: len(weights)], weights, num_samples)
    sources = [SourceSpec(prefix.name, prefix) for prefix in prefixes[: len(weights)]]
    shares = {source.name: weight for source, weight in zip(sources, weights, strict=True)}
    plan = MixturePlan.from_dict(megatron_plan(shares, num_samples).as_dict())
    dataset = MixtureDataset(sources, plan, sequence_length=SEQUENCE_LENGTH, seed=SEED)
    batch = dataset.batch(range(num_samples))
    for i in range(num_samples):
        np.testing.assert_array_equal(batch.tokens[i], theirs[i]["tokens"].numpy())
        np.testing.assert_array_equal(batch.labels[i], theirs[i]["labels"].numpy())
        assert batch.source_id[i] == theirs.dataset_index[i]
    assert sum(dataset.cursors_after(num_samples).values()) == num_samples


def test_megatrons_order_does_not_go_on_from_a_parent(prefixes):
    plan = megatron_plan({"source0": 1.0}, 10)
    with pytest.raises(DataError, match="from the beginning; use order: stateless"):
        MixtureDataset(
            [SourceSpec("source0", prefixes[0])],
            plan,
            sequence_length=SEQUENCE_LENGTH,
            seed=SEED,
            start_cursors={"source0": 4},
        )
