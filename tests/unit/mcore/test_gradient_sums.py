"""Who adds up the gradients of weights, asked of stand-ins with Transformer Engine's attribute."""

import warnings
from typing import Any

import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.errors import ConfigError
from megatron_codemix.mcore.gradient_sums import let_layers_sum, sum_field
from megatron_codemix.mcore.transformer import TransformerConfig

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
NO, YES = ({"gradient_accumulation_fusion": is_on} for is_on in (False, True))
AVAILABLE = "megatron.core.tensor_parallel.layers._grad_accum_fusion_available"


class EngineLinear(torch.nn.Linear):
    """Its attribute is what Transformer Engine 2.11 reads in each forward pass (module/linear.py)
    and names in its constructor (tests/contracts/engines.json)."""

    fuse_wgrad_accumulation = False


def config() -> Any:  # Any: megatron-core's
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own defaults
        return TransformerConfig(num_layers=1, hidden_size=8, num_attention_heads=1)


def chunk() -> torch.nn.Module:
    return torch.nn.Sequential(EngineLinear(2, 2), torch.nn.Linear(2, 2), EngineLinear(2, 2))


def test_layers_of_the_engine_sum_and_graphs_are_told() -> None:
    chunks, told = [chunk(), chunk()], config()
    assert let_layers_sum(chunks, told, {}) == 4
    assert [layer.fuse_wgrad_accumulation for each in chunks for layer in (each[0], each[2])] == [
        True
    ] * 4
    assert told.gradient_accumulation_fusion


def test_an_override_keeps_them_from_it() -> None:
    one, told = chunk(), config()
    assert let_layers_sum([one], told, NO) == 0
    assert not one[0].fuse_wgrad_accumulation
    assert not told.gradient_accumulation_fusion


def test_without_such_layers_nothing_is_said() -> None:
    told = config()
    assert let_layers_sum([torch.nn.Linear(2, 2)], told, {}) == 0
    assert not told.gradient_accumulation_fusion


def test_the_output_layer_sums_with_apex_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(AVAILABLE, False)
    assert not sum_field(GPU, {})
    with pytest.raises(ConfigError, match=r"gradient_accumulation_fusion: true needs Apex"):
        sum_field(GPU, YES)
    monkeypatch.setattr(AVAILABLE, True)
    assert sum_field(GPU, {})
    assert sum_field(GPU, YES)
    assert not sum_field(CPU, {})
