"""`model:` <-> config.json, with transformers' own configurations on the other side."""

from pathlib import Path
from typing import Any

import pytest
import transformers

from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.files import read_json
from megatron_codemix.hugging_face.shape import config_json, family_of, model_of

LLAMA = ModelConfig(
    num_layers=3,
    hidden_size=64,
    ffn_hidden_size=96,
    num_attention_heads=4,
    num_query_groups=2,
    vocabulary_size=300,
    norm_epsilon=3e-6,
    rope_base=20000.0,
    tie_embeddings=False,
    init_std=0.03,
)
COHERE = LLAMA.model_copy(
    update={
        "block": "parallel",
        "normalization": "layernorm_no_bias",
        "rope_interleaved": True,
        "tie_embeddings": True,
        "logit_scale": 0.3,
    }
)
CASES = {
    "LlamaForCausalLM": LLAMA,
    "LlamaForCausalLM, wide heads": LLAMA.model_copy(update={"head_dim": 24}),
    "LlamaForCausalLM, geglu": LLAMA.model_copy(update={"activation": "geglu"}),
    "Qwen3ForCausalLM": LLAMA.model_copy(update={"qk_norm": True, "tie_embeddings": True}),
    "CohereForCausalLM": COHERE,
    "CohereForCausalLM, untied": COHERE.model_copy(update={"tie_embeddings": False}),
}


def exported(model: ModelConfig) -> dict[str, Any]:
    return config_json(
        model, family_of(model), sequence_length=128, end_of_document_id=7, dtype="bfloat16"
    )


@pytest.mark.parametrize("name", CASES)
def test_transformers_reads_what_is_written_and_writes_what_is_read(
    name: str, tmp_path: Path
) -> None:
    record = exported(CASES[name])
    assert record["architectures"] == [name.split(",")[0]]
    read = transformers.AutoConfig.for_model(**record)
    assert type(read).__name__ == record["architectures"][0].replace("ForCausalLM", "Config")
    written = read.to_dict()
    for key, value in record.items():
        if key not in ("torch_dtype", "rope_theta"):  # names of transformers 4
            assert str(written[key]).removeprefix("torch.") == str(value), key
    read.save_pretrained(tmp_path)
    saved = read_json(tmp_path / "config.json")
    assert model_of(saved, "there")[0] == CASES[name]


def test_names_of_transformers_4_are_read() -> None:
    record = exported(LLAMA)
    del record["rope_parameters"]
    assert model_of(record, "there")[0] == LLAMA


def test_a_mistral_without_a_window_is_a_llama() -> None:
    read = transformers.MistralConfig(sliding_window=None, architectures=["MistralForCausalLM"])
    model, family = model_of(read.to_dict(), "there")
    assert family.architecture == "MistralForCausalLM"
    assert family_of(model).architecture == "LlamaForCausalLM"
    assert (model.num_layers, model.num_query_groups, model.head_dim) == (32, 8, None)
    assert model.norm_epsilon == 1e-6


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"normalization": "layernorm"}, "model.normalization: layernorm"),
        ({"rope_interleaved": True}, "model.rope_interleaved: True"),
        ({"block": "parallel"}, "has layernorm_no_bias"),
        ({"add_bias": True}, "model.add_bias"),
        ({"activation": "gelu"}, "model.activation: gelu"),
        ({"moe": {"num_experts": 4, "top_k": 2, "balance_coefficient": 0}}, "model.moe"),
        ({"logit_scale": 0.3}, "the logits' factor is 0.3"),
        ({"mup": {"base_hidden_size": 48}}, "the logits' factor is 0.75"),
        ({"mup": {"base_hidden_size": 16, "base_head_dim": 8}}, "model.mup.base_head_dim"),
        ({"transformer_overrides": {"qk_clip": "true"}}, "transformer_overrides.qk_clip"),
        ({"num_attention_heads": 6, "head_dim": 16}, "does not divide hidden_size 64"),
    ],
)
def test_what_no_architecture_computes_is_refused_by_name(
    changes: dict[str, Any], named: str
) -> None:
    model = ModelConfig.model_validate(LLAMA.model_dump() | changes)
    with pytest.raises(ConfigError, match=named):
        family_of(model)


def test_a_power_of_two_goes_into_the_weights() -> None:
    mup = ModelConfig.model_validate(LLAMA.model_dump() | {"mup": {"base_hidden_size": 16}})
    assert family_of(mup).architecture == "LlamaForCausalLM"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architectures: .*GPT2LMHeadModel"),
        ({"architectures": None}, "architectures"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_type: linear"),
        ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}}, "rope_type: llama3"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"attention_bias": True}, "attention_bias"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"hidden_act": "relu"}, "hidden_act: relu"),
        ({"architectures": ["MistralForCausalLM"]}, "sliding_window"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "sliding_window"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"hidden_size": None}, "hidden_size: is missing"),
    ],
)
def test_what_our_models_lack_is_refused_by_name(changes: dict[str, Any], named: str) -> None:
    record = exported(LLAMA) | changes
    if "rope_scaling" in changes:
        del record["rope_parameters"]
    with pytest.raises(ConfigError, match=f"there: {named}"):
        model_of(record, "there")
