"""Transformer Engine's layers in a layer spec of ours."""

from collections.abc import Mapping
from dataclasses import dataclass

from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.spec_utils import ModuleSpec

from megatron_codemix.config.engine_checks import Part
from megatron_codemix.mcore.engine.attention import EngineAttention, EngineSelfAttention


@dataclass(frozen=True)
class EngineLayers:
    """All parts of a model but those that are `left_out`."""

    left_out: Mapping[Part, str]
    """-> why (config/engine_checks.py); not `layers`."""

    def put_into(self, layer: ModuleSpec) -> None:
        """Replaces the parts of a sequential transformer layer's spec. The table by which its
        sharded state gets its names stays: it names no part that is put there."""
        from megatron.core.extensions import transformer_engine as engine

        whole, has_norms = layer.submodules, "norms" not in self.left_out
        linear = (
            engine.TELayerNormColumnParallelLinear if has_norms else engine.TEColumnParallelLinear
        )
        attention = whole.self_attention.submodules
        attention.linear_qkv, attention.linear_proj = linear, engine.TERowParallelLinear
        if has_norms:
            whole.input_layernorm = IdentityOp
            for name in ("q_layernorm", "k_layernorm"):
                if getattr(attention, name) is not IdentityOp:
                    setattr(attention, name, engine.TENorm)
        if "attention" not in self.left_out:
            attention.core_attention = EngineAttention
            whole.self_attention.module = EngineSelfAttention
        if "experts" in self.left_out:
            if has_norms:  # the router reads what the norm gives as well
                whole.pre_mlp_layernorm = engine.TENorm
            return
        mlp = whole.mlp.submodules
        mlp.linear_fc1, mlp.linear_fc2 = linear, engine.TERowParallelLinear
        if has_norms:
            whole.pre_mlp_layernorm = IdentityOp

    @property
    def last_norm(self) -> type | None:
        """Of the model, behind its layers; None: ours."""
        if not {"norms", "last norm"}.isdisjoint(self.left_out):
            return None
        from megatron.core.extensions.transformer_engine import TENorm

        norm: type = TENorm
        return norm
