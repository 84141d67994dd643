"""Transformer Engine's layers beside ours on a GPU, and checkpoints from one to the other."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.config.schema import (
    BackendConfig,
    Fp8Config,
    LayoutConfig,
    MoeConfig,
    PrecisionConfig,
)
from megatron_codemix.errors import UnavailableError
from tests.helpers.training import MODEL, SEQUENCE, Job, train_on_rank

# megatron-core warns of its own defaults, in this process here.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]

LOSS_TOLERANCE = 0.02
"""Nats. bf16 keeps 8 bits, and two kernels add in another order."""
NORM_TOLERANCE = 0.05
"""On the gradient norm, relative."""
ROUNDING = 0.1
"""On what one layer gives, relative: tests/distributed/test_engine_trial.py measures 0.06 between
bf16 and fp32, and here both sides are rounded."""

LAYOUT = LayoutConfig(microbatch_sequences=4)
THEIRS = BackendConfig(engine="transformer_engine")
MODELS = {
    "plain": MODEL,
    "biases": MODEL.model_copy(
        update={
            "normalization": "layernorm",
            "activation": "gelu",
            "add_bias": True,
            "qk_norm": True,
        }
    ),
    "norms without bias": MODEL.model_copy(update={"normalization": "layernorm_no_bias"}),
    "scaled logits": MODEL.model_copy(update={"logit_scale": 0.5}),
    "experts": MODEL.model_copy(
        update={"moe": MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)}
    ),
}


@pytest.fixture
def engine(alone: Any) -> Any:
    """The back end, where Transformer Engine's layers can be had on it."""
    from megatron_codemix.backend.engine import engine_lacks_here

    if (reason := engine_lacks_here(alone.device)) is not None:
        pytest.skip(f"Transformer Engine: {reason}")
    return alone


def train(job: Job, **changes: Any) -> Any:
    """A Curve; of a job whose groups are gone afterwards."""
    from megatron_codemix.mcore.groups import destroy_model_parallel

    for name in ("NVTE_FLASH_ATTN", "NVTE_FUSED_ATTN", "NVTE_UNFUSED_ATTN"):
        os.environ.pop(name, None)  # megatron-core takes one choice for a process
    try:
        return train_on_rank(None, replace(job, **changes))
    finally:
        destroy_model_parallel()


@pytest.mark.parametrize("name", MODELS)
def test_losses_and_gradient_norms_are_those_of_our_layers(name: str, engine: Any) -> None:
    job = Job(layout=LAYOUT, model=MODELS[name], precision="bf16", device="cuda", num_steps=5)
    ours, theirs = train(job), train(job, backend=THEIRS)
    assert theirs.loss == pytest.approx(ours.loss, abs=LOSS_TOLERANCE, rel=0)
    assert theirs.grad_norm == pytest.approx(ours.grad_norm, rel=NORM_TOLERANCE, abs=0)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "experts"])
def test_a_layer_gives_what_ours_gives(name: str, engine: Any) -> None:
    """Output, the input's gradient and each parameter's."""
    from megatron_codemix.config.engine_checks import left_out
    from megatron_codemix.mcore.engine.layers import EngineLayers
    from megatron_codemix.mcore.engine.trial import Trial, tried_config
    from megatron_codemix.mcore.groups import initialize_model_parallel
    from megatron_codemix.mcore.transformer import build_transformer_config, layer_spec

    model, precision = MODELS[name], PrecisionConfig(kind="bf16")
    parallel = initialize_model_parallel(LAYOUT, 1)
    config = tried_config(build_transformer_config(model, LAYOUT, precision, engine.device))
    ours, theirs = layer_spec(config, model), layer_spec(config, model)
    EngineLayers(left_out(model, LAYOUT, precision)).put_into(theirs)
    trial = Trial(config, SEQUENCE, model.rope_base, parallel, engine)
    found, expected = (trial._results(trial._layer(spec)) for spec in (theirs, ours))
    assert found.keys() == expected.keys()
    for what, one in expected.items():
        apart = float((found[what].float() - one.float()).norm() / one.float().norm())
        assert apart < ROUNDING, what


@pytest.mark.parametrize("distributed_optimizer", [True, False])
@pytest.mark.parametrize("name", ["plain", "biases"])
def test_a_checkpoint_goes_from_one_to_the_other_and_back(
    name: str, distributed_optimizer: bool, engine: Any, tmp_path: Path
) -> None:
    layout = LAYOUT.model_copy(update={"distributed_optimizer": distributed_optimizer})
    job = Job(layout=layout, model=MODELS[name], precision="bf16", device="cuda", num_steps=2)
    whole = train(job, num_steps=6)
    train(job, backend=THEIRS, save=tmp_path / "theirs")
    then = replace(job, first_step=2, load=tmp_path / "theirs", save=tmp_path / "ours")
    ours = train(then)
    again = train(job, first_step=4, load=tmp_path / "ours", backend=THEIRS)
    assert [*ours.loss, *again.loss] == pytest.approx(whole.loss[2:], abs=LOSS_TOLERANCE, rel=0)


@pytest.mark.parametrize("recipe", ["tensorwise", "delayed"])
def test_a_checkpoint_in_fp8_goes_on_in_bf16_and_back(
    recipe: Any, engine: Any, tmp_path: Path
) -> None:
    from megatron_codemix.backend.devices import compute_capability

    if compute_capability(engine.device) < (8, 9):
        pytest.skip("the GPU has no FP8")
    fp8 = Fp8Config(recipe=recipe)
    job = Job(layout=LAYOUT, precision=fp8, device="cuda", num_steps=2)
    train(job, save=tmp_path / "fp8")
    rest = replace(job, first_step=2, load=tmp_path / "fp8")
    in_fp8 = train(rest)
    for number, backend in enumerate((BackendConfig(engine="torch"), THEIRS)):
        saved = tmp_path / f"bf16-{number}"
        in_bf16 = train(rest, precision="bf16", backend=backend, save=saved)
        assert in_bf16.loss == pytest.approx(in_fp8.loss, abs=0.1, rel=0)
        # FP8 keeps 3 bits; of its scales the checkpoint in bf16 has none.
        train(rest, first_step=4, load=saved)


@pytest.mark.parametrize("attention", ["flash", "fused", "unfused"])
def test_torchs_kernels_give_the_same_losses(attention: Any, alone: Any) -> None:
    job = Job(layout=LAYOUT, precision="bf16", device="cuda", num_steps=3)
    expected = train(job)
    asked = BackendConfig(engine="torch", attention=attention)
    try:
        found = train(job, backend=asked)
    except UnavailableError as error:
        if attention != "fused":  # PyTorch has the others on every GPU that computes in bf16
            raise
        pytest.skip(str(error))
    assert found.loss == pytest.approx(expected.loss, abs=LOSS_TOLERANCE, rel=0)
