"""The parallel block in every layout and with every recomputation: loss and gradient norm against
one process that starts from the same seed."""

from functools import cache

import pytest

from megatron_codemix.config.schema import LayoutConfig, ModelConfig
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Curve, Job, train_on_rank

FP32_TOLERANCE = 1e-5
"""Absolute, on losses in nats and on the gradient norm: sums are taken in another order."""

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


@pytest.mark.parametrize("name", ["tp2", "tp2-sp"])
def test_biases_are_added_once(name: str) -> None:
    assert_equals_one_process(BIASES, *LAYOUTS[name])


@pytest.mark.parametrize("layout", ["tp2", "tp2-sp"])
@pytest.mark.parametrize("name", RECOMPUTATIONS)
def test_recomputation_changes_nothing(name: str, layout: str) -> None:
    num_ranks, asked = LAYOUTS[layout]
    assert_equals_one_process(COHERE, num_ranks, asked.model_copy(update=RECOMPUTATIONS[name]))
