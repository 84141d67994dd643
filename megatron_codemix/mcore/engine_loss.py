"""Transformer Engine's cross-entropy in training, in place of megatron-core's: kernels that leave
the logits' gradient where the logits were, instead of a dozen passes over fp32 copies.

Not taken unless it is asked for: its gradient is not ours to the last bit that bf16 has. It rounds
the softmax to the logits' format before it takes 1 from the label's, so a label that is nearly
certain, with a probability p in bf16, has a gradient that is off by up to 2^-9; ours rounds p - 1.

Shapes: B microbatch, S sequence, V this rank's part of the vocabulary.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
import torch.distributed
from megatron.core.models.gpt import GPTModel
from megatron.core.tensor_parallel import vocab_parallel_cross_entropy

from megatron_codemix.errors import UnavailableError
from megatron_codemix.mcore.language_model import entropies_and_squares

Group: TypeAlias = torch.distributed.ProcessGroup
Kernel: TypeAlias = Callable[[torch.Tensor, torch.Tensor, Group], torch.Tensor]
"""logits [S, B, V], which it may write to, and labels [S, B] -> losses [S, B]."""

_LOSS_BOUND = 1e-3
"""Nats, on losses of up to 20: fp32 sums in another order."""
_GRADIENT_BOUND = 2.0**-7
"""Of a label's gradient, at most 1, after three roundings to bf16."""
_TRIED = (32, 2)
"""S and B of a trial."""


class EngineLossModel(GPTModel):
    """In evaluation its losses are megatron-core's, as everybody's."""

    def compute_language_model_loss(
        self, labels: torch.Tensor, logits: torch.Tensor
    ) -> torch.Tensor:
        """labels [B, S], logits [S, B, V] -> [B, S]."""
        if self.training:
            losses_SB = engine_entropies(logits, labels.T, self.pg_collection.tp)
        else:
            losses_SB = vocab_parallel_cross_entropy(logits, labels.T.contiguous())
        return losses_SB.T.contiguous()

    def require_right_losses(self) -> None:
        """Before it is trained; as the function below, where this chunk has the loss."""
        weight = self.shared_embedding_or_output_weight() if self.post_process else None
        if weight is not None and weight.device.type != "meta":
            require_right_losses(len(weight), self.pg_collection.tp, weight.device, weight.dtype)


def engine_entropies(logits: torch.Tensor, labels: torch.Tensor, group: Group) -> torch.Tensor:
    """Transformer Engine's kernel. It walks rows by the last strides but one, which torch leaves
    open where a microbatch has one sample: rows are given one after the other. And it is told that
    it may be in a CUDA graph: it would wait for the device in each backward pass, to see whether
    all gradients are 1."""
    from transformer_engine.pytorch.cross_entropy import parallel_cross_entropy

    rows = logits.reshape(1, -1, logits.shape[-1])
    losses: torch.Tensor = parallel_cross_entropy(
        rows, labels.reshape(-1), dist_process_group=group, is_cg_capturable=True
    )
    return losses.view(labels.shape)


def require_right_losses(
    vocabulary: int,
    group: Group,
    device: torch.device,
    dtype: torch.dtype,
    kernel: Kernel = engine_entropies,
) -> None:
    """Tries the kernel on a few rows beside ours, losses and gradients. Every rank of `group`, the
    tensor-parallel one, calls it.

    vocabulary: entries of this rank. Raises UnavailableError, on all of these ranks, where it does
    not load, fails or gives something else on one of them.
    """
    try:
        problem = _difference(vocabulary, group, device, dtype, kernel)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever its kernels raise is the answer
        lines = str(error).strip().splitlines() or [""]
        problem = f"{type(error).__name__}: {lines[0]}"
    is_wrong = torch.tensor([bool(problem)], dtype=torch.int32, device=device)
    torch.distributed.all_reduce(is_wrong, torch.distributed.ReduceOp.MAX, group=group)
    if is_wrong.item():
        raise UnavailableError(
            "model.transformer_overrides.cross_entropy_fusion_impl: te cannot be had: "
            f"{problem or 'another tensor-parallel rank says so'}; remove it and "
            "cross_entropy_loss_fusion"
        )


def _difference(
    vocabulary: int, group: Group, device: torch.device, dtype: torch.dtype, kernel: Kernel
) -> str:
    """In words; "" where there is none."""
    generator = torch.Generator().manual_seed(0)
    whole = 4 * torch.randn(*_TRIED, group.size() * vocabulary, generator=generator)
    labels = torch.randint(whole.shape[-1], _TRIED, generator=generator)
    # Every second label nearly certain, and places that count and do not.
    whole[::2].scatter_(-1, labels[::2].unsqueeze(-1), 20.0)
    weights = torch.arange(labels.numel()).remainder(3).div(2).view(_TRIED).to(device)
    part = whole[..., group.rank() * vocabulary :][..., :vocabulary].to(device, dtype)
    labels = labels.to(device)
    ours = _with_gradient(_ours, part, labels, weights, group)
    found = _with_gradient(kernel, part, labels, weights, group)
    bounds = {"losses": _LOSS_BOUND, "gradients": _GRADIENT_BOUND}
    for (name, bound), one, other in zip(bounds.items(), found, ours, strict=True):
        apart = float((one.float() - other.float()).abs().max())
        if not apart <= bound:
            return f"its {name} differ from ours by {apart:.2g}, and {bound:.2g} is allowed"
    return ""


def _ours(logits: torch.Tensor, labels: torch.Tensor, group: Group) -> torch.Tensor:
    return entropies_and_squares(logits, labels, group)[0]


def _with_gradient(
    kernel: Kernel,
    logits: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    group: Group,
) -> tuple[torch.Tensor, torch.Tensor]:
    leaf = logits.clone().requires_grad_()
    losses = kernel(leaf * 1, labels, group)  # not a leaf, as logits are none, and written to
    (losses * weights).sum().backward()
    assert leaf.grad is not None, "the losses depend on the logits"
    return losses.detach(), leaf.grad
