"""The optimizer's kernel where neither Apex nor Transformer Engine is, on a CPU or a GPU."""

from typing import Any

import torch
from megatron.core import optimizer
from megatron.core.optimizer import distrib_optimizer


def provide_fused_adam() -> None:
    """Gives megatron-core `FusedAdam` if it has found none, so that every machine takes the
    optimizer and checkpoint code that H100s with Transformer Engine take."""
    if distrib_optimizer.HAVE_APEX_OR_TE:
        return
    optimizer.Adam = FusedAdam
    optimizer.USING_PYTORCH_OPTIMIZER = False
    distrib_optimizer.Adam = FusedAdam
    distrib_optimizer.HAVE_APEX_OR_TE = True
    distrib_optimizer.USING_APEX_OPTIMIZER = True


class FusedAdam(torch.optim.Optimizer):
    """AdamW by torch's fused kernels, with the contract of Apex's and Transformer Engine's
    FusedAdam: the step count lives in the parameter group and a parameter's state is exactly
    `exp_avg` and `exp_avg_sq`.

    megatron-core's fall-back, torch.optim.AdamW, counts steps for each parameter; the distributed
    optimizer of 0.16.1 cannot load a checkpoint made that way.
    """

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        adam_w_mode: bool = True,
        **unused: Any,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )
        self.kernel = torch._fused_adamw_ if adam_w_mode else torch._fused_adam_

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # fused optimizers take no closure
        for group in self.param_groups:
            if group["params"]:
                self._step_group(group)

    def _step_group(self, group: dict[str, Any]) -> None:
        group["step"] = int(group.get("step", 0)) + 1
        parameters = [p for p in group["params"] if p.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter] = {
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        if not parameters:
            return
        # Filled on the device, and read alone: a tensor made of a number is copied there and waited
        # for, once for each parameter.
        count = torch.full((), float(group["step"]), device=parameters[0].device)
        self.kernel(
            [parameter.detach() for parameter in parameters],
            [parameter.grad for parameter in parameters],
            [self.state[parameter]["exp_avg"] for parameter in parameters],
            [self.state[parameter]["exp_avg_sq"] for parameter in parameters],
            [],
            [count] * len(parameters),
            lr=float(group["lr"]),
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            amsgrad=False,
            maximize=False,
        )
