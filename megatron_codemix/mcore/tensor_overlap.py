"""`layout.tensor_overlap`: Transformer Engine's linear layers send and receive pieces of
activations over NVLink, in buffers of its own, while they multiply others."""

import contextlib
import socket
from collections.abc import Iterator, Sequence

import torch
import torch.distributed

from megatron_codemix.backend.devices import Backend
from megatron_codemix.config.engine_options import OVERLAP
from megatron_codemix.config.schema import Fp8Config, RunConfig
from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.groups import ModelParallel

LINEAR_LAYERS = 4
"""Of a transformer layer: queries, keys and values; attention's output; both of the MLP."""


@contextlib.contextmanager
def overlap_buffers(config: RunConfig, parallel: ModelParallel, backend: Backend) -> Iterator[None]:
    """The buffers, for as long as models of `config` are trained; nothing where none are asked for.
    Every rank enters it before its model is built.

    They have the shape of one microbatch before it is cut along the sequence, which a validation's
    have too. Raises UnavailableError where tensor-parallel ranks are not neighbours on one node, or
    Transformer Engine cannot make them.
    """
    if not config.layout.tensor_overlap:
        yield
        return
    _require_one_node(parallel)
    try:
        from transformer_engine.pytorch import (
            UserBufferQuantizationMode,
            destroy_ub,
            initialize_ub,
        )

        modes = [UserBufferQuantizationMode.NONE]
        if isinstance(config.precision, Fp8Config):
            # Those without FP8 are for a validation, and for layers that stay bf16.
            modes.insert(0, UserBufferQuantizationMode.FP8)
        initialize_ub(
            buffer_shape(config),
            parallel.tensor_size,
            quantization_modes=modes,
            # Tells the ranks of each other's memory; no other library is there in every run.
            bootstrap_backend=backend.collectives,
        )
    except (ImportError, AssertionError, RuntimeError) as error:  # all three are how it says no
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise UnavailableError(
            f"{OVERLAP}: Transformer Engine cannot make its buffers: {lines[0]}; set it to false"
        ) from error
    try:
        yield
    finally:
        destroy_ub()


def buffer_shape(config: RunConfig) -> list[int]:
    """[tokens, width] of what is gathered and reduced: a microbatch of this context-parallel
    rank."""
    layout = config.layout
    tokens = config.data.sequence_length * layout.microbatch_sequences // layout.context
    return [tokens, config.model.hidden_size]


def require_buffered_layers(chunks: Sequence[torch.nn.Module], num_layers: int) -> None:
    """Raises UnavailableError unless all linear layers of a rank's `num_layers` transformer layers
    take the buffers: others would wait for their collectives as before, without a word."""
    layers = [module for chunk in chunks for module in chunk.modules()]
    names = ("ub_overlap_ag_fprop", "ub_overlap_rs_fprop")
    found = sum(any(getattr(layer, name, False) for name in names) for layer in layers)
    wanted = LINEAR_LAYERS * num_layers
    if found != wanted:
        raise UnavailableError(
            f"{OVERLAP}: {wanted - found} of {wanted} linear layers of this rank are not "
            "Transformer Engine's, and wait for their collectives; set it to false, or take a "
            "precision.recipe of Transformer Engine for all of them"
        )


def _require_one_node(parallel: ModelParallel) -> None:
    """Transformer Engine takes this for granted. Every rank calls it."""
    group = parallel.groups.tp
    ranks = torch.distributed.get_process_group_ranks(group)
    first = parallel.rank - parallel.rank % len(ranks)
    assert ranks == list(range(first, first + len(ranks))), (ranks, "of megatron-core's order")
    hosts: list[str] = [""] * len(ranks)
    torch.distributed.all_gather_object(hosts, socket.gethostname(), group=group)
    if len(set(hosts)) > 1:
        raise UnavailableError(
            f"{OVERLAP}: tensor-parallel ranks {ranks[0]} to {ranks[-1]} are on "
            f"{', '.join(dict.fromkeys(hosts))}, and its buffers are reached over the NVLink of "
            "one node; lower layout.tensor, start more ranks on a node, or set it to false"
        )
