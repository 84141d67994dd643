"""What megatron-core is told of FP8, and what it refuses itself."""

import warnings
from typing import Any

import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.config.schema import Fp8Config, LayoutConfig, PrecisionConfig
from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.fp8.layers import Fp8Layers, engine_fields, require_fp8_device
from megatron_codemix.mcore.transformer import build_transformer_config
from tests.helpers.training import MODEL


def transformer_config(**fields: Any) -> Any:  # Any: megatron-core's
    from megatron.core.transformer.transformer_config import TransformerConfig

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own defaults
        return TransformerConfig(num_layers=4, hidden_size=64, num_attention_heads=4, **fields)


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"recipe": "tensorwise"}, {"fp8": "hybrid", "fp8_recipe": "tensorwise"}),
        ({"recipe": "blockwise"}, {"fp8": "e4m3", "fp8_recipe": "blockwise"}),
        ({"recipe": "mxfp8"}, {"fp8": "e4m3", "fp8_recipe": "mxfp8"}),
        (
            {"recipe": "delayed", "amax_history_length": 16, "margin": 1},
            {
                "fp8": "hybrid",
                "fp8_recipe": "delayed",
                "fp8_amax_history_len": 16,
                "fp8_amax_compute_algo": "max",
                "fp8_margin": 1,
            },
        ),
        (
            {"recipe": "tensorwise", "first_last_bf16": True, "fp8_params": True},
            {
                "first_last_layers_bf16": True,
                "num_layers_at_start_in_bf16": 1,
                "num_layers_at_end_in_bf16": 1,
                "fp8_param": True,
            },
        ),
    ],
)
def test_megatron_core_takes_what_a_recipe_sets(
    asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    config = transformer_config(**engine_fields(Fp8Config(**asked)))
    assert {name: getattr(config, name) for name in expected} == expected


def test_what_we_refuse_is_what_megatron_core_refuses() -> None:
    fields = engine_fields(Fp8Config(recipe="delayed", first_last_bf16=True))
    with pytest.raises(ValueError, match="first / last layer in BF16"):
        transformer_config(**fields)


@pytest.mark.parametrize(
    "precision",
    [PrecisionConfig(kind="bf16"), Fp8Config(recipe="emulated", rule="delayed")],
)
def test_megatron_core_hears_nothing_of_emulation(precision: Any) -> None:
    assert engine_fields(precision) == {}


@pytest.mark.parametrize("recipe", ["tensorwise", "blockwise", "delayed", "mxfp8"])
def test_a_recipe_is_refused_by_name_on_a_cpu(recipe: Any) -> None:
    with pytest.raises(UnavailableError, match=r"precision\.recipe: Transformer Engine multiplies"):
        build_transformer_config(
            MODEL, LayoutConfig(), Fp8Config(recipe=recipe), torch.device("cpu")
        )


def test_a_gpu_that_cannot_multiply_so_is_told_before_the_first_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where nvidia-smi is missing, nothing has asked before."""
    scaled = Fp8Config(recipe="torch_scaled_mm", rule="tensorwise")
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 0))
    with pytest.raises(UnavailableError, match=r"8\.9 or higher, and this one has 8\.0"):
        require_fp8_device(scaled, gpu)
    require_fp8_device(scaled, torch.device("cpu"))
    require_fp8_device(PrecisionConfig(kind="bf16"), gpu)
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: (8, 9))
    require_fp8_device(scaled, gpu)


@pytest.mark.parametrize("num_layers", [3, 4, 7])
def test_first_and_last_are_those_of_megatron_core(num_layers: int) -> None:
    from megatron.core.fp8_utils import is_first_last_bf16_layer

    precision = Fp8Config(recipe="tensorwise", first_last_bf16=True)
    layers = Fp8Layers(precision, None, torch.device("cpu"))  # type: ignore[arg-type]  # not asked
    config = transformer_config(**engine_fields(precision))
    config.num_layers = num_layers
    for number in range(num_layers):
        assert layers.takes(number, num_layers) != is_first_last_bf16_layer(config, number)
