"""Parameters of one rank's part of small models, and what it writes into a checkpoint: of
Transformer Engine's layers where they load, of ours everywhere.

    python -m tools.engine_layers ours

Models are built on torch's `meta` device in a group without peers, so a GPU is neither needed nor
taken: on a machine that has one, with CUDA_VISIBLE_DEVICES= .
"""

import json
import sys
import warnings
from collections.abc import Iterable
from typing import Any, Literal

from megatron_codemix.config.engine_checks import left_out
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, MoeConfig, PrecisionConfig

_PLAIN = ModelConfig(
    num_layers=2,
    hidden_size=64,
    ffn_hidden_size=96,
    num_attention_heads=4,
    num_query_groups=2,
    vocabulary_size=256,
    tie_embeddings=False,
)
MODELS = {
    "plain": _PLAIN,
    "biases": _PLAIN.model_copy(
        update={
            "normalization": "layernorm",
            "activation": "gelu",
            "add_bias": True,
            "qk_norm": True,
        }
    ),
    "norms without bias": _PLAIN.model_copy(
        update={"normalization": "layernorm_no_bias", "qk_norm": True}
    ),
    "scaled logits": _PLAIN.model_copy(update={"logit_scale": 0.5}),
    "experts": _PLAIN.model_copy(
        update={"moe": MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)}
    ),
}
LAYOUT = LayoutConfig(tensor=2, pipeline=2, sequence_parallel=True)
WORLD_SIZE, RANK = 4, 3
"""The second tensor-parallel rank of the last stage."""


def describe(whose: Literal["theirs", "ours"]) -> dict[str, Any]:  # Any: JSON values
    """Model -> `parameters`, by our names in the whole model, and `checkpoint`, by the names in the
    file."""
    from megatron_codemix.backend.planning import PlanningBackend, join_as, leave
    from megatron_codemix.mcore import model as models
    from megatron_codemix.mcore.groups import destroy_model_parallel, initialize_model_parallel

    precision = PrecisionConfig(kind="bf16")
    backend = PlanningBackend()
    backend.prepare()
    if whose == "theirs":
        take_theirs()
    join_as(RANK, WORLD_SIZE)
    parallel = initialize_model_parallel(LAYOUT, seed=0)
    found = {}
    try:
        for name, model in MODELS.items():
            with backend.device, warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch and megatron-core, of their own calls
                [chunk] = models.build_model(
                    model,
                    LAYOUT,
                    precision,
                    sequence_length=64,
                    seed=None,
                    parallel=parallel,
                    backend=backend,
                )
                found[name] = {"parameters": _parameters(chunk), "checkpoint": _checkpoint(chunk)}
    finally:
        destroy_model_parallel()
        leave()
    return found


def take_theirs() -> None:
    """Has this process, without a GPU, build models of Transformer Engine's layers: what a GPU
    decides, and what Transformer Engine asks when a layer is made."""
    import torch

    from megatron_codemix.mcore import model as models
    from megatron_codemix.mcore.engine.layers import EngineLayers

    models.choose_engine = lambda asked, *unused: EngineLayers(
        left_out(asked.model, asked.layout, asked.precision)
    )
    torch.cuda.is_available = lambda: True


def _parameters(chunk: Any) -> dict[str, Any]:
    """Shape, and the marks by which megatron-core and ours treat it."""
    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.model import gpt_of

    return {
        name: {
            "shape": list(parameter.shape),
            "dtype": str(parameter.dtype),
            "cut along": (
                parameter.partition_dim
                if getattr(parameter, "tensor_model_parallel", False)
                else None
            ),
            "sequence parallel": bool(getattr(parameter, "sequence_parallel", False)),
            "allreduce": bool(getattr(parameter, "allreduce", True)),
        }
        for name, parameter in global_parameters(gpt_of(chunk))
    }


def _checkpoint(chunk: Any) -> dict[str, Any]:
    """Place of each tensor in the whole one; of other entries nothing but that they are there."""
    from megatron.core.dist_checkpointing.dict_utils import nested_values
    from megatron.core.dist_checkpointing.mapping import ShardedTensor, apply_factories

    from megatron_codemix.mcore.checkpoint import sharded_weights

    state = sharded_weights([chunk])
    apply_factories(state)
    found: dict[str, Any] = {}
    for place in nested_values(state):
        if isinstance(place, ShardedTensor):
            where = [list(place.global_shape), list(place.global_offset), list(place.replica_id)]
            found.setdefault(place.key, []).append(where)
        else:
            found[place.unique_key] = [list(place.replica_id)]
    return {key: sorted(places) for key, places in found.items()}


def differences(found: Any, expected: Any, path: str = "") -> Iterable[str]:
    """Where two descriptions are not the same."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for name in sorted(found.keys() | expected.keys()):
            if name not in found or name not in expected:
                yield f"{path}/{name}: in one alone"
            else:
                yield from differences(found[name], expected[name], f"{path}/{name}")
    elif found != expected:
        yield f"{path}: {found} and {expected}"


if __name__ == "__main__":
    if sys.argv[1] == "theirs":
        import torch  # noqa: F401  # first: Transformer Engine finds its libraries through it
        import transformer_engine.pytorch  # noqa: F401  # before it is left out
    print(json.dumps(describe(sys.argv[1])))  # type: ignore[arg-type]
