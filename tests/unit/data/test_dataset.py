import itertools
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from megatron_codemix.data.batches import samples_of_step
from megatron_codemix.data.dataset import MixtureDataset, SourceSpec
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.mixture.weights import quantise_weights
from megatron_codemix.data.order.megatron import SourceOrder
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.errors import ConfigError, DataError

VOCABULARY_SIZE = 5000
END_OF_DOCUMENT = 0
SEQUENCE_LENGTH = 16
SEED = 1234


def write_shard(
    prefix: Path,
    *,
    num_documents: int = 60,
    longest: int = 40,
    seed: int = 0,
    dtype=np.uint16,
    vocabulary_size: int = VOCABULARY_SIZE,
    tokenizer_hash: str = "t" * 64,
) -> Path:
    """Documents of 1 to `longest` random tokens, an end-of-document token included."""
    rng = np.random.default_rng(seed)
    with TokenShardWriter(prefix, dtype) as writer:
        for _ in range(num_documents):
            tokens = rng.integers(1, VOCABULARY_SIZE, rng.integers(1, longest + 1))
            tokens[-1] = END_OF_DOCUMENT
            writer.add_document(tokens)
        writer.finish(
            source=prefix.name,
            split="train",
            tokenizer_hash=tokenizer_hash,
            vocabulary_size=vocabulary_size,
            end_of_document_id=END_OF_DOCUMENT,
            num_bytes=0,
            licences={},
            origin={},
        )
    return prefix


@pytest.fixture(scope="module")
def three_sources(tmp_path_factory) -> list[SourceSpec]:
    folder = tmp_path_factory.mktemp("sources")
    sizes = {"code": 60, "markup": 25, "text": 90}
    return [
        SourceSpec(name, write_shard(folder / name, num_documents=number, seed=number))
        for name, number in sizes.items()
    ]


WEIGHTS = quantise_weights({"code": 0.2, "markup": 0.1, "text": 0.7})


def make_dataset(
    sources, weights=WEIGHTS, cursors=None, sequence_length=SEQUENCE_LENGTH, document_mask=False
):
    plan = constant_plan(weights)
    return MixtureDataset(sources, plan, cursors or {}, sequence_length, SEED, document_mask)


class MegatronTokenizer:
    vocab_size = VOCABULARY_SIZE
    eod = END_OF_DOCUMENT
    pad = VOCABULARY_SIZE + 1
    unique_identifiers = {"class": "test"}


def megatron_samples(prefix: Path, sequence_length: int, seed: int, cache: Path):
    """One epoch of megatron-core's own dataset: (tokens, labels) of each sample, in order."""
    with warnings.catch_warnings():
        # At import it warns of the GPU packages that it does without.
        warnings.simplefilter("ignore")
        from megatron.core.datasets.gpt_dataset import GPTDataset, GPTDatasetConfig
        from megatron.core.datasets.indexed_dataset import IndexedDataset
        from megatron.core.datasets.utils import Split
    config = GPTDatasetConfig(
        random_seed=seed,
        sequence_length=sequence_length,
        split="1",
        path_to_cache=str(cache),
        tokenizer=MegatronTokenizer(),
        reset_position_ids=False,
        reset_attention_mask=False,
        eod_mask_loss=False,
        create_attention_mask=False,
    )
    indexed = IndexedDataset(str(prefix))
    documents = np.arange(len(indexed), dtype=np.int32)
    dataset = GPTDataset(indexed, str(prefix), documents, None, Split.train, config)
    return [(sample["tokens"].numpy(), sample["labels"].numpy()) for sample in dataset]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("sequence_length", [1, 7, 16, 300])
@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_an_epoch_is_megatrons_gpt_dataset(tmp_path, dtype, sequence_length, epoch):
    prefix = write_shard(tmp_path / "code", dtype=dtype)
    expected = megatron_samples(prefix, sequence_length, SEED + epoch, tmp_path / "cache")
    order = SourceOrder(TokenShard.open(prefix), sequence_length, SEED)
    per_epoch = order.samples_per_epoch
    assert per_epoch == len(expected)
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1}, None, sequence_length)
    batch = dataset.batch(range(epoch * per_epoch, (epoch + 1) * per_epoch))
    np.testing.assert_array_equal(batch.tokens, [tokens for tokens, _ in expected])
    np.testing.assert_array_equal(batch.labels, [labels for _, labels in expected])


def test_batch_record_has_the_stated_shapes_and_types(three_sources):
    batch = make_dataset(three_sources, document_mask=True).batch([5, 0, 17])
    shape = (3, SEQUENCE_LENGTH)
    arrays = {
        name: (array.dtype.name, array.shape, array.flags.c_contiguous)
        for name, array in vars(batch).items()
    }
    assert arrays == {
        "tokens": ("int64", shape, True),
        "labels": ("int64", shape, True),
        "loss_mask": ("float32", shape, True),
        "position_ids": ("int64", shape, True),
        "document_ids": ("int64", shape, True),
        "source_id": ("int16", (3,), True),
    }
    np.testing.assert_array_equal(batch.labels[:, :-1], batch.tokens[:, 1:])
    assert (batch.loss_mask == 1).all()
    without = make_dataset(three_sources).batch([5, 0, 17])
    assert without.document_ids is None
    assert (without.position_ids == np.arange(SEQUENCE_LENGTH)).all()
    np.testing.assert_array_equal(without.tokens, batch.tokens)


def test_document_ids_and_trace_name_the_documents_that_the_labels_are_from(three_sources):
    dataset = make_dataset(three_sources, document_mask=True)
    shards = {spec.name: TokenShard.open(spec.prefix) for spec in three_sources}
    num_borders = 0
    for i in range(150):
        batch = dataset.batch([i])
        spans = dataset.documents(i)
        name = dataset.source_names[batch.source_id[0]]
        assert {span.source for span in spans} == {name}
        pieces = [
            shards[name].document(span.document)[span.first_token : span.last_token + 1]
            for span in spans
        ]
        stream = np.append(batch.tokens[0], batch.labels[0, -1])
        np.testing.assert_array_equal(np.concatenate(pieces), stream)
        owners = np.repeat([span.document for span in spans], [len(piece) for piece in pieces])
        np.testing.assert_array_equal(batch.document_ids[0], owners[1:])
        runs = [len(list(run)) for _, run in itertools.groupby(owners[1:].tolist())]
        expected = np.concatenate([np.arange(length) for length in runs])
        np.testing.assert_array_equal(batch.position_ids[0], expected)
        num_borders += len(spans) - 1
    assert num_borders > 50


def test_realised_mixture_is_within_one_sample_of_the_plan_at_every_prefix(three_sources):
    dataset = make_dataset(three_sources)
    names = [dataset.locate(i)[0] for i in range(3000)]
    n = np.arange(1, 3001)
    for name, units in WEIGHTS.items():
        consumed = np.cumsum([found == name for found in names])
        assert np.abs(consumed - n * units / 2**20).max() < 1


# 40 draws in all go round the smallest source's epoch more than once.
HISTORIES = st.lists(
    st.tuples(
        st.dictionaries(
            st.sampled_from(["code", "markup", "text"]), st.integers(1, 20), min_size=1
        ),
        st.integers(0, 40),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60)
@given(HISTORIES)
def test_sources_go_on_where_they_stood_when_the_mixture_changes(three_sources, history):
    """Per source, the windows read over all segments are the first ones of its order."""
    read: dict[str, list[np.ndarray]] = {name: [] for name in WEIGHTS}
    cursors: dict[str, int] = {}
    for weights, num_samples in history:
        dataset = make_dataset(three_sources, weights, cursors)
        batch = dataset.batch(range(num_samples))
        for tokens, source in zip(batch.tokens, batch.source_id, strict=True):
            read[dataset.source_names[source]].append(tokens)
        cursors = dataset.cursors_after(num_samples)
    assert sum(cursors.values()) == sum(num_samples for _, num_samples in history)
    for spec in three_sources:
        order = SourceOrder(TokenShard.open(spec.prefix), SEQUENCE_LENGTH, SEED)
        assert cursors.get(spec.name, 0) == len(read[spec.name])
        if read[spec.name]:
            stream, _ = order.read(np.arange(len(read[spec.name])))
            np.testing.assert_array_equal(read[spec.name], stream[:, :-1])


def test_cursors_of_sources_without_a_weight_are_handed_on(three_sources):
    inherited = {"code": 7, "markup": 3, "retired": 11}
    dataset = make_dataset(three_sources, {"code": 1, "markup": 0}, inherited)
    assert dataset.locate(4) == ("code", 11)
    assert dataset.cursors_after(5) == {"code": 12, "markup": 3, "retired": 11}
    assert dataset.samples_per_epoch.keys() == {"code"}


def test_an_epoch_reads_each_sample_once_and_the_next_in_another_order(three_sources):
    order = SourceOrder(TokenShard.open(three_sources[0].prefix), SEQUENCE_LENGTH, SEED)
    per_epoch = order.samples_per_epoch
    epochs = [order.read(np.arange(per_epoch) + e * per_epoch)[0] for e in range(2)]
    for stream in epochs:
        # Samples overlap by one token; without it they cut up the same tokens.
        assert len({row[:-1].tobytes() for row in stream}) == per_epoch
    assert not np.array_equal(*epochs)


@pytest.mark.parametrize("dp_size", [1, 2, 3, 4])
@pytest.mark.parametrize("microbatch", [1, 2])
def test_ranks_read_each_sample_once_in_an_order_that_dp_size_does_not_change(
    three_sources, dp_size, microbatch
):
    dataset = make_dataset(three_sources)
    expected = make_dataset(three_sources).batch(range(4 * 24)).tokens
    found = np.zeros_like(expected)
    times_read = np.zeros(len(expected), int)
    for step, rank in itertools.product(range(4), range(dp_size)):
        for samples in samples_of_step(step, 24, rank, dp_size, microbatch):
            found[samples] = dataset.batch(samples).tokens
            times_read[samples] += 1
    assert (times_read == 1).all()
    np.testing.assert_array_equal(found, expected)


def test_random_access_equals_sequential(three_sources):
    expected = make_dataset(three_sources, document_mask=True).batch(range(400))
    indices = np.random.default_rng(3).permutation(400)
    dataset = make_dataset(three_sources, document_mask=True)
    for chunk in np.split(indices, 20):
        batch = dataset.batch(chunk.tolist())
        for name, array in vars(batch).items():
            np.testing.assert_array_equal(array, getattr(expected, name)[chunk])


def test_a_batch_may_be_empty(three_sources):
    assert make_dataset(three_sources).batch([]).tokens.shape == (0, SEQUENCE_LENGTH)


def test_the_seed_decides_the_order(three_sources):
    shard = TokenShard.open(three_sources[0].prefix)
    one, other = (
        SourceOrder(shard, SEQUENCE_LENGTH, seed).read(np.arange(9))[0] for seed in (1, 2)
    )
    assert not np.array_equal(one, other)


def test_refuses_a_sequence_longer_than_the_shard(tmp_path):
    prefix = write_shard(tmp_path / "code", num_documents=1, longest=1)
    with pytest.raises(DataError, match=r"code: 1 tokens are less than one sample of 16 \+ 1"):
        make_dataset([SourceSpec("code", prefix)], {"code": 1})


def test_one_sample_may_be_the_whole_shard(tmp_path):
    prefix = write_shard(tmp_path / "code")
    num_tokens = TokenShard.open(prefix).num_tokens
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1}, None, num_tokens - 1)
    assert dataset.samples_per_epoch == {"code": 1}
    assert len(dataset.documents(0)) >= 59


def test_refuses_a_weight_for_a_source_that_is_not_there(three_sources):
    with pytest.raises(DataError, match=r"names 'txt', which no source is called .*markup, text"):
        make_dataset(three_sources, {"code": 1, "txt": 1})


def test_refuses_two_sources_of_one_name(three_sources):
    with pytest.raises(DataError, match="two sources have the same name"):
        make_dataset([*three_sources, three_sources[0]])


def test_refuses_negative_cursors(three_sources):
    with pytest.raises(DataError, match=r"negative, got \{'code': -1\}"):
        make_dataset(three_sources, cursors={"code": -1})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_refuses_a_seed_that_numpy_does_not_take(three_sources, seed):
    with pytest.raises(ConfigError, match=f"seed {seed} is outside"):
        MixtureDataset(three_sources, constant_plan(WEIGHTS), {}, SEQUENCE_LENGTH, seed)


def test_refuses_shards_of_different_tokenizers(tmp_path, three_sources):
    other = write_shard(tmp_path / "other", tokenizer_hash="u" * 64)
    with pytest.raises(DataError, match=r"different tokenizers \(code: tttttttttttt, other: u"):
        make_dataset([three_sources[0], SourceSpec("other", other)], {"code": 1, "other": 1})


def test_names_the_token_that_is_outside_the_vocabulary(tmp_path):
    prefix = write_shard(tmp_path / "code", vocabulary_size=4500)
    shard = TokenShard.open(prefix)
    with pytest.raises(DataError, match="outside the vocabulary of 4500 entries") as caught:
        make_dataset([SourceSpec("code", prefix)], {"code": 1}).batch(range(30))
    words = str(caught.value).split()
    token, value = (int(words[words.index(word) + 1].rstrip(",")) for word in ("token", "is"))
    assert shard.data[token] == value >= 4500


def test_a_flipped_bit_is_refused_when_it_is_read(tmp_path):
    prefix = write_shard(tmp_path / "code")
    path = prefix.with_name("code.bin")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1})
    with pytest.raises(DataError, match="block 0"):
        dataset.batch([0])
