"""megatron-core's parallel linear layers with products of operands that were rounded to FP8.

All three are: output, input's gradient, weight's gradient. The sum over tensor-parallel ranks stays
in the model's format.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import torch
import torch.distributed
from megatron.core.tensor_parallel import (
    copy_to_tensor_model_parallel_region,
    gather_from_sequence_parallel_region,
)
from megatron.core.tensor_parallel.layers import ColumnParallelLinear, RowParallelLinear

from megatron_codemix.backend.devices import goes_into_graph
from megatron_codemix.mcore.fp8.formats import Quantised
from megatron_codemix.mcore.fp8.products import Product
from megatron_codemix.mcore.fp8.scaling import DelayedScaling, LayerScaling
from megatron_codemix.mcore.parallel_block import LocalColumnLinear, LocalRowLinear

Weight: TypeAlias = tuple[Quantised, Quantised]
"""One as operand of the output and of the input's gradient."""


class _Fp8Linear(torch.nn.Module):
    """Puts its product in place of that of the megatron-core layer behind it."""

    def __init__(
        self,
        *arguments: Any,
        make_scaling: Callable[[], LayerScaling],
        multiply: Product,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self.scaling, self.multiply = make_scaling(), multiply
        self.keeps_weight = False
        self.kept_weight: Weight | None = None

    def _forward_impl(
        self,
        input: torch.Tensor,
        weight: torch.Tensor,
        *,
        bias: torch.Tensor | None,
        allreduce_dgrad: bool,
        sequence_parallel: bool,
        tp_group: torch.distributed.ProcessGroup | None,
        **unused: Any,
    ) -> torch.Tensor:
        """[S, B, K] -> [S, B, N]; S over all tensor-parallel ranks under sequence parallelism.

        In evaluation nothing is rounded: scores are those of the weights, and do not depend on what
        is scored together.
        """
        if sequence_parallel:
            input = gather_from_sequence_parallel_region(input, group=tp_group)
        elif allreduce_dgrad:
            input = copy_to_tensor_model_parallel_region(input, group=tp_group)
        if self.training:
            output: torch.Tensor = RoundedProduct.apply(
                input, weight, self.rounded_weight(weight), self.scaling, self.multiply
            )
        else:
            output = torch.matmul(input, weight.t())
        return output if bias is None else output + bias

    @torch.no_grad()
    def rounded_weight(self, weight: torch.Tensor) -> Weight:
        """For a microbatch: rounded for it, or for an earlier one of the step (`weights_kept`). A
        graph of CUDA's rounds it each time, as it is replayed in later steps."""
        if not self.keeps_weight or goes_into_graph():
            return self.scaling.of_weight(weight)
        if self.kept_weight is None:
            self.kept_weight = self.scaling.of_weight(weight)
        return self.kept_weight

    def get_extra_state(self) -> dict[str, torch.Tensor] | None:
        """What a checkpoint holds beside the weights; the same on all tensor- and data-parallel
        ranks."""
        return self.scaling.state() if isinstance(self.scaling, DelayedScaling) else None

    def set_extra_state(self, state: dict[str, torch.Tensor] | None) -> None:
        """Scales of a checkpoint that was made without them, or with a history of another length,
        begin anew."""
        if isinstance(self.scaling, DelayedScaling) and state:
            self.scaling.load_state(state)


class Fp8ColumnLinear(_Fp8Linear, ColumnParallelLinear):
    """Its weight is cut along the outputs."""


class Fp8RowLinear(_Fp8Linear, RowParallelLinear):
    """Its weight is cut along the inputs."""


class Fp8LocalColumnLinear(_Fp8Linear, LocalColumnLinear):
    """Of the parallel block."""


class Fp8LocalRowLinear(_Fp8Linear, LocalRowLinear):
    """Of the parallel block."""


IN_FP8: dict[type, type[_Fp8Linear]] = {
    ColumnParallelLinear: Fp8ColumnLinear,
    RowParallelLinear: Fp8RowLinear,
    LocalColumnLinear: Fp8LocalColumnLinear,
    LocalRowLinear: Fp8LocalRowLinear,
}


class RoundedProduct(torch.autograd.Function):
    """input [..., K] times weight [N, K], transposed; operands rounded by the layer's scaling.

    weight, rounded_weight: the parameter, which gets the gradient, and what is multiplied.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: torch.Tensor,
        weight: torch.Tensor,
        rounded_weight: Weight,
        scaling: LayerScaling,
        multiply: Product,
    ) -> torch.Tensor:
        for_output, for_weight = scaling.of_input(input.flatten(0, -2))
        weight_for_output, weight_for_input = rounded_weight
        kept = for_weight.only_by_columns(), weight_for_input.only_by_columns()
        ctx.save_for_backward(*kept[0][:2], *kept[1][:2])
        ctx.tiles = kept[0].tile, kept[1].tile
        ctx.scaling, ctx.multiply, ctx.dtype = scaling, multiply, input.dtype
        output = multiply(for_output, weight_for_output.transposed(), input.dtype, fast_sums=True)
        return output.view(*input.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        input_codes, input_scale, weight_codes, weight_scale = ctx.saved_tensors
        input = Quantised(input_codes, input_scale, ctx.tiles[0])
        weight = Quantised(weight_codes, weight_scale, ctx.tiles[1])
        [gradient] = gradients
        for_input, for_weight = ctx.scaling.of_gradient(gradient.flatten(0, -2))
        to_input = ctx.multiply(for_input, weight, ctx.dtype)
        to_weight = ctx.multiply(for_weight.transposed(), input, ctx.dtype)
        return to_input.view(*gradient.shape[:-1], -1), to_weight, None, None, None


@contextlib.contextmanager
def weights_kept(model: Iterable[torch.nn.Module]) -> Iterator[None]:
    """Meanwhile weights do not change, and each is rounded once: for the microbatches of a step,
    and for what of them is computed again. A weight that is still on its way to this rank
    (layout.overlap_param_gather) has come when its layer first asks for it."""
    layers = list(_layers(model))
    for layer in layers:
        layer.keeps_weight = True
    try:
        yield
    finally:
        for layer in layers:
            layer.keeps_weight, layer.kept_weight = False, None


def finish_step(model: Iterable[torch.nn.Module], group: torch.distributed.ProcessGroup) -> None:
    """Ends a step of delayed scaling; nothing where there is none. Every rank calls it.

    group: all ranks of this pipeline stage, over which each maximum is taken. In Transformer Engine
        each microbatch is a step of its own; here the whole batch is one, so that a scale does not
        depend on how the batch is cut.
    """
    delayed = [
        layer.scaling for layer in _layers(model) if isinstance(layer.scaling, DelayedScaling)
    ]
    if not delayed:
        return
    maxima = torch.stack([scaling.maxima for scaling in delayed])
    torch.distributed.all_reduce(maxima, torch.distributed.ReduceOp.MAX, group=group)
    for scaling, found in zip(delayed, maxima, strict=True):
        scaling.finish_step(found)


def _layers(model: Iterable[torch.nn.Module]) -> Iterator[_Fp8Linear]:
    for chunk in model:
        for layer in chunk.modules():
            if isinstance(layer, _Fp8Linear):
                yield layer
