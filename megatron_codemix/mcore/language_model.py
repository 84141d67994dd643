"""megatron-core's GPT with losses of our own: with a z-loss, and on a GPU in fewer passes over the
logits.

z-loss: coefficient * logsumexp(logits)^2 is added to each token's loss and keeps the logits'
normaliser near 1 (PaLM, arXiv 2204.02311, section 5).

Shapes: S sequence, B microbatch, V this rank's part of the vocabulary, the ranks of a
tensor-parallel group in order.
"""

from typing import Any

import torch
import torch.distributed
from megatron.core.models.gpt import GPTModel
from torch.autograd.function import once_differentiable

from megatron_codemix.backend.compiling import fused


class GptWithLosses(GPTModel):
    """With labels, forward gives cross-entropies [B, S] on the last pipeline stage; with a z-loss
    [2, B, S], the second of which are the z-losses with the coefficient."""

    def __init__(self, *arguments: Any, z_loss: float | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.z_loss = z_loss

    def compute_language_model_loss(
        self, labels: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """labels [B, S], logits [S, B, V] -> [B, S] or [2, B, S]."""
        if self.z_loss is None and (
            self.config.cross_entropy_loss_fusion or not losses_are_compiled()
        ):
            losses: torch.Tensor = super().compute_language_model_loss(labels, logits)
            return losses
        entropy_SB, square_SB = entropies_and_squares(logits, labels.T, self.pg_collection.tp)
        if self.z_loss is None:
            return entropy_SB.T.contiguous()
        return torch.stack([entropy_SB.T, self.z_loss * square_SB.T])


def losses_are_compiled() -> bool:
    """Whether the functions below are, without which they would move more memory than
    megatron-core's."""
    return sums_of_rows.is_compiled and into_gradients.is_compiled


def entropies_and_squares(
    logits: torch.Tensor, labels: torch.Tensor, group: torch.distributed.ProcessGroup
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy and squared logsumexp, fp32 [...], of logits [..., V] and labels [...]. The
    logits' memory is the backward pass's. Every rank of the group calls this."""
    losses = _LossesOfLogits if losses_are_compiled() else _LossesOfSoftmax
    return losses.apply(logits, labels, group)


class _LossesOfSoftmax(torch.autograd.Function):
    """With one tensor of the logits' size kept: the softmax, in fp32."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, group: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        size = logits.shape[-1]
        place = labels - group.rank() * size
        is_mine = (place >= 0) & (place < size)
        place = place.clamp(0, size - 1).unsqueeze(-1)
        maximum = logits.amax(-1).float()
        torch.distributed.all_reduce(maximum, torch.distributed.ReduceOp.MAX, group=group)
        shifted = logits - maximum.unsqueeze(-1)  # fp32, as the maximum is
        label_logit = shifted.gather(-1, place).squeeze(-1) * is_mine
        softmax = shifted.exp_()
        sums = torch.stack([softmax.sum(-1), label_logit])
        torch.distributed.all_reduce(sums, group=group)
        total, label_logit = sums
        softmax /= total.unsqueeze(-1)
        normaliser = total.log() + maximum
        ctx.save_for_backward(softmax, place, is_mine, normaliser)
        ctx.dtype = logits.dtype
        return total.log() - label_logit, normaliser.square()

    @staticmethod
    def backward(
        ctx: Any, entropy_gradient: torch.Tensor, square_gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        softmax, place, is_mine, normaliser = ctx.saved_tensors
        factor = entropy_gradient + 2 * normaliser * square_gradient
        # In place: the softmax is the largest tensor of a step, and is needed no more.
        gradient = softmax.mul_(factor.unsqueeze(-1))
        gradient.scatter_add_(-1, place, -(entropy_gradient * is_mine).unsqueeze(-1))
        return gradient.to(ctx.dtype), None, None


class _LossesOfLogits(torch.autograd.Function):
    """With nothing of the logits' size beside them: they are read twice, and their gradient is
    written in their place. In as many collectives as above."""

    @staticmethod
    def forward(
        ctx: Any, logits: torch.Tensor, labels: torch.Tensor, group: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        place = labels - group.rank() * logits.shape[-1]
        maximum, total, label_logit = sums_of_rows(logits, place)
        largest = maximum.clone()
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX, group=group)
        sums = torch.stack([total * (maximum - largest).exp(), label_logit])
        torch.distributed.all_reduce(sums, group=group)
        total, label_logit = sums
        normaliser = total.log() + largest
        ctx.save_for_backward(logits, place, normaliser)
        return normaliser - label_logit, normaliser.square()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, entropy_gradient: torch.Tensor, square_gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None, None]:
        logits, place, normaliser = ctx.saved_tensors
        factor = entropy_gradient + 2 * normaliser * square_gradient
        return into_gradients(logits, place, normaliser, factor, entropy_gradient), None, None


@fused
def sums_of_rows(
    logits: torch.Tensor, place: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of logits [..., V], fp32 [...]: the largest, the sum of exp(logit - largest), and the logit
    at `place`, 0 where that is not in this part of the vocabulary."""
    size = logits.shape[-1]
    # As torch's softmax is written out, which its compiler knows to be one pass over the row.
    values = logits.float()
    maximum = values.amax(-1, keepdim=True)
    total = (values - maximum).exp().sum(-1, keepdim=True)
    is_mine = (place >= 0) & (place < size)
    found = logits.gather(-1, place.clamp(0, size - 1).unsqueeze(-1)).squeeze(-1).float()
    return maximum.squeeze(-1), total.squeeze(-1), found * is_mine


@fused
def into_gradients(
    logits: torch.Tensor,
    place: torch.Tensor,
    normaliser: torch.Tensor,
    factor: torch.Tensor,
    entropy_gradient: torch.Tensor,
) -> torch.Tensor:
    """softmax * factor, less entropy_gradient at `place`, written over the logits."""
    softmax = (logits.float() - normaliser.unsqueeze(-1)).exp()
    gradient = softmax * factor.unsqueeze(-1)
    is_label = torch.arange(logits.shape[-1], device=logits.device) == place.unsqueeze(-1)
    return logits.copy_(torch.where(is_label, gradient - entropy_gradient.unsqueeze(-1), gradient))
