"""The parallel block in every layout and with every recomputation: loss and gradient norm against
one process that starts from the same seed."""

from functools import cache

import pytest

from megatron_codemix.config.schema import LayoutConfig, ModelConfig, MupConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Curve, Job, build_on_rank, markov_batch, train_on_rank

FP32_TOLERANCE = 1e-5
"""Absolute, on losses in nats and on the gradient norm: sums are taken in another order."""

BF16_TOLERANCE = 5e-3
"""On the loss: bf16 keeps 8 bits, and partial sums are rounded before they are added."""

COHERE = MODEL.model_copy(
    update={
        "block": "parallel",
        "normalization": "layernorm_no_bias",
        "rope_interleaved": True,
        "tie_embeddings": True,
        "logit_scale": 0.5,
        "qk_norm": True,
    }
)
BIASES = MODEL.model_copy(
    update={"block": "parallel", "normalization": "layernorm", "add_bias": True}
)
LAYOUTS = {
    "tp2": (2, LayoutConfig(tensor=2, microbatch_sequences=2)),
    "tp2-sp": (2, LayoutConfig(tensor=2, sequence_parallel=True, microbatch_sequences=2)),
    "pp2": (2, LayoutConfig(pipeline=2, microbatch_sequences=2)),
    "pp2-vp2": (2, LayoutConfig(pipeline=2, virtual_pipeline=2, microbatch_sequences=2)),
    "cp2": (2, LayoutConfig(context=2, microbatch_sequences=2)),
    "tp2-pp2-sp": (
        4,
        LayoutConfig(tensor=2, pipeline=2, sequence_parallel=True, microbatch_sequences=2),
    ),
}
RECOMPUTATIONS = {
    "full": {"recompute": "full"},
    "norm": {"recompute": "selective", "recompute_modules": ["layernorm"]},
    "mlp": {"recompute": "selective", "recompute_modules": ["mlp"]},
    "norm-mlp": {"recompute": "selective", "recompute_modules": ["layernorm", "mlp"]},
}


@cache
def one_process(has_biases: bool) -> Curve:
    model = BIASES if has_biases else COHERE
    job = Job(layout=LayoutConfig(microbatch_sequences=2), model=model, num_steps=5)
    return run_distributed(train_on_rank, 1, job)[0]


def assert_equals_one_process(model: ModelConfig, num_ranks: int, layout: LayoutConfig) -> None:
    job = Job(layout=layout, model=model, num_steps=5)
    curves = run_distributed(train_on_rank, num_ranks, job)
    expected = one_process(model.add_bias)
    assert expected.loss[-1] < expected.loss[0] - 0.1, "nothing is learned"
    assert all(curve == curves[0] for curve in curves), "ranks disagree on what they report"
    assert curves[0].loss == pytest.approx(expected.loss, abs=FP32_TOLERANCE, rel=0)
    assert curves[0].grad_norm == pytest.approx(expected.grad_norm, abs=FP32_TOLERANCE, rel=0)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_equal_one_process(name: str) -> None:
    assert_equals_one_process(COHERE, *LAYOUTS[name])


@pytest.mark.parametrize("name", ["tp2-sp", "pp2"])
def test_bf16_stays_near_one_process(name: str) -> None:
    """With the z-loss and width transfer as well, whose factors are not powers of two."""
    mup = MupConfig(base_hidden_size=24)
    model = COHERE.model_copy(update={"z_loss": 1e-2, "mup": mup})
    one, many = (
        run_distributed(
            train_on_rank,
            num_ranks,
            Job(layout=layout, model=model, precision="bf16", num_steps=5),
        )[0]
        for num_ranks, layout in ((1, LayoutConfig(microbatch_sequences=2)), LAYOUTS[name])
    )
    assert many.loss == pytest.approx(one.loss, abs=BF16_TOLERANCE, rel=0)
    assert many.z_loss == pytest.approx(one.z_loss, abs=BF16_TOLERANCE, rel=0)


@pytest.mark.parametrize("name", ["tp2", "tp2-sp"])
def test_biases_are_added_once(name: str) -> None:
    assert_equals_one_process(BIASES, *LAYOUTS[name])


@pytest.mark.parametrize("layout", ["tp2", "tp2-sp"])
@pytest.mark.parametrize("name", RECOMPUTATIONS)
def test_recomputation_changes_nothing(name: str, layout: str) -> None:
    num_ranks, asked = LAYOUTS[layout]
    assert_equals_one_process(COHERE, num_ranks, asked.model_copy(update=RECOMPUTATIONS[name]))


def reductions_of_a_step(context: RankContext, model: ModelConfig) -> int:
    """Sums of activations over the tensor-parallel ranks in one forward and backward pass."""
    import torch
    import torch.distributed

    from megatron_codemix.mcore.step import forward_losses

    layout = LAYOUTS["tp2"][1]
    chunks, parallel, backend = build_on_rank(Job(layout=layout, model=model))
    batch = markov_batch([0])
    count = 0
    all_reduce = torch.distributed.all_reduce

    def counted(tensor: torch.Tensor, *arguments: object, **options: object) -> object:
        nonlocal count
        count += tensor.shape[-1:] == (model.hidden_size,)
        return all_reduce(tensor, *arguments, **options)

    torch.distributed.all_reduce = counted
    losses = forward_losses(chunks[0], batch, parallel, backend)
    losses.sum().backward()
    return count


OUTSIDE = 2
"""The embedding's rows forward, the output layer's input backward."""


@pytest.mark.parametrize(("block", "each_layer"), [("parallel", 2), ("sequential", 4)])
def test_the_branches_share_their_collectives(block: str, each_layer: int) -> None:
    """One sum a layer in each direction, where sequential layers have two."""
    model = MODEL.model_copy(update={"block": block})
    for count in run_distributed(reductions_of_a_step, 2, model):
        assert count == OUTSIDE + each_layer * model.num_layers
