"""megatron-core's GPT with a z-loss: coefficient * logsumexp(logits)^2 is added to each token's
loss and keeps the logits' normaliser near 1 (PaLM, arXiv 2204.02311, section 5)."""

from typing import Any

import torch
import torch.distributed
from megatron.core.models.gpt import GPTModel


class ZLossModel(GPTModel):
    """With labels, forward gives [2, B, S] on the last pipeline stage: cross-entropies, and
    z-losses with the coefficient."""

    def __init__(self, *arguments: Any, z_loss: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.z_loss = z_loss

    def compute_language_model_loss(
        self, labels: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """labels [B, S], logits [S, B, part of the vocabulary] -> [2, B, S]."""
        entropy_SB, square_SB = entropies_and_squares(logits, labels.T, self.pg_collection.tp)
        return torch.stack([entropy_SB.T, self.z_loss * square_SB.T])


def entropies_and_squares(
    logits: torch.Tensor, labels: torch.Tensor, group: torch.distributed.ProcessGroup
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy and squared logsumexp, fp32 [...]; logits [..., V] are this rank's part of the
    vocabulary, the ranks of `group` in order. Every rank of it calls this."""
    return _VocabularyParallelLosses.apply(logits, labels, group)


class _VocabularyParallelLosses(torch.autograd.Function):
    """Both in one pass over the logits, with one tensor of their size kept: the softmax."""

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
