"""Packing and transforms inside of the mixture: what becomes of the batch."""

from collections import Counter

import numpy as np
import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.resolve import resolve_data
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.tokenizer import Tokenizer
from megatron_codemix.data.tokenizer_training import FILL_IN_THE_MIDDLE
from megatron_codemix.data.transforms.fill_in_the_middle import FillInTheMiddle
from megatron_codemix.errors import ConfigError
from tests.helpers.tiny import SEQUENCE, VOCABULARY, write_run

FIM = "data.sources.code.fill_in_the_middle={rate: 0.8, spm_rate: 0.5}"
PACKED = "data.sources.text.packing=best_fit"
MASK = "data.document_mask=true"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    model = {"vocabulary_size": VOCABULARY + len(FILL_IN_THE_MIDDLE)}
    folder = tmp_path_factory.mktemp("run")
    return write_run(folder, special_tokens=FILL_IN_THE_MIDDLE, model=model)


def dataset_of(config, *overrides) -> MixtureDataset:
    return resolve_data(load_run_config(config, overrides)).dataset()


def assert_sound(batch) -> None:
    """What holds for every batch, padded or not."""
    np.testing.assert_array_equal(batch.labels[:, :-1], batch.tokens[:, 1:])
    assert set(np.unique(batch.loss_mask)) <= {0, 1}
    assert (np.diff(batch.loss_mask, axis=1) <= 0).all(), "padding comes last"
    if batch.document_ids is not None:
        np.testing.assert_array_equal(batch.document_ids == -1, batch.loss_mask == 0)
        assert (batch.position_ids[:, 0] == 0).all()
        is_start = np.diff(batch.document_ids, axis=1) != 0
        np.testing.assert_array_equal(np.diff(batch.position_ids, axis=1) != 1, is_start)


@pytest.mark.parametrize("mask", [[], [MASK]], ids=["open", "masked"])
def test_an_epoch_of_a_packed_source_has_each_token_as_a_label_once(config, mask):
    weights = "data.mixture.weights={text: 1}"
    dataset = dataset_of(config, weights, PACKED, *mask)
    batch = dataset.batch(range(dataset.samples_per_epoch["text"]))
    assert_sound(batch)
    stored = np.fromfile(config.parent / "text.bin", np.uint16)
    assert Counter(batch.labels[batch.loss_mask == 1].tolist()) == Counter(stored.tolist())
    assert batch.loss_mask.mean() > 0.9
    assert (batch.loss_mask == 0).any()


@pytest.mark.parametrize("mask", [[], [MASK]], ids=["open", "masked"])
def test_a_transform_sees_the_sample_its_documents_and_its_cursor(config, mask):
    plain, cut = dataset_of(config, PACKED, MASK), dataset_of(config, PACKED, FIM, *mask)
    samples = np.arange(40)
    before, after = plain.batch(samples), cut.batch(samples)
    assert_sound(after)
    tokenizer = Tokenizer.load(config.parent / "tokenizer.json")
    transform = FillInTheMiddle(tokenizer, rate=0.8, spm_rate=0.5, seed=1, source="code")
    code = cut.source_names.index("code")
    assert 0 < (after.source_id == code).sum() < 40
    num_changed = 0
    for row in samples:
        tokens = np.append(before.tokens[row], before.labels[row, -1])
        owners = before.document_ids[row]
        if after.source_id[row] == code:
            # The first token's own document, from the trace.
            owners = np.insert(owners, 0, plain.documents(row)[0].document)
            made = transform.apply(tokens, owners, cut.locate(row)[1])
            num_changed += not np.array_equal(made.tokens, tokens)
            tokens, owners = made.tokens, made.documents[1:]
        np.testing.assert_array_equal(after.tokens[row], tokens[:-1])
        np.testing.assert_array_equal(after.labels[row], tokens[1:])
        np.testing.assert_array_equal(after.loss_mask[row], owners != -1)
        if mask:
            np.testing.assert_array_equal(after.document_ids[row], owners)
    assert num_changed > 10


def test_a_used_buffer_is_as_good_as_a_new_one(config):
    dataset = dataset_of(config, PACKED, FIM, MASK)
    buffer = dataset.batch(range(8))
    for start in (8, 16, 24):
        samples = range(start, start + 8)
        dataset.batch(samples, into=buffer)
        for name, array in vars(dataset.batch(samples)).items():
            np.testing.assert_array_equal(getattr(buffer, name), array, name)


def test_names_the_source_whose_tokenizer_has_no_sentinels(tmp_path):
    config = write_run(tmp_path)
    with pytest.raises(
        ConfigError, match=r"data.sources.code.fill_in_the_middle: .*tokenizer.json"
    ):
        resolve_data(load_run_config(config, [FIM]))


def test_the_trace_of_a_packed_sample_names_an_opening_token_and_whole_documents(config):
    dataset = dataset_of(config, "data.mixture.weights={text: 1}", PACKED)
    lengths = TokenShard.open(config.parent / "text").lengths
    num_whole = 0
    for sample in range(dataset.samples_per_epoch["text"]):
        opening, *spans = dataset.documents(sample)
        assert opening.first_token == opening.last_token
        for span in spans:
            if lengths[span.document] < SEQUENCE:
                assert (span.first_token, span.last_token) == (0, lengths[span.document] - 1)
                num_whole += 1
    assert num_whole == np.count_nonzero(lengths < SEQUENCE) > 10
