"""Gradients of weights that are added to those of earlier microbatches, in fp32, by the product
that makes them: no gradient in bf16 is rounded and written, none is read again to be added.

Transformer Engine's linear layers do it by themselves. megatron-core's call Apex's extension, or
where that is missing PyTorch's product, which takes bf16 and adds in fp32 on CUDA alone. They all
tell the data-parallel wrapper (`grad_added_to_main_grad`), which adds what others leave.
"""

import functools
import importlib.util
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from megatron.core.tensor_parallel import layers
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.errors import ConfigError

log = logging.getLogger(__name__)

_FIELD = "gradient_accumulation_fusion"
_DEFERRED = "defer_embedding_wgrad_compute"
_OF_ENGINE = "fuse_wgrad_accumulation"
"""What Transformer Engine's layers call it, as an argument and as an attribute that each pass
reads."""


class TorchProducts:
    """In place of Apex's `fused_weight_gradient_mlp_cuda`: what megatron-core calls of it."""

    @staticmethod
    def wgrad_gemm_accum_fp32(
        total_input: torch.Tensor, grad_output: torch.Tensor, main_grad: torch.Tensor
    ) -> None:
        """main_grad += grad_output^T total_input, rounded to fp32 alone.

        total_input: (tokens, in), grad_output: (tokens, out), both of the model's format.
        main_grad: (out, in), fp32.
        """
        if not len(total_input):  # an expert without tokens
            return
        turned = grad_output.t()
        if total_input.dtype == main_grad.dtype:
            torch.addmm(main_grad, turned, total_input, out=main_grad)
        else:
            torch.addmm(main_grad, turned, total_input, out_dtype=main_grad.dtype, out=main_grad)


def sum_field(device: torch.device, overrides: Mapping[str, Any]) -> bool:
    """Of TransformerConfig while layers are built: whether megatron-core's own ones can. The output
    layer is one of them in every model, so where neither Apex nor PyTorch has a product for it it
    must be told no, whatever the layers are. Raises ConfigError for an override that asks for it
    there, or that needs Apex's where it is not.

    overrides: as `typed_overrides` gives them, here and below.
    """
    if device.type in ("cpu", "meta"):
        return False
    can_sum = _has_product(device)
    if overrides.get(_FIELD) and not can_sum:
        raise ConfigError(
            [
                f"model.transformer_overrides.{_FIELD}: true needs PyTorch 2.8 or newer with CUDA, "
                "or Apex with its extension fused_weight_gradient_mlp_cuda, and here is neither; "
                "remove it: layers of Transformer Engine do it without being told"
            ]
        )
    if overrides.get(_DEFERRED) and not _has_apex():
        raise ConfigError(
            [
                f"model.transformer_overrides.{_DEFERRED}: needs Apex with its extension "
                "fused_weight_gradient_mlp_cuda, and that is not installed; remove it"
            ]
        )
    return can_sum


def _has_apex() -> bool:
    """Whether it can be imported, which megatron-core does anew when deferred sums are due."""
    return importlib.util.find_spec("fused_weight_gradient_mlp_cuda") is not None


def _has_product(device: torch.device) -> bool:
    """Whether megatron-core's layers have a product to call, Apex's or, as it is now, PyTorch's."""
    if not layers._grad_accum_fusion_available and _torch_adds_in_fp32(device):
        layers.fused_weight_gradient_mlp_cuda = TorchProducts
        layers._grad_accum_fusion_available = True
    return bool(layers._grad_accum_fusion_available)


@functools.cache
def _torch_adds_in_fp32(device: torch.device) -> bool:
    """Tries it on whole numbers, whose sums are exact in fp32 and too long for bf16. What speaks
    against it is told in the log."""
    tokens, rows, columns = 64, 48, 80
    grads = _whole_numbers(tokens * rows, 13).view(tokens, rows)
    inputs = _whole_numbers(tokens * columns, 11).view(tokens, columns)
    start = _whole_numbers(rows * columns, 4097).view(rows, columns)
    expected = start + grads.t() @ inputs
    sums = start.to(device)
    try:
        TorchProducts.wgrad_gemm_accum_fp32(
            inputs.to(device, torch.bfloat16), grads.to(device, torch.bfloat16), sums
        )
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError) as error:  # not on this device; not in this release
        problem = str(error).split("\n")[0]
    else:
        problem = "" if torch.equal(sums.cpu(), expected) else "its sums are not exact"
    if problem:
        log.info("gradients of weights are added by kernels of their own: addmm: %s", problem)
    return not problem


def _whole_numbers(count: int, period: int) -> torch.Tensor:
    """Below period, fp32. None is negative, so that sums of their products are long."""
    return (torch.arange(count) * 7919 % period).to(torch.float32)


def let_layers_sum(
    chunks: Sequence[torch.nn.Module], config: TransformerConfig, overrides: Mapping[str, Any]
) -> int:
    """Turns it on in those layers of a built model that are Transformer Engine's, unless an
    override says no; how many they are."""
    if overrides.get(_FIELD) is False:
        return 0
    found = [
        module for chunk in chunks for module in chunk.modules() if hasattr(module, _OF_ENGINE)
    ]
    for module in found:
        setattr(module, _OF_ENGINE, True)
    if found:
        # For those who ask later: where CUDA graphs replay a layer, nobody but them says that its
        # gradients were added, and what it leaves as a gradient is memory without values.
        setattr(config, _FIELD, True)
    return len(found)
