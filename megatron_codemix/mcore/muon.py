"""Muon: matrices move by their orthogonalised momentum (Jordan et al. 2024; the size of a step is
that of AdamW, arXiv 2502.16982, so that both share learning rate and decay).

Every rank holds whole matrices here and repeats the same update: no tensor parallelism, no
distributed optimizer. megatron-core 0.16.1 has a Muon for those, on a package that no index has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from megatron.core.distributed import DistributedDataParallel
from megatron.core.optimizer import ChainedOptimizer
from megatron.core.transformer.transformer_config import TransformerConfig

from megatron_codemix.config.schema import MuonConfig
from megatron_codemix.mcore.fused_adam import FusedAdam

NEWTON_SCHULZ_STEPS = 5
_A, _B, _C = 3.4445, -4.7750, 2.0315
"""Of Jordan et al.: singular values end near 1 fast, not at it."""

UPDATE_RMS = 0.2
"""Root mean square of an AdamW update, which Muon's is brought to (arXiv 2502.16982, section
2.2)."""

Parts: TypeAlias = Callable[[torch.Tensor], list[torch.Tensor]]
"""Views of a tensor: the matrices that lie in it."""


class MuonWithAdamW(FusedAdam):
    """Muon for the parameters in `matrices`, AdamW for all others."""

    def __init__(
        self,
        groups: Any,
        matrices: Mapping[torch.Tensor, Parts],
        *,
        momentum: float,
        dtype: torch.dtype,
        **adam: Any,
    ) -> None:
        """dtype: of the products that orthogonalise; momentum and update are fp32."""
        super().__init__(groups, **adam)
        self.matrices, self.momentum, self.dtype = matrices, momentum, dtype

    def initialize_states(self) -> None:
        """What a step would make, zero: a checkpoint is loaded into it."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if not self.state[parameter]:
                    is_matrix = parameter in self.matrices
                    names = ["momentum"] if is_matrix else ["exp_avg", "exp_avg_sq"]
                    self.state[parameter] = {name: torch.zeros_like(parameter) for name in names}

    def _step_group(self, group: dict[str, Any]) -> None:
        self.initialize_states()
        others = {**group, "params": [p for p in group["params"] if p not in self.matrices]}
        super()._step_group(others)
        group["step"] = others["step"]
        for parameter in group["params"]:
            if parameter in self.matrices and parameter.grad is not None:
                update = self._update(parameter, parameter.grad)
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(update, alpha=-group["lr"])

    def _update(self, parameter: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """The matrix's direction at learning rate 1; moves its momentum on."""
        momentum = self.state[parameter]["momentum"]
        momentum.lerp_(gradient, 1 - self.momentum)
        direction = gradient.lerp(momentum, self.momentum)
        update = torch.empty_like(direction)
        split = self.matrices[parameter]
        for part, place in zip(split(direction), split(update), strict=True):
            matrix = part.reshape(-1, part.shape[-1])
            size = UPDATE_RMS * max(matrix.shape) ** 0.5
            place.copy_((size * orthogonalised(matrix.to(self.dtype))).view_as(part))
        return update


def orthogonalised(matrix: torch.Tensor) -> torch.Tensor:
    """About U V^T of the matrix's singular value decomposition U S V^T, by Newton-Schulz steps."""
    x = matrix / (matrix.norm() + 1e-7)
    is_tall = x.shape[0] > x.shape[1]
    x = x.T if is_tall else x
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = _A * x + (_B * gram + _C * gram @ gram) @ x
    return x.T if is_tall else x


def put_muon_in(
    built: ChainedOptimizer,
    model: Sequence[DistributedDataParallel],
    optimizer: MuonConfig,
    dtype: torch.dtype,
) -> None:
    """Lets the optimizer that megatron-core has built move the layers' matrices by Muon: gradients,
    clipping, master weights and checkpoints stay megatron-core's."""
    matrices = {
        getattr(parameter, "main_param", parameter): parts
        for chunk in model
        for parameter, parts in _layer_matrices(chunk)
    }
    for part in built.chained_optimizers:
        part.optimizer = MuonWithAdamW(
            part.optimizer.param_groups,
            matrices,
            momentum=optimizer.momentum,
            dtype=dtype,
            betas=(optimizer.beta1, optimizer.beta2),
            eps=optimizer.epsilon,
        )
        part.init_state_fn = lambda muon, config=None: muon.initialize_states()


def _layer_matrices(chunk: DistributedDataParallel) -> Iterator[tuple[torch.nn.Parameter, Parts]]:
    for name, parameter in chunk.named_parameters():
        if parameter.dim() == 2 and ".layers." in name:
            yield parameter, _parts_of(name, chunk.config)


def _parts_of(name: str, config: TransformerConfig) -> Parts:
    """Queries, keys and values, and gate and value of a gated MLP, are matrices of their own."""
    if name.endswith("linear_qkv.weight"):
        per_group = config.num_attention_heads // config.num_query_groups
        shape = (config.num_query_groups, per_group + 2, config.kv_channels)

        def split(tensor: torch.Tensor) -> list[torch.Tensor]:
            heads = tensor.view(*shape, tensor.shape[-1])
            return [heads[:, :per_group], heads[:, per_group], heads[:, per_group + 1]]

        return split
    if name.endswith("linear_fc1.weight") and config.gated_linear_unit:
        return lambda tensor: list(tensor.chunk(2))
    return lambda tensor: [tensor]
