"""The section `precision`: number formats of the model and of its matrix products."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from megatron_codemix.config.schema.fields import Section

ModelFormat = Literal["fp32", "bf16"]
Scaling = Literal["tensorwise", "blockwise", "delayed", "mxfp8"]


class PrecisionConfig(Section):
    """Number format of weights in the forward pass, activations and gradients; the optimizer's
    master weights, its state and the gradient reduction are fp32 in both."""

    kind: ModelFormat
    """`bf16` is the choice on GPUs; on CPUs it is fast only where the processor has instructions
    for it."""

    @property
    def model_format(self) -> ModelFormat:
        """Format of the weights and of all that is not a product in FP8."""
        return self.kind


class Fp8Config(Section):
    """A bf16 model whose layers multiply in FP8: queries, keys and values, the attention's output,
    both matrices of the MLP, forward and backward. Embeddings, attention, norms and logits stay
    bf16 (docs/precision.md)."""

    kind: Literal["fp8"] = "fp8"
    recipe: Literal["tensorwise", "blockwise", "delayed", "mxfp8", "torch_scaled_mm", "emulated"]
    """How tensors are scaled into FP8's range, by Transformer Engine on a GPU: by the maximum of
    the tensor as it is, of each block of it, or of the steps before; `mxfp8`, on Blackwell: of each
    32 elements. `torch_scaled_mm`: by `rule`, with PyTorch's own FP8 products and without
    Transformer Engine. `emulated`: by `rule`, on any machine, with products in fp32 of operands
    that were rounded to FP8."""
    rule: Scaling | None = None
    """With `recipe: emulated` or `torch_scaled_mm`: the recipe whose scaling is taken."""
    first_last_bf16: bool = False
    """Whether the first and the last layer stay bf16."""
    fp8_params: bool = False
    """Whether weights are kept and gathered over data-parallel ranks in FP8: less memory and
    communication; with `mxfp8` less memory alone. Needs layout.distributed_optimizer."""
    amax_history_length: PositiveInt = 1024
    """With delayed scaling: how many maxima a scale looks back on. One of each microbatch in
    Transformer Engine, of each step in the other recipes."""
    margin: Annotated[int, Field(ge=0, le=16)] = 0
    """With delayed scaling: scales are divided by 2 to the power of this."""

    @property
    def model_format(self) -> ModelFormat:
        """Format of the weights and of all that is not a product in FP8."""
        return "bf16"

    @property
    def is_engines(self) -> bool:
        """Whether Transformer Engine multiplies."""
        return self.recipe not in ("emulated", "torch_scaled_mm")

    @property
    def scaling(self) -> Scaling | None:
        """The recipe, or the one whose scaling is taken; None where that is not said."""
        if self.recipe == "emulated" or self.recipe == "torch_scaled_mm":
            return self.rule
        return self.recipe


AnyPrecisionConfig = Annotated[PrecisionConfig | Fp8Config, Field(discriminator="kind")]
