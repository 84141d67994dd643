from dataclasses import replace

import numpy as np
import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.plan import phase_samples
from megatron_codemix.data.dataset import MixtureDataset
from megatron_codemix.data.mixture.plan import megatron_plan
from megatron_codemix.data.resolve import Inherited, resolve_data
from megatron_codemix.errors import ConfigError
from tests.helpers.tiny import SEQUENCE, write_run


def test_order_megatron_reads_megatrons_blend_for_the_length_of_the_run(tmp_path):
    """What MixtureDataset gives for that plan is compared with megatron-core in
    order/test_megatron.py."""
    config = load_run_config(write_run(tmp_path), ["data.order=megatron"])
    data = resolve_data(config)
    num_samples = phase_samples(config)
    expected = MixtureDataset(
        data.sources,
        megatron_plan({"code": 0.6, "text": 0.4}, num_samples),
        sequence_length=SEQUENCE,
        seed=config.train.seed,
    ).batch(range(num_samples))
    found = data.dataset().batch(range(num_samples))
    np.testing.assert_array_equal(found.tokens, expected.tokens)
    np.testing.assert_array_equal(found.source_id, expected.source_id)
    stateless = resolve_data(load_run_config(tmp_path / "run.yaml", []))
    assert not np.array_equal(found.tokens, stateless.dataset().batch(range(num_samples)).tokens)
    assert data.identity(config) != stateless.identity(config)


def test_refuses_a_cursor_that_counts_other_samples(tmp_path):
    data = resolve_data(load_run_config(write_run(tmp_path), []))
    per_epoch = data.dataset().samples_per_epoch["code"]
    state = Inherited(cursor=3, chain_tokens=96, samples_per_epoch=per_epoch)
    replace(data, inherited={"code": state}).dataset()
    other = Inherited(cursor=3, chain_tokens=96, samples_per_epoch=per_epoch + 1)
    with pytest.raises(ConfigError, match=rf"code: an epoch is {per_epoch} samples here and was"):
        replace(data, inherited={"code": other}).dataset()


def test_refuses_to_train_on_a_held_out_shard(tmp_path):
    config = write_run(tmp_path)
    override = f"data.sources.code.train={tmp_path / 'code.held'}"
    with pytest.raises(ConfigError, match=r"code\.held is a validation shard; it is held out"):
        resolve_data(load_run_config(config, [override]))


def test_says_so_where_a_shard_was_prepared_as_another_source(tmp_path, caplog):
    config = write_run(tmp_path)
    resolve_data(load_run_config(config, [f"data.sources.code.train={tmp_path / 'text'}"]))
    assert "was prepared as source 'text'; it is read as 'code'" in caplog.text
