"""Where Transformer Engine's layers stand in a spec, and what they leave in a checkpoint."""

from typing import Any

import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.config.engine_checks import left_out
from megatron_codemix.config.schema import LayoutConfig, MoeConfig, PrecisionConfig
from megatron_codemix.mcore.engine.extra_states import of_linear_layers, understood
from megatron_codemix.mcore.engine.layers import EngineLayers
from megatron_codemix.mcore.engine.names import own_name
from megatron_codemix.mcore.transformer import build_transformer_config, layer_spec
from tests.helpers.training import MODEL

# megatron-core warns of its own defaults.
pytestmark = pytest.mark.filterwarnings("default::UserWarning")

MODELS = {
    "plain": MODEL,
    "norms over queries": MODEL.model_copy(update={"qk_norm": True}),
    "norms without bias": MODEL.model_copy(
        update={"normalization": "layernorm_no_bias", "qk_norm": True}
    ),
    "scaled logits": MODEL.model_copy(update={"logit_scale": 0.5}),
    "experts": MODEL.model_copy(
        update={"moe": MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)}
    ),
}
EXPECTED = {
    "plain": ("fused", "fused", "", "theirs"),
    "norms over queries": ("fused", "fused", "theirs", "theirs"),
    "norms without bias": ("apart", "apart", "ours", "ours"),
    "scaled logits": ("fused", "fused", "", "ours"),
    "experts": ("fused", "router", "", "theirs"),
}
"""Norm before attention, before the MLP, over queries and keys, behind the last layer."""


@pytest.mark.parametrize("name", MODELS)
def test_parts_stand_where_their_layers_are(name: str) -> None:
    from megatron.core.extensions import transformer_engine as engine
    from megatron.core.transformer.identity_op import IdentityOp

    from megatron_codemix.mcore.engine.attention import EngineAttention, EngineSelfAttention

    model, layout = MODELS[name], LayoutConfig()
    precision = PrecisionConfig(kind="bf16")
    config = build_transformer_config(model, layout, precision, torch.device("cpu"))
    ours, layer = layer_spec(config, model), layer_spec(config, model)
    taken = EngineLayers(left_out(model, layout, precision))
    taken.put_into(layer)
    before_attention, before_mlp, over_queries, last = EXPECTED[name]
    columns = {
        "fused": engine.TELayerNormColumnParallelLinear,
        "apart": engine.TEColumnParallelLinear,
    }

    attention = layer.submodules.self_attention.submodules
    assert attention.linear_qkv is columns[before_attention]
    assert (layer.submodules.input_layernorm is IdentityOp) == (before_attention == "fused")
    assert attention.linear_proj is engine.TERowParallelLinear
    assert attention.core_attention is EngineAttention
    assert layer.submodules.self_attention.module is EngineSelfAttention
    for norm in (attention.q_layernorm, attention.k_layernorm):
        assert (norm is IdentityOp) == (over_queries == "")
        assert (norm is engine.TENorm) == (over_queries == "theirs")
    mlp = layer.submodules.mlp.submodules
    if before_mlp == "router":
        assert layer.submodules.pre_mlp_layernorm is engine.TENorm
        assert mlp == ours.submodules.mlp.submodules
    else:
        assert mlp.linear_fc1 is columns[before_mlp]
        assert mlp.linear_fc2 is engine.TERowParallelLinear
        assert (layer.submodules.pre_mlp_layernorm is IdentityOp) == (before_mlp == "fused")
    assert taken.last_norm is (engine.TENorm if last == "theirs" else None)
    # The table by which the sharded state of a layer gets its names.
    assert (
        layer.submodules.sharded_state_dict_keys_map
        == ours.submodules.sharded_state_dict_keys_map
        != {}
    )


def test_attention_under_context_parallelism_stays_ours() -> None:
    from megatron.core.transformer.attention import SelfAttention

    from megatron_codemix.mcore.layers import SdpaCoreAttention

    layout, precision = LayoutConfig(context=2), PrecisionConfig(kind="bf16")
    config = build_transformer_config(MODEL, layout, precision, torch.device("cpu"))
    layer = layer_spec(config, MODEL)
    EngineLayers(left_out(MODEL, layout, precision)).put_into(layer)
    core = layer.submodules.self_attention.submodules.core_attention
    assert core is SdpaCoreAttention
    assert layer.submodules.self_attention.module is SelfAttention


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("self_attention.linear_qkv.layer_norm_weight", "input_layernorm.weight"),
        ("self_attention.linear_qkv.layer_norm_bias", "input_layernorm.bias"),
        ("mlp.linear_fc1.layer_norm_weight", "pre_mlp_layernorm.weight"),
        ("mlp.linear_fc1.layer_norm_bias", "pre_mlp_layernorm.bias"),
        ("mlp.linear_fc1.weight", "mlp.linear_fc1.weight"),
        ("self_attention.q_layernorm.weight", "self_attention.q_layernorm.weight"),
    ],
)
def test_a_parameter_has_our_name(theirs: str, ours: str) -> None:
    assert own_name(theirs) == own_name(ours) == ours


class Keeping(torch.nn.Module):
    """A layer that keeps what it is made with."""

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state

    def get_extra_state(self) -> Any:
        return self.state

    def set_extra_state(self, state: Any) -> None:
        self.state = state


def test_states_of_another_kind_of_layer_are_not_handed_on() -> None:
    scales = {"scale": torch.ones(3)}
    model = torch.nn.ModuleDict(
        {
            "theirs": Keeping(torch.empty(0, dtype=torch.uint8)),
            "theirs_too": Keeping(torch.zeros(2, dtype=torch.uint8)),
            "ours": Keeping(None),
            "ours_too": Keeping(scales),
            "norm": Keeping(torch.empty(0)),
            "output_layer": Keeping(None),
            "plain": torch.nn.Linear(2, 2, bias=False),
        }
    )
    pickled = torch.tensor([1, 2], dtype=torch.uint8)
    weight = torch.full((2, 2), 7.0)
    loaded = {
        "theirs._extra_state": None,
        "theirs_too._extra_state": pickled,
        "ours._extra_state": pickled,
        "ours_too._extra_state": pickled,
        "plain.weight": weight,
    }
    model.load_state_dict(understood(loaded, model), strict=True)
    assert model["theirs"].state.numel() == 0
    assert model["theirs_too"].state is pickled
    assert model["ours"].state is None
    assert model["ours_too"].state is scales
    assert model["plain"].weight.equal(weight)


def test_a_checkpoint_has_states_of_linear_layers_alone() -> None:
    linear = [f"decoder.layers.0.mlp.linear_fc{n}._extra_state" for n in (1, 2)]
    names = [
        *linear,
        "decoder.layers.0.mlp.linear_fc1.weight",
        "output_layer._extra_state",
        "decoder.layers.0.self_attention.core_attention.engine._extra_state",
        "decoder.layers.0.self_attention.q_layernorm._extra_state",
        "decoder.final_layernorm._extra_state",
    ]
    assert list(of_linear_layers(dict.fromkeys(names))) == names[:3]
