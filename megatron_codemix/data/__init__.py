"""From token shards to batches: shards, manifests, mixture, data order, the batch record.

The names below are the public API (docs/data_engine.md). Each is loaded when it is first used, so
that importing one module of the package does not load the others; torch is never needed.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from megatron_codemix.data.batches import Batch, allocate_batch
    from megatron_codemix.data.dataset import MixtureDataset
    from megatron_codemix.data.mixture.mixture import Mixture
    from megatron_codemix.data.mixture.plan import (
        MixturePlan,
        Segment,
        constant_plan,
        megatron_plan,
    )
    from megatron_codemix.data.mixture.weights import WEIGHT_UNITS, quantise_weights
    from megatron_codemix.data.shards.layout import token_dtype
    from megatron_codemix.data.shards.manifest import Manifest
    from megatron_codemix.data.shards.token_shard import TokenShard
    from megatron_codemix.data.shards.writer import TokenShardWriter
    from megatron_codemix.data.source import DocumentSpan, SourceSpec
    from megatron_codemix.data.tokenizer import Tokenizer

__all__ = [
    "WEIGHT_UNITS",
    "Batch",
    "DocumentSpan",
    "Manifest",
    "Mixture",
    "MixtureDataset",
    "MixturePlan",
    "Segment",
    "SourceSpec",
    "TokenShard",
    "TokenShardWriter",
    "Tokenizer",
    "allocate_batch",
    "constant_plan",
    "megatron_plan",
    "quantise_weights",
    "token_dtype",
]

_MODULES = {
    "batches": ("Batch", "allocate_batch"),
    "dataset": ("MixtureDataset",),
    "mixture.mixture": ("Mixture",),
    "mixture.plan": ("MixturePlan", "Segment", "constant_plan", "megatron_plan"),
    "mixture.weights": ("WEIGHT_UNITS", "quantise_weights"),
    "shards.layout": ("token_dtype",),
    "shards.manifest": ("Manifest",),
    "shards.token_shard": ("TokenShard",),
    "shards.writer": ("TokenShardWriter",),
    "source": ("DocumentSpan", "SourceSpec"),
    "tokenizer": ("Tokenizer",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:  # Any: whatever the name stands for; see TYPE_CHECKING above
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
