"""A transformer layer in which attention and MLP read one normalised input and are added at once:
y = x + attention(norm(x)) + mlp(norm(x)) (GPT-J, PaLM (arXiv 2204.02311), Cohere).

megatron-core has no such layer. This one keeps the names of its parameters, so checkpoints, weights
at step 0 and optimizer groups need nothing of their own; the layer just lacks the MLP's norm.

Tensor parallelism: the two branches share their collectives. The normalised input is gathered once
and the two partial sums are added before they are reduced, where a sequential layer gathers and
reduces twice.
"""

from typing import Any

import torch
from megatron.core.tensor_parallel import (
    CheckpointWithoutOutput,
    checkpoint,
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
    reduce_from_tensor_model_parallel_region,
    reduce_scatter_to_sequence_parallel_region,
)
from megatron.core.tensor_parallel.layers import ColumnParallelLinear, RowParallelLinear
from megatron.core.transformer.identity_op import IdentityOp
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_layer import (
    TransformerLayer,
    TransformerLayerSubmodules,
)
from megatron.core.utils import make_viewless_tensor


class LocalColumnLinear(ColumnParallelLinear):
    """Takes an input that is whole on every rank already, and leaves its gradient a partial sum."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # megatron-core's word for "whoever calls this layer communicates".
        self.explicit_expert_comm = True


class LocalRowLinear(RowParallelLinear):
    """Leaves its output a partial sum, and takes a gradient that is whole on every rank."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.explicit_expert_comm = True


class ParallelTransformerLayer(TransformerLayer):
    """Hidden states [S, B, hidden], S split over the tensor-parallel ranks under sequence
    parallelism."""

    def forward(
        self, hidden_states: torch.Tensor, *, padding_mask: Any = None, **attention_inputs: Any
    ) -> tuple[torch.Tensor, None]:
        """(output [S, B, hidden], None): megatron-core's layers return a context as well.

        attention_inputs: for the attention, as TransformerBlock passes them.
        """
        whole = self._branch_input(hidden_states)
        attention, attention_bias = self.self_attention(whole, **_for_self(attention_inputs))
        mlp, mlp_bias = (
            checkpoint(self.mlp, False, whole) if self.recompute_mlp else self.mlp(whole)
        )
        update = self._reduced(attention + mlp)
        if self.recompute_input_layernorm:
            self.input_checkpoint.discard_output_and_register_recompute(update)
        bias = None if mlp_bias is None else attention_bias + mlp_bias
        with self.bias_dropout_add_exec_handler():
            output = self.mlp_bda(self.training, self.config.bias_dropout_fusion)(
                (update, bias), hidden_states, self.hidden_dropout
            )
        # A view would keep its base alive between pipeline stages; megatron-core refuses it.
        return make_viewless_tensor(output, output.requires_grad, keep_graph=True), None

    def _branch_input(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """What both branches read. Recomputed where norms are: then the whole sequence, which a
        layer of megatron-core's does not keep, is gathered again instead of kept."""
        if not self.recompute_input_layernorm:
            return self._normed_and_gathered(hidden_states)
        # Its default, False, counts as FP8 and asks Transformer Engine; None does not.
        self.input_checkpoint = CheckpointWithoutOutput(fp8=self.config.fp8)
        return self.input_checkpoint.checkpoint(self._normed_and_gathered, hidden_states)

    def _normed_and_gathered(self, hidden_states: torch.Tensor) -> torch.Tensor:
        """The whole sequence; backward sums over the ranks, each of which has its heads' part."""
        normed = self.input_layernorm(hidden_states)
        if self.config.sequence_parallel:
            return gather_from_sequence_parallel_region(normed, group=self.tp_group)
        return copy_to_tensor_model_parallel_region(normed, group=self.tp_group)

    def _reduced(self, partial: torch.Tensor) -> torch.Tensor:
        if self.config.sequence_parallel:
            return reduce_scatter_to_sequence_parallel_region(partial, group=self.tp_group)
        return reduce_from_tensor_model_parallel_region(partial, group=self.tp_group)


def _for_self(inputs: dict[str, Any]) -> dict[str, Any]:
    """Without what TransformerBlock hands to cross-attention."""
    return {name: value for name, value in inputs.items() if not name.startswith("context")}


def parallel_layer_spec(sequential: TransformerLayerSubmodules) -> ModuleSpec:
    """The layer made of the parts of a sequential one, which it changes."""
    attention, mlp = sequential.self_attention.submodules, sequential.mlp.submodules
    attention.linear_qkv = mlp.linear_fc1 = LocalColumnLinear
    attention.linear_proj = mlp.linear_fc2 = LocalRowLinear
    sequential.pre_mlp_layernorm = IdentityOp
    return ModuleSpec(module=ParallelTransformerLayer, submodules=sequential)
