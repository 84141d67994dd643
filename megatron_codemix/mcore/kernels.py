"""What megatron-core leaves to Transformer Engine or Apex, or does in more passes over memory than
needed, in torch's own kernels; the same on a CPU and on a GPU, where what is `fused` is compiled.

Shapes: S sequence, B microbatch, H heads, D head width, F width of the MLP.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from megatron.core.models.common.embeddings import rope_utils
from megatron.core.tensor_parallel.cross_entropy import VocabParallelCrossEntropy
from megatron.core.transformer.module import MegatronModule
from megatron.core.transformer.transformer_config import TransformerConfig
from torch.autograd.function import once_differentiable

from megatron_codemix.backend.compiling import fused


def provide_kernels() -> None:
    """Puts them where megatron-core looks for its own."""
    rope_utils.fused_apply_rotary_pos_emb = rotate
    VocabParallelCrossEntropy.calculate_logits_max = staticmethod(logits_and_maximum)


@dataclass(frozen=True)
class Turns:
    """Angles worked out, for many rotations by the same ones; without gradients."""

    cos: torch.Tensor
    """[1 or B, 1, S, D]."""
    sin: torch.Tensor
    """[1 or B, 1, S, D], the first of each pair with its sign."""

    @classmethod
    def of(cls, angles: torch.Tensor, dtype: torch.dtype, interleaved: bool = False) -> "Turns":
        """Of angles as `rotate` takes them."""
        angles = angles.permute(1, 2, 0, 3)
        cos, sin = angles.cos().to(dtype), angles.sin().to(dtype)
        if interleaved:
            pairs = torch.stack([-sin[..., ::2], sin[..., 1::2]], -1)
            return cls(cos, pairs.flatten(-2))
        first, second = sin.chunk(2, -1)
        return cls(cos, torch.cat([-first, second], -1))


@dataclass(frozen=True)
class SequenceFirst:
    """Angles by which `rotate` leaves its result in memory as it is written, [S, B, H, D]."""

    angles: torch.Tensor


def rotate(
    x: torch.Tensor, angles: torch.Tensor | SequenceFirst | Turns, interleaved: bool = False
) -> torch.Tensor:
    """RoPE over pairs of a dimension of each half (GPT-NeoX) or, interleaved, of neighbours
    (GPT-J): x [S, B, H, D], angles [S, 1, 1, D] or, where rows differ, [S, B, 1, D], each twice as
    the pairs lie -> [S, B, H, D], in memory [B, H, S, D] as our attention reads it.

    megatron-core's own takes twice the passes, and three more backward for a part that is not
    rotated and is empty.
    """
    if isinstance(angles, Turns):
        return turn(x, angles.cos, angles.sin, interleaved)
    is_sequence_first = isinstance(angles, SequenceFirst)
    if isinstance(angles, SequenceFirst):
        angles = angles.angles
    assert x.shape[-1] == angles.shape[-1], (x.shape, angles.shape)
    turns_of = _kept_turns if x.is_cuda else Turns.of
    turns = turns_of(angles, x.dtype, interleaved)
    rotated: torch.Tensor = _Rotation.apply(x, turns.cos, turns.sin, interleaved, is_sequence_first)
    return rotated


def _kept_turns(angles: torch.Tensor, dtype: torch.dtype, interleaved: bool) -> Turns:
    """Worked out once: megatron-core hands the same angles to all layers and microbatches. Kept
    with them, on a GPU alone, where the eight small kernels take as long as the rotation."""
    known: dict[torch.dtype, Turns] = getattr(angles, "codemix_turns", {})
    if dtype not in known:
        known[dtype] = Turns.of(angles, dtype, interleaved)
        angles.codemix_turns = known  # type: ignore[attr-defined]  # lives as long as they do
    return known[dtype]


class _Rotation(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, *how: bool
    ) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        ctx.how = how
        return turn(x, cos, sin, *how)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return turn(gradient, cos, -sin, *ctx.how), None, None, None, None


@fused
def turn(
    x: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    interleaved: bool = False,
    is_sequence_first: bool = False,
) -> torch.Tensor:
    """[S, B, H, D]; cos and sin as those of Turns. is_sequence_first: as SequenceFirst."""
    if is_sequence_first:
        cos, sin = cos.permute(2, 0, 1, 3), sin.permute(2, 0, 1, 3)
    else:
        x = x.permute(1, 2, 0, 3)
    x = x.contiguous()
    if interleaved:
        swapped = x.unflatten(-1, (-1, 2)).flip(-1).flatten(-2)
    else:
        first, second = x.chunk(2, -1)
        swapped = torch.cat([second, first], -1)
    turned = (x * cos).addcmul_(swapped, sin)
    return turned if is_sequence_first else turned.permute(2, 0, 1, 3)


class GatedSilu(MegatronModule):
    """SwiGLU's silu(gate) * up of [gate | up] [S, B, 2F] -> [S, B, F] (arXiv 2002.05202). The two
    gradients are written where they belong; megatron-core adds an offset of 0 and joins them. On a
    CPU silu(gate) is kept for the backward pass; a GPU, where an exponential costs nothing beside
    memory, makes it again."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__(config=config)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        product: torch.Tensor = (_GatedSiluOfInput if x.is_cuda else _GatedSilu).apply(x)
        return product


class _GatedSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        gate, up = x.chunk(2, -1)
        opened = F.silu(gate)
        ctx.save_for_backward(x, opened)
        return opened * up

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        x, opened = ctx.saved_tensors
        gate, up = x.chunk(2, -1)
        result = torch.empty_like(x)
        of_gate, of_up = result.chunk(2, -1)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=of_gate)
        torch.mul(gradient, opened, out=of_up)
        return result


class _GatedSiluOfInput(torch.autograd.Function):
    """The same with nothing kept but its input."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return gated_silu(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        [x] = ctx.saved_tensors
        return gated_silu_gradient(x, gradient)


@fused
def gated_silu(x: torch.Tensor) -> torch.Tensor:
    gate, up = x.chunk(2, -1)
    return F.silu(gate) * up


@fused
def gated_silu_gradient(x: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    gate, up = x.chunk(2, -1)
    of_gate = torch.ops.aten.silu_backward(gradient * up, gate)
    return torch.cat([of_gate, gradient * F.silu(gate)], -1)


def logits_and_maximum(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [..., V] in fp32 and the largest of each row. megatron-core also asks where it is,
    which nobody reads and which takes three times as long on a CPU."""
    logits = logits.float()
    return logits, logits.amax(-1)
