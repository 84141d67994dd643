"""What the Python API says of arguments that make no sense, and which odd ones it takes."""

import numpy as np
import pytest

from megatron_codemix.adapters.torch_dataset import TorchDataset
from megatron_codemix.data.batches import allocate_batch
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import constant_plan, megatron_plan
from megatron_codemix.data.shards.token_shard import TokenShard
from megatron_codemix.data.source import SourceSpec
from megatron_codemix.errors import ConfigError
from tests.helpers.shards import write_random_shard

SEQUENCE_LENGTH = 16


@pytest.fixture
def prefix(tmp_path):
    return write_random_shard(tmp_path / "code")


@pytest.fixture
def dataset(prefix) -> MixtureDataset:
    return open_dataset(prefix)


def open_dataset(prefix, **options) -> MixtureDataset:
    arguments = {"sequence_length": SEQUENCE_LENGTH, "seed": 1, **options}
    return MixtureDataset([SourceSpec("code", prefix)], constant_plan({"code": 1}), **arguments)


def test_a_prefix_may_be_text(prefix, dataset):
    expected = dataset.batch(range(5)).tokens
    np.testing.assert_array_equal(open_dataset(str(prefix)).batch(range(5)).tokens, expected)
    assert TokenShard.open(str(prefix)).prefix == prefix


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("sequence_length", 0, ValueError, "sequence_length is 0; it must be at least 1"),
        ("sequence_length", -8, ValueError, "sequence_length is -8"),
        ("sequence_length", 16.0, TypeError, "sequence_length is 16.0; it must be an integer"),
        ("num_threads", 0, ValueError, "num_threads is 0; it must be at least 1"),
    ],
)
def test_refuses_lengths_and_threads_that_make_no_sense(prefix, name, value, error, message):
    with pytest.raises(error, match=message):
        open_dataset(prefix, **{name: value})


def test_refuses_batches_of_no_length():
    with pytest.raises(ValueError, match="sequence_length is 0; it must be at least 1"):
        allocate_batch(4, 0)
    with pytest.raises(ValueError, match="size is -1; it must be at least 0"):
        allocate_batch(-1, 4)


def test_numbers_may_be_numpys(dataset):
    expected = dataset.batch([0, 3]).tokens
    for numbers in (np.array([0, 3], np.int32), np.array([0, 3], np.uint16), [np.int64(0), 3]):
        np.testing.assert_array_equal(dataset.batch(numbers).tokens, expected)
    assert dataset.cursors_after(np.int64(5)) == {"code": 5}
    assert dataset.locate(np.int32(3)) == ("code", 3)
    assert dataset.documents(np.uint8(3)) == dataset.documents(3)
    assert open_dataset(dataset.source("code").shard.prefix, sequence_length=np.int64(16))


@pytest.mark.parametrize("numbers", [[0.0, 1.5], [True], ["1"], [[0, 1]], 3, [None], [2**70]])
def test_refuses_numbers_of_samples_that_are_no_list_of_integers(dataset, numbers):
    with pytest.raises(TypeError, match="sample numbers must be a flat list of integers"):
        dataset.batch(numbers)


@pytest.mark.parametrize("numbers", [[3, -1], range(-1, 3), np.array([2**64 - 1], np.uint64)])
def test_refuses_negative_numbers_of_samples(dataset, numbers):
    dataset.batch(range(4))
    with pytest.raises(ValueError, match="sample numbers start at 0, got -1"):
        dataset.batch(numbers)


def test_refuses_a_negative_place_in_the_phase(dataset):
    for ask in (dataset.cursors_after, dataset.locate, dataset.documents):
        with pytest.raises(ValueError, match="is -1; it must be at least 0"):
            ask(-1)
        with pytest.raises(TypeError, match=r"is 0\.5; it must be an integer"):
            ask(0.5)


def test_refuses_a_batch_to_overwrite_that_has_another_shape(dataset):
    for into in (allocate_batch(3, SEQUENCE_LENGTH), allocate_batch(2, SEQUENCE_LENGTH + 1)):
        with pytest.raises(ValueError, match=r"a batch of 2 x 16 is to be read into one of"):
            dataset.batch(range(2), into=into)


@pytest.mark.parametrize(
    ("units", "message"),
    [
        ({"code": 0.25, "text": 0.75}, r"'code' is 0\.25, not a whole number .*quantise_weights"),
        ({"code": -1, "text": 2}, "'code' is -1, not a whole number from 0 on"),
        ({"code": "1"}, "'code' is '1', not a whole number"),
        ({"code": 0}, r"no source of \['code'\] has a weight"),
        ({}, r"no source of \[\] has a weight"),
    ],
)
def test_a_constant_plan_wants_whole_numbers(units, message):
    with pytest.raises(ConfigError, match=message):
        constant_plan(units)


def test_a_constant_plan_keeps_pythons_numbers():
    assert constant_plan({"code": np.int64(3)}) == constant_plan({"code": 3})


def test_megatrons_weights_have_any_sum():
    """As those of --data-path, which Megatron-LM divides by their sum."""
    of_one, of_100 = (
        megatron_plan({"code": share * total, "text": total - share * total}, 50).segments[0]
        for share, total in ((0.25, 1), (0.25, 100))
    )
    assert of_one.knots == of_100.knots
    assert of_100.shares == {"code": 25, "text": 75}


@pytest.mark.parametrize(
    ("shares", "num_samples", "error", "message"),
    [
        ({"code": -0.5, "text": 1.5}, 5, ConfigError, r"'code' is -0\.5; write a number from 0"),
        ({"code": float("nan")}, 5, ConfigError, "'code' is nan"),
        ({"code": 0.0}, 5, ConfigError, r"no source of \['code'\] has a weight"),
        ({"code": 1.0}, 0, ValueError, "num_samples is 0; it must be at least 1"),
        ({"code": 1.0}, 5.5, TypeError, r"num_samples is 5\.5; it must be an integer"),
    ],
)
def test_megatrons_plan_refuses_weights_without_a_sum(shares, num_samples, error, message):
    with pytest.raises(error, match=message):
        megatron_plan(shares, num_samples)


def test_a_torch_data_set_counts_its_items_from_its_first_sample(prefix):
    data = TorchDataset(lambda: open_dataset(prefix), 3, first_sample=np.int64(4))
    assert len(data) == 3
    tokens = open_dataset(prefix).batch(range(4, 7)).tokens
    np.testing.assert_array_equal([data[item]["tokens"].numpy() for item in range(3)], tokens)
    with pytest.raises(ValueError, match="first_sample is -1; it must be at least 0"):
        TorchDataset(lambda: open_dataset(prefix), 3, first_sample=-1)
