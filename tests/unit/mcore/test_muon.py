"""Muon's step against singular value decompositions, and which part of a model it moves."""

import pytest
import torch

import megatron_codemix.mcore  # noqa: F401  # installs the CPU meaning of torch.cuda first
from megatron_codemix.mcore.fused_adam import FusedAdam
from megatron_codemix.mcore.muon import UPDATE_RMS, MuonWithAdamW, orthogonalised


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(32, 32), (48, 16), (16, 80)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_factor_is_kept_and_the_singular_values_come_near_one(
    shape: tuple[int, int], dtype: torch.dtype
) -> None:
    """Same singular vectors, values in the band of the quintic (Jordan et al.: 0.7 to 1.2)."""
    left, _, right = torch.linalg.svd(random(*shape), full_matrices=False)
    values = torch.linspace(0.05, 1, min(shape))
    found = orthogonalised((left * values @ right).to(dtype)).double()
    core = left.T.double() @ found @ right.T.double()
    tolerance = 1e-4 if dtype is torch.float32 else 5e-2
    off_diagonal = core - torch.diag(core.diag())
    assert off_diagonal.abs().max() < tolerance
    assert core.diag().min() > 0.65
    assert core.diag().max() < 1.25


def test_a_step_has_the_size_of_adamws() -> None:
    matrix = random(64, 256).requires_grad_()
    before = matrix.detach().clone()
    matrix.grad = 1e-3 * random(64, 256, seed=1)
    split = {matrix: lambda tensor: [tensor]}
    muon = MuonWithAdamW([matrix], split, momentum=0.95, dtype=torch.float32, lr=0.1)
    muon.step()
    rms = (matrix.detach() - before).pow(2).mean().sqrt() / 0.1
    assert rms == pytest.approx(UPDATE_RMS, rel=0.2)  # singular values are near 1, not 1


def test_momentum_and_decay_are_by_the_book() -> None:
    """Two steps in fp64 arithmetic, each part of the matrix by itself."""
    weight = random(8, 6).requires_grad_()
    expected = weight.detach().double()
    momentum = torch.zeros(8, 6, dtype=torch.float64)
    muon = MuonWithAdamW(
        [weight],
        {weight: lambda tensor: list(tensor.chunk(2))},
        momentum=0.9,
        dtype=torch.float32,
        lr=0.02,
        weight_decay=0.5,
    )
    for seed in (1, 2):
        gradient = random(8, 6, seed=seed)
        weight.grad = gradient.clone()
        muon.step()
        momentum = 0.9 * momentum + 0.1 * gradient.double()
        direction = 0.1 * gradient.double() + 0.9 * momentum
        update = torch.cat([UPDATE_RMS * 6**0.5 * orthogonalised(d) for d in direction.chunk(2)])
        expected = (1 - 0.02 * 0.5) * expected - 0.02 * update
    assert weight.detach().numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_all_others_move_by_adamw() -> None:
    ours, reference = (random(5).requires_grad_() for _ in range(2))
    settings = {"lr": 0.1, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.1}
    muon = MuonWithAdamW([ours], {}, momentum=0.95, dtype=torch.float32, **settings)
    adam = FusedAdam([reference], **settings)
    for seed in (1, 2, 3):
        ours.grad, reference.grad = random(5, seed=seed), random(5, seed=seed)
        muon.step()
        adam.step()
    assert torch.equal(ours, reference)
    assert muon.param_groups[0]["step"] == 3
