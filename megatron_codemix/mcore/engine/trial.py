"""Tries Transformer Engine's layer beside ours before a model is built of it: the same weights and
input, in this layout, at the run's sequence length. What fails or computes something else is told,
not trained with.

Shapes: S this rank's part of the sequence, H hidden.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.distributed
from megatron.core.models.common.embeddings.rotary_pos_embedding import RotaryEmbedding
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.spec_utils import ModuleSpec, build_module
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.backend.devices import Backend
from megatron_codemix.mcore.engine.names import own_name
from megatron_codemix.mcore.groups import ModelParallel
from megatron_codemix.mcore.initial_weights import fill_parameter

BOUND = 0.2
"""On the difference of two results, relative to one of them, both as vectors. Rounding to bf16
parts them by up to 0.06, a bias of a norm over queries, all else by less than 0.02; without the
causal mask, or with another scale or rotation, a gradient is 0.8 or more apart
(tests/distributed/test_engine_trial.py)."""

_SEED = 0
_NOT_TRIED = {
    "fp8": None,
    "fp8_param": False,
    "num_moe_experts": None,
    "gradient_accumulation_fusion": False,
    "tp_comm_overlap": False,
    "recompute_granularity": None,
    "enable_cuda_graph": False,
    "external_cuda_graph": False,
    "cuda_graph_impl": "none",
    "timers": None,
    "virtual_pipeline_model_parallel_size": None,
}
"""Fields of TransformerConfig: what would need more than a layer, or round by intention."""


def tried_config(config: TransformerConfig) -> TransformerConfig:
    """Of a dense layer in the model's format, for a model with `config`."""
    tried = copy.copy(config)
    for name, value in _NOT_TRIED.items():
        assert hasattr(tried, name), name
        setattr(tried, name, value)
    return tried


@dataclass(frozen=True)
class Trial:
    """Where a layer is tried."""

    config: TransformerConfig
    """As tried_config gives it."""
    sequence_length: int
    rotary_base: float
    parallel: ModelParallel
    backend: Backend

    def fault(self, theirs: ModuleSpec, ours: ModuleSpec) -> str | None:
        """What is wrong with `theirs`, None if nothing is; either on all ranks. Every rank calls
        it. ours, theirs: dense sequential layers."""
        layers: list[MegatronModule] = []
        # A rank alone in its failure must not leave the others in the collectives of a layer.
        fault = self._agreed(lambda: layers.extend(map(self._layer, (theirs, ours))))
        return fault or self._agreed(lambda: _difference(*map(self._results, layers)))

    def _agreed(self, work: Callable[[], str | None]) -> str | None:
        """What it returns or raises, or that another rank has done either."""
        fault: str | None = None
        try:
            fault = work()
        except torch.OutOfMemoryError:
            raise  # of this run, not of the layer
        except Exception as error:  # whatever their kernels raise is the answer
            lines = str(error).strip().splitlines() or [""]
            fault = f"{type(error).__name__}: {lines[0]}"
        failed = torch.tensor([fault is not None], dtype=torch.int32, device=self.backend.device)
        torch.distributed.all_reduce(failed, torch.distributed.ReduceOp.MAX)
        if fault is None and failed.item():
            return "it fails on another rank"
        return fault

    def _results(self, layer: MegatronModule) -> dict[str, torch.Tensor]:
        """Output, gradient of the input and of each parameter, by our names."""
        hidden, gradient = self._numbers(_SEED), self._numbers(_SEED + 1)
        hidden.requires_grad_()
        output, _ = layer(hidden, attention_mask=None, rotary_pos_emb=self._angles())
        output.backward(gradient)
        assert hidden.grad is not None, "the layer reads its input"
        found = {"output": output.detach(), "gradient of the input": hidden.grad}
        for name, parameter in layer.named_parameters():
            if parameter.grad is not None:
                found[f"gradient of {own_name(name)}"] = parameter.grad
        return found

    def _layer(self, spec: ModuleSpec) -> MegatronModule:
        config = self.config
        layer: MegatronModule = build_module(
            spec, config=config, layer_number=1, pg_collection=self.parallel.groups
        )
        layer.to(self.backend.device)
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                own = f"decoder.layers.0.{own_name(name)}"
                fill_parameter(own, parameter, _SEED, config, self.parallel)
                if parameter.dim() == 1:
                    # Ones and zeros would hide a norm or a bias that is not applied,
                    parameter += torch.linspace(-0.5, 0.5, len(parameter)).to(parameter)
                else:
                    # and small weights what the branches give, beside the residual stream.
                    parameter *= config.hidden_size**-0.5 / config.init_method_std
        return layer

    def _numbers(self, seed: int) -> torch.Tensor:
        """The same numbers on every rank: [S, 1, H]."""
        config = self.config
        shares = config.context_parallel_size
        if config.sequence_parallel:
            shares *= config.tensor_model_parallel_size
        generator = torch.Generator().manual_seed(seed)
        shape = (self.sequence_length // shares, 1, config.hidden_size)
        values = torch.randn(shape, generator=generator)
        return values.to(self.backend.device, config.params_dtype)

    def _angles(self) -> torch.Tensor:
        angles: torch.Tensor = RotaryEmbedding(
            self.config.kv_channels,
            rotary_percent=1.0,
            rotary_interleaved=self.config.rotary_interleaved,
            rotary_base=self.rotary_base,
            use_cpu_initialization=self.config.use_cpu_initialization,
            cp_group=self.parallel.groups.cp,
        )(self.sequence_length)
        return angles


def _difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> str | None:
    """The largest that is beyond the bound, or is no number."""
    if found.keys() != expected.keys():
        names = sorted(found.keys() ^ expected.keys())
        return f"it has other parameters: {', '.join(names)}"
    apart = {
        name: float((found[name].float() - one.float()).norm() / one.float().norm())
        for name, one in expected.items()
        if one.any()
    }
    worst = max(apart, key=lambda name: (apart[name] != apart[name], apart[name]))
    if apart[worst] <= BOUND:
        return None
    return (
        f"a layer of it gives another {worst} than ours, apart by {apart[worst]:.2g} of its size "
        f"where {BOUND} is allowed"
    )
