"""transformer_overrides: checked against the record, and the record against megatron-core."""

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from megatron_codemix.config.overrides import check_overrides, recorded_fields, typed_overrides
from megatron_codemix.errors import ConfigError
from tests.helpers.tools import load_tool

ROOT = Path(__file__).parents[3]


@pytest.mark.filterwarnings("ignore")  # of megatron-core's imports
def test_the_record_is_that_of_the_installed_megatron_core() -> None:
    module = load_tool("record_transformer_fields")
    path = ROOT / "megatron_codemix" / "config" / "transformer_fields.json"
    installed = module.record()
    assert json.loads(path.read_text()) == installed
    assert path.read_text() == module.as_json(installed) + "\n"
    assert installed["megatron_core"] == version("megatron-core")


@pytest.mark.filterwarnings("ignore")
def test_typed_overrides_are_taken_by_transformer_config() -> None:
    import megatron_codemix.mcore  # noqa: F401, I001  # first: lets it load without CUDA
    from megatron.core.transformer import TransformerConfig

    overrides = typed_overrides(
        {
            "cross_entropy_fusion_impl": "te",
            "min_offloaded_tensor_size": "7",
            "add_qkv_bias": "true",
            "softmax_scale": "0.25",
            "no_rope_freq": "[0, 1]",
        }
    )
    config = TransformerConfig(num_layers=2, hidden_size=8, num_attention_heads=2, **overrides)
    assert config.cross_entropy_fusion_impl == "te"
    assert config.min_offloaded_tensor_size == 7
    assert config.add_qkv_bias is True
    assert config.softmax_scale == 0.25
    assert config.no_rope_freq == [0, 1]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("add_qkv_bias", "True", True),
        ("add_qkv_bias", "false", False),
        ("no_rope_freq", "none", None),
        ("no_rope_freq", " 3 ", 3),
        ("offload_modules", "[core_attn, mlp]", ["core_attn", "mlp"]),
        ("offload_modules", "[]", []),
        ("no_rope_freq", "4", 4),
        ("glu_linear_offset", "1e-3", 1e-3),
        ("cross_entropy_fusion_impl", "te", "te"),
        ("config_logger_dir", "none", "none"),
    ],
)
def test_text_is_typed_by_the_field(name: str, text: str, value: object) -> None:
    assert typed_overrides({name: text}) == {name: value}


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("hidden_size", "8", "is decided by model.hidden_size; set that instead"),
        ("bf16", "true", "is decided by precision.kind"),
        ("rotary_interleaved", "true", "is decided by model.rope_interleaved"),
        ("context_parallel_size", "2", "is decided by layout.context"),
        ("cp_comm_type", "a2a", "which has no such dimension"),
        ("moe_router_topk", "2", "is decided by model.moe"),
        ("fp8_recipe", "delayed", "is decided by precision; set that instead"),
        ("first_last_layers_bf16", "true", "is decided by precision.first_last_bf16"),
        ("mtp_num_layers", "2", "have no such part"),
        ("attention_dropout", "0.1", "a resumed run would differ"),
        ("barrier_with_L1_time", "false", "nothing of what is built reads it"),
        ("apply_residual_connection_post_layernorm", "true", "nothing of what is built reads it"),
        ("pipeline_model_parallel_comm_backend", "ucc", "nothing of what is built reads it"),
        ("async_tensor_model_parallel_allreduce", "true", "nothing of what is built reads it"),
        ("use_fused_weighted_squared_relu", "true", "have no such part"),
        ("delay_wgrad_compute", "true", "needs overlap_moe_expert_parallel_comm"),
        ("use_ring_exchange_p2p", "true", "no release of PyTorch has the ring_exchange"),
        ("timers", "x", "its value is an object of Python"),
        ("cuda_graph_impl", "local", "is decided by backend.cuda_graphs; set that instead"),
        ("softmax_scal", "1", "no such field; did you mean 'softmax_scale'?"),
        ("cross_entropy_fusion_impl", "t", "expected 'native' or 'te', got 't'"),
        ("add_qkv_bias", "yes", "expected bool, got 'yes'"),
        ("softmax_scale", "nan", "expected float or none, got 'nan'"),
        ("offload_modules", "a, b", "expected list[str] or none"),
        ("no_rope_freq", "[1, x]", "expected int or list[int] or none"),
    ],
)
def test_what_cannot_be_set_is_refused_with_the_reason(name: str, text: str, problem: str) -> None:
    (found,) = check_overrides({name: text})
    assert found.startswith(f"model.transformer_overrides.{name}: ")
    assert problem in found
    with pytest.raises(ConfigError):
        typed_overrides({name: text})


def test_every_field_is_either_settable_or_refused_with_a_reason() -> None:
    for name, forms in recorded_fields().items():
        problems = check_overrides({name: "surely not a value"})
        takes_any_text = forms and "str" in forms
        assert problems or takes_any_text, name
