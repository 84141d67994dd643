import itertools
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.data.batches import samples_of_step
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.mixture.weights import quantise_weights
from megatron_codemix.data.order.stateless import StatelessOrder, source_key
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.shards.writer import TokenShardWriter
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.errors import DataError
from tests.helpers.shards import write_random_shard

SEQUENCE_LENGTH = 16
SEED = 1234


@pytest.fixture(scope="module")
def three_sources(tmp_path_factory) -> list[SourceSpec]:
    folder = tmp_path_factory.mktemp("sources")
    sizes = {"code": 60, "markup": 25, "text": 90}
    return [
        SourceSpec(name, write_random_shard(folder / name, num_documents=number, seed=number))
        for name, number in sizes.items()
    ]


WEIGHTS = quantise_weights({"code": 0.2, "markup": 0.1, "text": 0.7})


def make_dataset(
    sources, weights=WEIGHTS, cursors=None, sequence_length=SEQUENCE_LENGTH, document_mask=False
):
    plan = constant_plan(weights)
    return MixtureDataset(
        sources,
        plan,
        sequence_length=sequence_length,
        seed=SEED,
        start_cursors=cursors,
        document_mask=document_mask,
    )


def circle(prefix: Path, dtype=np.uint16) -> np.ndarray:
    """The shard's tokens twice over: a window that starts in the first half does not end."""
    return np.tile(np.fromfile(prefix.with_suffix(".bin"), dtype), 2)


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
@pytest.mark.parametrize("sequence_length", [1, 7, 16, 300])
@pytest.mark.parametrize("epoch", [0, 3])
def test_samples_are_the_windows_that_the_order_names(tmp_path, dtype, sequence_length, epoch):
    prefix = write_random_shard(tmp_path / "code", dtype=dtype)
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1}, None, sequence_length)
    tokens = circle(prefix, dtype)
    order = StatelessOrder(len(tokens) // 2, sequence_length, source_key(SEED, "code"))
    cursors = epoch * order.samples_per_epoch + np.arange(order.samples_per_epoch)
    batch = dataset.batch(cursors)
    parts = order.parts(cursors)
    starts = parts.first[np.unique(parts.row, return_index=True)[1]]
    windows = tokens[starts[:, None] + np.arange(sequence_length + 1)]
    np.testing.assert_array_equal(batch.tokens, windows[:, :-1])
    np.testing.assert_array_equal(batch.labels, windows[:, 1:])


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


def test_cursors_of_sources_without_a_weight_are_handed_on(three_sources):
    inherited = {"code": 7, "markup": 3, "retired": 11}
    dataset = make_dataset(three_sources, {"code": 1, "markup": 0}, inherited)
    assert dataset.locate(4) == ("code", 11)
    assert dataset.cursors_after(5) == {"code": 12, "markup": 3, "retired": 11}
    assert dataset.samples_per_epoch.keys() == {"code"}


def test_an_epoch_reads_each_token_at_most_once_and_the_next_in_another_order(tmp_path):
    """On a shard of different tokens, but for the end of its only document."""
    prefix = tmp_path / "code"
    tokens = np.append(np.arange(1, 1000), 0)
    with TokenShardWriter(prefix, np.uint16) as writer:
        writer.add_document(tokens)
        writer.finish(
            source="code",
            split="train",
            tokenizer_hash="t" * 64,
            vocabulary_size=1000,
            end_of_document_id=0,
            num_bytes=0,
            licences={},
            origin={},
        )
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1})
    per_epoch = dataset.samples_per_epoch["code"]
    assert per_epoch == 999 // SEQUENCE_LENGTH
    epochs = [dataset.batch(range(e * per_epoch, (e + 1) * per_epoch)).tokens for e in range(3)]
    for rows in epochs:
        assert len(np.unique(rows)) == rows.size
    for one, other in itertools.combinations(epochs, 2):
        assert not np.array_equal(one, other)
        # The stream is cut at other places, too: the samples are not the same ones shuffled.
        assert set(one[:, 0].tolist()) != set(other[:, 0].tolist())


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
    one, other = (
        MixtureDataset(
            three_sources, constant_plan(WEIGHTS), sequence_length=SEQUENCE_LENGTH, seed=seed
        ).batch(range(9))
        for seed in (1, 2)
    )
    np.testing.assert_array_equal(one.source_id, other.source_id)
    assert not np.array_equal(one.tokens, other.tokens)


def test_refuses_a_sequence_longer_than_the_shard(tmp_path):
    prefix = write_random_shard(tmp_path / "code", num_documents=1, longest=1)
    with pytest.raises(DataError, match=r"code: 1 tokens are less than one sample of 16 \+ 1"):
        make_dataset([SourceSpec("code", prefix)], {"code": 1})


def test_one_sample_may_be_the_whole_shard(tmp_path):
    prefix = write_random_shard(tmp_path / "code")
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


def test_refuses_shards_of_different_tokenizers(tmp_path, three_sources):
    other = write_random_shard(tmp_path / "other", tokenizer_hash="u" * 64)
    with pytest.raises(DataError, match=r"different tokenizers \(code: tttttttttttt, other: u"):
        make_dataset([three_sources[0], SourceSpec("other", other)], {"code": 1, "other": 1})


def test_names_the_token_that_is_outside_the_vocabulary(tmp_path):
    prefix = write_random_shard(tmp_path / "code", vocabulary_size=4500)
    shard = TokenShard.open(prefix)
    with pytest.raises(DataError, match="outside the vocabulary of 4500 entries") as caught:
        make_dataset([SourceSpec("code", prefix)], {"code": 1}).batch(range(30))
    words = str(caught.value).split()
    token, value = (int(words[words.index(word) + 1].rstrip(",")) for word in ("token", "is"))
    assert shard.data[token] == value >= 4500


def test_a_flipped_bit_is_refused_when_it_is_read(tmp_path):
    prefix = write_random_shard(tmp_path / "code")
    path = prefix.with_name("code.bin")
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1})
    with pytest.raises(DataError, match="block 0"):
        dataset.batch([0])


def test_a_shard_that_is_replaced_is_noticed_at_the_next_epoch(tmp_path):
    prefix = write_random_shard(tmp_path / "code")
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1})
    per_epoch = dataset.samples_per_epoch["code"]
    before = dataset.batch([0]).tokens
    write_random_shard(prefix, seed=1)
    np.testing.assert_array_equal(dataset.batch([0]).tokens, before)  # the files it has mapped
    with pytest.raises(DataError, match="code: replaced by another shard while it was read"):
        dataset.batch([per_epoch])


def test_a_shard_that_is_copied_again_is_read_on(tmp_path):
    prefix = write_random_shard(tmp_path / "code")
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1})
    per_epoch = dataset.samples_per_epoch["code"]
    expected = dataset.batch(range(2 * per_epoch)).tokens
    dataset = make_dataset([SourceSpec("code", prefix)], {"code": 1})
    np.testing.assert_array_equal(dataset.batch([0]).tokens, expected[:1])
    write_random_shard(prefix)
    rest = range(per_epoch, 2 * per_epoch)
    np.testing.assert_array_equal(dataset.batch(rest).tokens, expected[per_epoch:])
