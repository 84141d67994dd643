"""The data sets that Megatron-LM's training loop is given, against megatron-core's own."""

import argparse
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from megatron_codemix.adapters.megatron_provider import (
    Blend,
    MegatronDataset,
    SampleFormat,
    datasets_provider,
)
from megatron_codemix.errors import ConfigError
from tests.helpers.megatron_core import import_megatron
from tests.helpers.shards import END_OF_DOCUMENT, VOCABULARY_SIZE, write_random_shard

SEQUENCE = 48  # of documents of at most 40 tokens: each sample holds several
SEED = 7
NUM_SAMPLES = 40
SHARES = {"code": 0.3, "text": 0.7}


@pytest.fixture(scope="module")
def blend(tmp_path_factory) -> Blend:
    folder = tmp_path_factory.mktemp("shards")
    prefixes = {
        name: write_random_shard(folder / name, num_documents=200, seed=seed)
        for seed, name in enumerate(SHARES)
    }
    return Blend(prefixes=prefixes, weights=SHARES)


def provided(blend: Blend, **sample_format: bool) -> MegatronDataset:
    provider = datasets_provider(
        {"train": blend},
        SampleFormat(end_of_document=END_OF_DOCUMENT, **sample_format),
        sequence_length=SEQUENCE,
        seed=SEED,
    )
    train, valid, test = provider([NUM_SAMPLES, 10, 0])
    assert valid is None
    assert test is None
    return train


class MegatronTokenizer:
    vocab_size = VOCABULARY_SIZE
    eod = END_OF_DOCUMENT
    pad = VOCABULARY_SIZE + 1
    unique_identifiers = {"class": "test"}


@pytest.fixture(scope="module")
def gpt():
    """megatron-core's module of GPTDataset."""
    return import_megatron("megatron.core.datasets.gpt_dataset")


def gpt_dataset(gpt, prefix, cache, sample_format: dict[str, bool], num_samples=NUM_SAMPLES):
    config = gpt.GPTDatasetConfig(
        random_seed=SEED,
        sequence_length=SEQUENCE,
        split="1",
        path_to_cache=str(cache),
        tokenizer=MegatronTokenizer(),
        **sample_format,
    )
    indexed = gpt.IndexedDataset(str(prefix))
    documents = np.arange(len(indexed), dtype=np.int32)
    return gpt.GPTDataset(indexed, str(prefix), documents, num_samples, gpt.Split.train, config)


FORMATS = [
    {
        "reset_position_ids": bool(bits & 1),
        "reset_attention_mask": bool(bits & 2),
        "eod_mask_loss": bool(bits & 4),
        "create_attention_mask": bool(bits & 8),
    }
    for bits in range(16)
]


@pytest.mark.parametrize("sample_format", FORMATS)
def test_a_sample_has_what_a_gpt_dataset_gives(gpt, blend, tmp_path, sample_format) -> None:
    sample = provided(blend, **sample_format)[3]
    theirs = gpt_dataset(gpt, blend.prefixes["text"], tmp_path, sample_format)[3]
    described = {
        name: (tensor.dtype, tensor.shape, tensor.is_contiguous())
        for name, tensor in sample.items()
    }
    assert described == {
        name: (tensor.dtype, tensor.shape, tensor.is_contiguous())
        for name, tensor in theirs.items()
    }


@pytest.mark.parametrize("sample_format", FORMATS)
def test_masks_and_positions_are_megatrons(gpt, blend, sample_format) -> None:
    dataset = provided(blend, **sample_format)
    num_ends = 0
    for number in range(NUM_SAMPLES):
        sample = dataset[number]
        attention_mask, loss_mask, position_ids = gpt._get_ltor_masks_and_position_ids(
            sample["tokens"], END_OF_DOCUMENT, *sample_format.values()
        )
        assert torch.equal(sample["loss_mask"], loss_mask)
        assert torch.equal(sample["position_ids"], position_ids)
        if attention_mask is None:
            assert "attention_mask" not in sample
        else:
            assert torch.equal(sample["attention_mask"], attention_mask)
        num_ends += int((sample["tokens"] == END_OF_DOCUMENT).sum())
    assert num_ends > NUM_SAMPLES


def test_the_order_megatron_gives_the_samples_of_megatrons_blend(gpt, blend, tmp_path) -> None:
    from megatron.core.datasets.blended_dataset import BlendedDataset

    sample_format = {**FORMATS[15], "create_attention_mask": False}
    targets = [math.ceil(NUM_SAMPLES * share) for share in SHARES.values()]
    datasets = [
        # What BlendedMegatronDatasetBuilder asks of each: half a percent more than its share.
        gpt_dataset(gpt, prefix, tmp_path, sample_format, math.ceil(target * 1.005))
        for prefix, target in zip(blend.prefixes.values(), targets, strict=True)
    ]
    config = datasets[0].config
    config.path_to_cache = None  # a cache wants a process group
    theirs = BlendedDataset(datasets, list(SHARES.values()), sum(targets), config)
    ours = provided(replace(blend, order="megatron"), **sample_format)
    for number in range(NUM_SAMPLES):
        expected = theirs[number]
        del expected["dataset_id"]
        sample = ours[number]
        assert set(sample) == set(expected)
        assert all(torch.equal(sample[name], expected[name]) for name in sample)


def test_samples_are_those_of_the_mixture(blend) -> None:
    dataset = provided(blend)
    assert len(dataset) == NUM_SAMPLES
    expected = blend.open(NUM_SAMPLES, sequence_length=SEQUENCE, seed=SEED).batch(
        range(NUM_SAMPLES)
    )
    for number in range(NUM_SAMPLES):
        sample = dataset[number]
        np.testing.assert_array_equal(sample["tokens"].numpy(), expected.tokens[number])
        np.testing.assert_array_equal(sample["labels"].numpy(), expected.labels[number])


def pretraining_sampler(consumed: int, micro_batch: int, rank: int, size: int):
    """The numbers that Megatron-LM's MegatronPretrainingSampler gives a data-parallel rank."""
    step = micro_batch * size
    for start in range(consumed, NUM_SAMPLES - step + 1, step):
        first = start + rank * micro_batch
        yield list(range(first, first + micro_batch))


@pytest.mark.parametrize("consumed", [0, 16])
def test_megatrons_sampler_reads_each_sample_once_over_the_ranks(blend, consumed) -> None:
    dataset = provided(blend, create_attention_mask=False)
    found = []
    loaders = [
        iter(DataLoader(dataset, batch_sampler=list(pretraining_sampler(consumed, 4, rank, 2))))
        for rank in range(2)
    ]
    for batches in zip(*loaders, strict=True):
        found += [row for batch in batches for row in batch["tokens"]]
    expected = blend.open(NUM_SAMPLES, sequence_length=SEQUENCE, seed=SEED).batch(
        range(consumed, NUM_SAMPLES)
    )
    np.testing.assert_array_equal(torch.stack(found).numpy(), expected.tokens)


def test_a_sample_that_fills_up_a_batch_has_no_loss(blend) -> None:
    dataset = provided(blend)
    filler, first = dataset[None], dataset[0]
    assert not filler.pop("loss_mask").any()
    assert first.pop("loss_mask").all()
    assert all(torch.equal(filler[name], first[name]) for name in first)


def test_the_provider_is_called_as_megatron_lm_calls_it(blend) -> None:
    provider = datasets_provider(
        {"train": blend, "valid": blend, "test": blend},
        SampleFormat(end_of_document=END_OF_DOCUMENT),
        sequence_length=SEQUENCE,
        seed=SEED,
    )
    assert provider.is_distributed is True
    assert [len(dataset) for dataset in provider((30, 20, 10))] == [30, 20, 10]
    assert [len(dataset) for dataset in provider((30, 20, 10), vp_stage=1)] == [30, 20, 10]


def test_a_rank_that_reads_no_data_opens_none(blend) -> None:
    provider = datasets_provider(
        {"train": Blend(prefixes={"text": "/absent"}, weights={"text": 1.0})},
        SampleFormat(end_of_document=END_OF_DOCUMENT),
        sequence_length=SEQUENCE,
        seed=SEED,
        is_built_on_rank=lambda: False,
    )
    assert provider([NUM_SAMPLES, 0, 0]) == (None, None, None)


def test_another_split_is_refused(blend) -> None:
    sample_format = SampleFormat(end_of_document=END_OF_DOCUMENT)
    with pytest.raises(ConfigError, match="no split validation; there are train, valid, test"):
        datasets_provider({"validation": blend}, sample_format, sequence_length=SEQUENCE, seed=SEED)


def test_the_format_follows_megatrons_flags() -> None:
    flags = {"reset_position_ids": True, "reset_attention_mask": False, "eod_mask_loss": True}
    args = argparse.Namespace(**flags, create_attention_mask_in_dataloader=False)
    assert SampleFormat.from_args(args, 5) == SampleFormat(
        end_of_document=5, **flags, create_attention_mask=False
    )
