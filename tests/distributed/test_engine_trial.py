"""The trial of one layer beside another, with layers of ours that are changed in Transformer
Engine's place."""

from typing import Any

import pytest

from megatron_codemix.config.schema import (
    BackendConfig,
    LayoutConfig,
    MoeConfig,
    PrecisionConfig,
)
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL

LENGTH = 128
LAYOUT = LayoutConfig(tensor=2, sequence_parallel=True)
MODELS = {
    "plain": MODEL,
    "biases and norms over queries": MODEL.model_copy(
        update={
            "qk_norm": True,
            "add_bias": True,
            "normalization": "layernorm",
            "activation": "gelu",
        }
    ),
}
WRONG = ("all keys seen", "another scale", "another rotation", "one norm left out")
FAILING = ("fails on both", "fails on the second")


def try_layers(context: RankContext) -> dict[str, Any]:
    """Of each model: what rounding makes, and the verdict on each layer."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore.engine.trial import Trial, tried_config
    from megatron_codemix.mcore.groups import initialize_model_parallel
    from megatron_codemix.mcore.transformer import build_transformer_config, layer_spec

    layout = LAYOUT
    backend = select_backend("cpu")
    parallel = initialize_model_parallel(layout, 1)
    found: dict[str, Any] = {}
    for name, model in MODELS.items():
        trials = {}
        for kind in ("fp32", "bf16"):
            precision = PrecisionConfig(kind=kind)
            config = build_transformer_config(model, layout, precision, backend.device)
            trials[kind] = Trial(tried_config(config), LENGTH, model.rope_base, parallel, backend)
        trial = trials["bf16"]
        results = {
            kind: one._results(one._layer(layer_spec(one.config, model)))
            for kind, one in trials.items()
        }
        found[name] = {
            "rounding": {
                what: float((results["bf16"][what].float() - exact).norm() / exact.norm())
                for what, exact in results["fp32"].items()
            }
        }
        for change in ("none", *WRONG, *FAILING):
            theirs = layer_spec(trial.config, model)
            put_in(theirs, change, context.rank)
            found[name][change] = trial.fault(theirs, layer_spec(trial.config, model))
        found[name]["order of memory"] = in_engines_order(trial, model, results["bf16"])
    found["experts"] = try_experts(parallel, backend)
    return found


def try_experts(parallel: Any, backend: Any) -> str | None:
    """The verdict on a model of experts whose layers are all ours; its whole way."""
    from megatron_codemix.mcore.engine import choice
    from megatron_codemix.mcore.engine.layers import EngineLayers
    from megatron_codemix.mcore.transformer import build_transformer_config

    moe = MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)
    model, precision = MODEL.model_copy(update={"moe": moe}), PrecisionConfig(kind="bf16")
    config = build_transformer_config(model, LAYOUT, precision, backend.device)
    asked = choice.Asked(BackendConfig(), model, LAYOUT, precision, LENGTH)
    put_into, EngineLayers.put_into = EngineLayers.put_into, lambda self, layer: None  # type: ignore[method-assign]  # of this process
    try:
        return choice._trial(asked, EngineLayers({"experts": ""}), config, parallel, backend)
    finally:
        EngineLayers.put_into = put_into  # type: ignore[method-assign]  # the same


def in_engines_order(trial: Any, model: Any, expected: dict[str, Any]) -> dict[str, Any]:
    """Of a layer around Transformer Engine's attention, which torch's stands in for: shapes and
    strides of what that is given, whether queries and keys came so, and which results are not those
    of our layer, bit for bit."""
    from megatron.core.extensions import transformer_engine

    from megatron_codemix.mcore.engine.attention import EngineAttention, EngineSelfAttention
    from megatron_codemix.mcore.layers import SdpaCoreAttention
    from megatron_codemix.mcore.transformer import layer_spec

    given, came_so = [], []

    class Seen(EngineAttention):
        def forward(self, query: Any, key: Any, *others: Any, **options: Any) -> Any:
            came_so.extend([query.is_contiguous(), key.is_contiguous()])
            return super().forward(query, key, *others, **options)

    class StandIn(SdpaCoreAttention):
        def forward(self, query: Any, key: Any, value: Any, mask: Any, mask_type: Any) -> Any:
            given.extend((tuple(one.shape), one.stride()) for one in (query, key, value))
            return super().forward(query, key, value, mask)

    spec = layer_spec(trial.config, model)
    spec.submodules.self_attention.module = EngineSelfAttention
    spec.submodules.self_attention.submodules.core_attention = Seen
    real = transformer_engine.TEDotProductAttention
    transformer_engine.TEDotProductAttention = StandIn
    try:
        results = trial._results(trial._layer(spec))
    finally:
        transformer_engine.TEDotProductAttention = real
    differing = [name for name, one in expected.items() if not results[name].equal(one)]
    return {"given": given, "came so": came_so, "differing": differing}


def put_in(spec: Any, change: str, rank: int) -> None:
    """Changes a layer's spec."""
    import torch
    from megatron.core.transformer.identity_op import IdentityOp

    from megatron_codemix.mcore.layers import SdpaCoreAttention

    class Changed(SdpaCoreAttention):
        def attend(self, query: Any, key: Any, value: Any, attention_mask: Any) -> Any:
            if change == "all keys seen":
                attention_mask = torch.zeros(1, 1, len(query), len(key), dtype=torch.bool)
            if change == "another scale":
                self.softmax_scale = 1.0
            if change == "another rotation":
                query = query.roll(1, dims=0)
            return super().attend(query, key, value, attention_mask)

    class Failing(SdpaCoreAttention):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            if change == "fails on both" or rank == 1:
                raise RuntimeError("no kernel image is available\nfor this device")

    if change in FAILING:
        spec.submodules.self_attention.submodules.core_attention = Failing
    elif change == "one norm left out":
        spec.submodules.pre_mlp_layernorm = IdentityOp
    elif change != "none":
        spec.submodules.self_attention.submodules.core_attention = Changed


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    return run_distributed(try_layers, 2)


@pytest.mark.parametrize("model", MODELS)
def test_rounding_is_far_within_the_bound(found: list[dict[str, Any]], model: str) -> None:
    """And the figures of its docstring are so."""
    from megatron_codemix.mcore.engine.trial import BOUND

    for rank in found:
        apart = rank[model]["rounding"]
        over_queries = [name for name in apart if "q_layernorm" in name or "k_layernorm" in name]
        assert max(apart.values()) < 0.06 < BOUND
        assert max(apart[name] for name in apart.keys() - set(over_queries)) < 0.02
        assert rank[model]["none"] is None


@pytest.mark.parametrize("change", WRONG)
@pytest.mark.parametrize("model", MODELS)
def test_a_layer_that_computes_something_else_is_told(
    found: list[dict[str, Any]], model: str, change: str
) -> None:
    faults = [rank[model][change] for rank in found]
    assert None not in faults
    assert any("than ours" in fault or "other parameters" in fault for fault in faults)


def test_a_layer_that_fails_is_told_and_no_rank_waits_for_it(
    found: list[dict[str, Any]],
) -> None:
    both = [rank["plain"]["fails on both"] for rank in found]
    assert both == ["RuntimeError: no kernel image is available"] * 2
    first, second = (rank["plain"]["fails on the second"] for rank in found)
    assert first == "it fails on another rank"
    assert second == "RuntimeError: no kernel image is available"


@pytest.mark.parametrize("model", MODELS)
def test_attention_is_given_whole_tensors_and_gives_the_same(
    found: list[dict[str, Any]], model: str
) -> None:
    """With one group of keys a rank and one sample, strides of size 1 are not to be any either:
    Transformer Engine compares those of keys and values."""
    for rank in found:
        seen = rank[model]["order of memory"]
        assert seen["differing"] == []
        assert seen["came so"] == [True, True]
        width = MODEL.hidden_size // MODEL.num_attention_heads
        assert [shape for shape, _ in seen["given"]] == [
            (LENGTH, 1, heads, width) for heads in (2, 1, 1)
        ]
        for (_, batch, heads, _), strides in seen["given"]:
            assert strides == (batch * heads * width, heads * width, width, 1)


def test_of_a_model_of_experts_the_dense_layer_is_tried(found: list[dict[str, Any]]) -> None:
    assert [rank["experts"] for rank in found] == [None, None]
