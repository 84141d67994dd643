"""Our Adam kernel against torch's own AdamW."""

import pytest
import torch

from megatron_codemix.mcore.fused_adam import FusedAdam


def test_equals_torch_adamw() -> None:
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(shape, generator=generator) for shape in ((7, 5), (5,))]
    settings = {"lr": 3e-3, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    parameters = [[value.clone().requires_grad_() for value in start] for _ in range(2)]
    ours = FusedAdam(parameters[0], **settings)
    reference = torch.optim.AdamW(parameters[1], **settings)
    for _ in range(20):
        for one, other in zip(*parameters, strict=True):
            gradient = torch.randn(one.shape, generator=generator)
            one.grad, other.grad = gradient, gradient.clone()
        ours.step()
        reference.step()
    for one, other in zip(*parameters, strict=True):
        assert one.detach().numpy() == pytest.approx(other.detach().numpy(), rel=1e-5, abs=1e-7)


def test_state_has_the_contract_of_apex() -> None:
    """The step count in the group, and two moments for each parameter."""
    parameter = torch.ones(3, requires_grad=True)
    parameter.grad = torch.ones(3)
    adam = FusedAdam([parameter])
    adam.step()
    adam.step()
    assert adam.param_groups[0]["step"] == 2
    assert set(adam.state[parameter]) == {"exp_avg", "exp_avg_sq"}
