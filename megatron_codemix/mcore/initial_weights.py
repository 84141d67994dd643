"""Weights at step 0 as a function of (seed, parameter name), whatever the layout.

Each matrix is cut into blocks of rows whose size depends on its full width alone. A block's numbers
come from the counter-based generator Philox with a key made from seed and name and a counter made
from the block's number, so a rank draws just the rows that it holds. Normal with standard deviation
`init_std`, under muP smaller in the layers (config/mup.py); the two matrices of a layer that write
to the residual stream divide by sqrt(2 * num_layers) (Megatron-LM's and GPT-2's rule); biases 0,
normalisation weights 1.
"""

import hashlib
import math
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from megatron.core.models.gpt import GPTModel
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.mcore.engine.names import own_name
from megatron_codemix.mcore.experts import global_expert_name, is_expert
from megatron_codemix.mcore.groups import ModelParallel

BLOCK_ELEMENTS = 2**18
"""Numbers in one block, about; part of the definition of the weights, so never changed."""

_OUTPUT = "output_layer.weight"
_EMBEDDING = "embedding.word_embeddings.weight"
_RESIDUAL_WRITERS = ("linear_proj.weight", "linear_fc2.weight")


@torch.no_grad()
def initialize_weights(model: GPTModel, seed: int, parallel: ModelParallel) -> None:
    """Fills every parameter of this rank's part of the model."""
    experts = model.config.num_moe_experts or 0
    first_expert = parallel.expert_rank * (experts // parallel.expert_size)
    for name, parameter in global_parameters(model, first_expert):
        fill_parameter(name, parameter, seed, model.config, parallel)


@torch.no_grad()
def fill_parameter(
    name: str,
    parameter: torch.nn.Parameter,
    seed: int,
    config: TransformerConfig,
    parallel: ModelParallel,
) -> None:
    """Gives this rank's part of a parameter its values at step 0. name: as of
    `global_parameters`."""
    if name.endswith(".bias"):
        parameter.zero_()
    elif parameter.dim() == 1:
        parameter.fill_(1.0)
    else:
        std = _standard_deviation(name, config)
        values = _local_values(name, parameter, seed, config, parallel)
        values *= np.float32(std)
        weight = torch.from_numpy(values)
        parameter.copy_(weight)
        if hasattr(parameter, "_high_precision_init_val"):
            # Transformer Engine's name for what master weights are made from where the
            # parameter is FP8.
            parameter._high_precision_init_val = weight.to(parameter.dtype)


def global_parameters(
    model: GPTModel, first_expert: int = 0
) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Parameters by their name in the whole model: layers counted over all pipeline stages, experts
    over all ranks, the tied output layer of the last stage under the embedding's name, and those of
    Transformer Engine's layers under ours.

    first_expert: number of this rank's first one in each layer.
    """
    tied = model.share_embeddings_and_output_weights
    for name, parameter in model.named_parameters():
        if tied and name == _OUTPUT:
            yield _EMBEDDING, parameter
            continue
        match = re.match(r"decoder\.layers\.(\d+)\.(.*)", name)
        if match is None:
            yield name, parameter
        else:
            layer = model.decoder.layers[int(match.group(1))]
            inner = global_expert_name(own_name(match.group(2)), first_expert)
            yield f"decoder.layers.{layer.layer_number - 1}.{inner}", parameter


def _standard_deviation(name: str, config: TransformerConfig) -> float:
    if name in (_EMBEDDING, _OUTPUT):
        return float(config.embedding_init_method_std)
    if name.endswith(_RESIDUAL_WRITERS):
        return float(config.init_method_std / math.sqrt(2 * config.num_layers))
    return float(config.init_method_std)


def _local_values(
    name: str,
    parameter: torch.nn.Parameter,
    seed: int,
    config: TransformerConfig,
    parallel: ModelParallel,
) -> np.ndarray:
    """This rank's part (rows, columns) of the parameter's standard normal matrix, float32."""
    rows, columns = parameter.shape
    # Experts are never cut.
    rank, size = (0, 1) if is_expert(name) else (parallel.tensor_rank, parallel.tensor_size)
    if not getattr(parameter, "tensor_model_parallel", False):
        return normal_rows(seed, name, 0, rows, columns)
    if getattr(parameter, "partition_dim", 0) == 1:
        whole = normal_rows(seed, name, 0, rows, columns * size)
        return np.ascontiguousarray(whole[:, rank * columns : (rank + 1) * columns])
    if config.gated_linear_unit and name.endswith("linear_fc1.weight"):
        # A rank holds its part of the gate and its part of the value, one after the other.
        half = rows // 2
        gate = normal_rows(seed, name, rank * half, (rank + 1) * half, columns)
        value = normal_rows(seed, name, (size + rank) * half, (size + rank + 1) * half, columns)
        return np.concatenate([gate, value])
    return normal_rows(seed, name, rank * rows, (rank + 1) * rows, columns)


def normal_rows(seed: int, name: str, start: int, stop: int, columns: int) -> np.ndarray:
    """Rows [start, stop) of the standard normal matrix of (seed, name) with this many columns;
    float32. Blocks are drawn side by side, by as many threads as torch has."""
    block_rows = max(1, BLOCK_ELEMENTS // columns)
    key = np.frombuffer(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:16], dtype=np.uint64)
    rows = np.empty((stop - start, columns), dtype=np.float32)

    def draw(block: int) -> None:
        generator = np.random.Generator(np.random.Philox(key=key, counter=[0, 0, block, 0]))
        first = block * block_rows
        end = min(first + block_rows, stop)
        if first >= start:
            generator.standard_normal(dtype=np.float32, out=rows[first - start : end - start])
        else:
            values = generator.standard_normal((end - first, columns), dtype=np.float32)
            rows[: end - start] = values[start - first :]

    blocks = range(start // block_rows, -(-stop // block_rows))
    num_threads = min(torch.get_num_threads(), len(blocks))
    if num_threads <= 1:
        for block in blocks:
            draw(block)
    else:
        with ThreadPoolExecutor(num_threads) as threads:
            list(threads.map(draw, blocks))
    return rows
