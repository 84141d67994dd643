"""TorchDataset under torch's own DataLoader, against the mixture that it wraps."""

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from megatron_codemix.adapters.torch_dataset import TorchDataset
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.source import SourceSpec
from tests.helpers.shards import write_random_shard

SEQUENCE = 16
NUM_SAMPLES = 100
UNITS = {"code": 300_000, "text": 748_576}


@pytest.fixture(scope="module")
def open_dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    sources = [
        SourceSpec(name, write_random_shard(folder / name, seed=seed))
        for seed, name in enumerate(UNITS)
    ]
    return partial(MixtureDataset, sources, constant_plan(UNITS), sequence_length=SEQUENCE, seed=7)


def assert_samples(samples: dict[str, torch.Tensor], mixture: MixtureDataset, numbers) -> None:
    expected = mixture.batch(numbers)
    assert set(samples) == {"tokens", "labels", "loss_mask", "position_ids", "source_id"}
    for name, tensor in samples.items():
        wanted = getattr(expected, name)
        assert tensor.numpy().dtype == wanted.dtype, name
        np.testing.assert_array_equal(tensor.numpy(), wanted, err_msg=name)


def test_items_are_the_samples_of_the_mixture(open_dataset) -> None:
    dataset = TorchDataset(open_dataset, NUM_SAMPLES)
    items = [dataset[number] for number in (0, 99, 41)]
    stacked = {name: torch.stack([item[name] for item in items]) for name in items[0]}
    assert_samples(stacked, open_dataset(), [0, 99, 41])


@pytest.mark.parametrize(("num_workers", "context"), [(0, None), (2, "fork"), (1, "spawn")])
def test_a_data_loader_gives_the_same_whatever_its_workers(
    open_dataset, num_workers, context
) -> None:
    dataset = TorchDataset(open_dataset, NUM_SAMPLES)
    dataset[0]  # so that what workers inherit has been in use
    loader = DataLoader(
        dataset, batch_size=24, num_workers=num_workers, multiprocessing_context=context
    )
    batches = list(loader)
    assert [len(batch["tokens"]) for batch in batches] == [24, 24, 24, 24, 4]
    joined = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0]}
    assert_samples(joined, open_dataset(), range(NUM_SAMPLES))


def test_goes_on_where_a_run_stood(open_dataset) -> None:
    whole = TorchDataset(open_dataset, NUM_SAMPLES)
    rest = TorchDataset(open_dataset, NUM_SAMPLES - 37, first_sample=37)
    assert len(rest) == 63
    assert torch.equal(rest[0]["tokens"], whole[37]["tokens"])
    assert torch.equal(rest[62]["labels"], whole[99]["labels"])


def test_a_sampler_decides_the_order(open_dataset) -> None:
    sampler = [5, 3, 3, 80]
    loader = DataLoader(TorchDataset(open_dataset, NUM_SAMPLES), sampler=sampler, batch_size=4)
    assert_samples(next(iter(loader)), open_dataset(), sampler)


def test_what_is_pickled_is_the_recipe_and_not_the_data(open_dataset) -> None:
    dataset = TorchDataset(open_dataset, NUM_SAMPLES)
    packed = pickle.dumps(dataset)
    assert len(packed) < 2000
    assert torch.equal(pickle.loads(packed)[8]["tokens"], dataset[8]["tokens"])


@pytest.mark.parametrize("index", [-1, NUM_SAMPLES])
def test_an_item_that_is_not_there_is_refused(open_dataset, index) -> None:
    with pytest.raises(IndexError, match=f"items {index} to {index} of a data set of 100"):
        TorchDataset(open_dataset, NUM_SAMPLES)[index]
