"""The z-loss: right under tensor parallelism, in every layout, and reported apart."""

import math
from functools import cache

import pytest

from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import (
    MODEL,
    Curve,
    Job,
    build_on_rank,
    markov_batch,
    token_losses,
    train_on_rank,
)

FP32_TOLERANCE = 1e-5
"""Absolute, on losses in nats and on the gradient norm: sums are taken in another order."""

COEFFICIENT = 0.1
"""Far above PaLM's 1e-4, so that an error in it shows."""
WITH_Z = MODEL.model_copy(update={"z_loss": COEFFICIENT})


def errors_of_the_parts(
    context: RankContext, dtype_name: str, on_gpu: bool
) -> tuple[float, float, float]:
    """Largest differences of cross-entropy, square and gradient from torch's on whole logits.

    on_gpu: by the functions that are compiled there, as they are written.
    """
    import torch
    import torch.nn.functional as F
    from torch.distributed import group

    from megatron_codemix.mcore.language_model import _LossesOfLogits, entropies_and_squares

    losses = _LossesOfLogits.apply if on_gpu else entropies_and_squares
    generator = torch.Generator().manual_seed(0)
    dtype = getattr(torch, dtype_name)
    logits = (30 * torch.randn(5, 3, 64, generator=generator)).to(dtype)
    labels = torch.randint(0, 64, (5, 3), generator=generator)
    weights = torch.rand(2, 5, 3, generator=generator)
    size = 64 // context.world_size
    mine = slice(context.rank * size, (context.rank + 1) * size)
    part = logits[..., mine].clone().requires_grad_()
    # Of their own: the gradients may be written over the logits, whose memory is then theirs.
    logits_here = part.clone()
    before = logits_here.detach().clone()
    found = losses(logits_here, labels, group.WORLD)
    assert torch.equal(logits_here.detach(), before), "the logits were written to"
    sum((w * f).sum() for w, f in zip(weights, found, strict=True)).backward()
    assert on_gpu or torch.equal(logits_here.detach(), before), "the logits were written to"
    whole = logits.double().requires_grad_()
    entropy = F.cross_entropy(whole.flatten(0, 1), labels.flatten(), reduction="none").view(5, 3)
    expected = (entropy, whole.logsumexp(-1).square())
    sum((w * e).sum() for w, e in zip(weights, expected, strict=True)).backward()
    gradient = whole.grad[..., mine]
    differences = [
        ((f - e).abs() / (1 + e.abs())).max() for f, e in zip(found, expected, strict=True)
    ]
    relative = (part.grad - gradient).abs() / (1 + gradient.abs())
    return float(differences[0]), float(differences[1]), float(relative.max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 4e-3)])
@pytest.mark.parametrize(
    ("num_ranks", "on_gpu"), [(1, False), (2, False), (4, False), (1, True), (4, True)]
)
def test_parts_of_the_vocabulary_give_torchs_losses(
    num_ranks: int, on_gpu: bool, dtype: str, tolerance: float
) -> None:
    """bf16 logits are summed in fp32; only their gradient is rounded, to 8 bits."""
    for entropy, square, gradient in run_distributed(errors_of_the_parts, num_ranks, dtype, on_gpu):
        assert entropy < 1e-5
        assert square < 1e-5
        assert gradient < tolerance


LAYOUTS = {
    "tp2": (2, LayoutConfig(tensor=2, microbatch_sequences=2)),
    "tp2-sp": (2, LayoutConfig(tensor=2, sequence_parallel=True, microbatch_sequences=2)),
    "pp2-vp2": (2, LayoutConfig(pipeline=2, virtual_pipeline=2, microbatch_sequences=2)),
    "pp2": (2, LayoutConfig(pipeline=2, microbatch_sequences=2)),
    "dp2": (2, LayoutConfig(microbatch_sequences=2)),
    "cp2": (2, LayoutConfig(context=2, microbatch_sequences=2)),
}


@cache
def one_process() -> Curve:
    job = Job(layout=LayoutConfig(microbatch_sequences=2), model=WITH_Z, num_steps=5)
    return run_distributed(train_on_rank, 1, job)[0]


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_equal_one_process(name: str) -> None:
    num_ranks, layout = LAYOUTS[name]
    job = Job(layout=layout, model=WITH_Z, num_steps=5)
    for curve in run_distributed(train_on_rank, num_ranks, job):
        for field in ("loss", "grad_norm", "z_loss"):
            expected = getattr(one_process(), field)
            assert getattr(curve, field) == pytest.approx(expected, abs=FP32_TOLERANCE, rel=0)


def test_it_is_reported_apart_and_shrinks_the_normaliser() -> None:
    job = Job(layout=LayoutConfig(microbatch_sequences=2), num_steps=5)
    without = run_distributed(train_on_rank, 1, job)[0]
    assert without.z_loss == [0.0] * 5
    assert one_process().loss[0] == pytest.approx(without.loss[0], abs=FP32_TOLERANCE)
    # At step 0 all logits are near 0: logsumexp is the logarithm of the table's 1,024 rows.
    expected = COEFFICIENT * math.log(1024) ** 2
    assert one_process().z_loss[0] == pytest.approx(expected, rel=0.01)
    assert one_process().z_loss[-1] < one_process().z_loss[0] - 0.2


def losses_for_evaluation(context: RankContext, job: Job) -> object:

    chunks, parallel, backend = build_on_rank(job)
    return token_losses(chunks[0], markov_batch([0, 1]), parallel, backend).numpy()


def test_evaluation_sees_the_losses_alone() -> None:
    with_z, without = (
        run_distributed(losses_for_evaluation, 1, Job(layout=LayoutConfig(), model=model))[0]
        for model in (WITH_Z, MODEL)
    )
    assert with_z == pytest.approx(without, abs=FP32_TOLERANCE)
