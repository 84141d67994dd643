"""Width transfer: what a step changes does not depend on the width, with muP; without, it grows.

The coordinate check of arXiv 2203.03466, appendix D.1: change of activations after a few steps,
over widths.
"""

import math
from functools import cache
from pathlib import Path

import pytest

from megatron_codemix.config.mup import width_ratio
from megatron_codemix.config.schema import LayoutConfig, ModelConfig, MupConfig, PrecisionConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import (
    MODEL,
    OPTIMIZER,
    Curve,
    Job,
    build_on_rank,
    markov_batch,
    token_losses,
    train_on_rank,
)

BASE, WIDE = 64, 512
HEAD = 16
LEARNING_RATE, STEPS = 3e-3, 5
WITHOUT_AT_LEAST, WITH_AT_MOST = 0.9, 0.4
"""Exponents of the width. Theory says 1/2 or more without and 0 with muP; measured are 1.1 to 2.6,
and -0.3 to 0.03."""
FP32_TOLERANCE = 1e-5


def model_of(width: int, *, mup: bool, more_heads: bool) -> ModelConfig:
    """Wider by more heads, or by wider ones."""
    base_head = None if more_heads else HEAD
    return MODEL.model_copy(
        update={
            "num_layers": 2,
            "hidden_size": width,
            "ffn_hidden_size": 2 * width,
            "num_attention_heads": width // HEAD if more_heads else BASE // HEAD,
            "num_query_groups": None,
            "mup": MupConfig(base_hidden_size=BASE, base_head_dim=base_head) if mup else None,
        }
    )


def changes_of_activations(context: RankContext, model: ModelConfig) -> dict[str, float]:
    """Mean change of each activation of a batch after training steps on it."""
    import torch

    from megatron_codemix.mcore.model import gpt_of, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
    from megatron_codemix.mcore.step import train_step

    layout = LayoutConfig()
    chunks, parallel, backend = build_on_rank(Job(layout=layout, model=model))
    wrapped = wrap_data_parallel(chunks, layout, parallel)
    optimizer = build_optimizer(
        OPTIMIZER,
        layout,
        PrecisionConfig(kind="fp32"),
        wrapped,
        parallel,
        width_ratio=width_ratio(model),
    )
    seen: dict[str, torch.Tensor] = {}

    def watch(name: str, module: torch.nn.Module) -> None:
        def keep(module: object, inputs: object, output: object) -> None:
            seen[name] = (output[0] if isinstance(output, tuple) else output).detach().clone()

        module.register_forward_hook(keep)

    gpt = gpt_of(chunks[0])
    for number, layer in enumerate(gpt.decoder.layers):
        watch(f"layer {number}", layer)
        watch(f"attention of layer {number}", layer.self_attention)
        watch(f"MLP of layer {number}", layer.mlp)
    watch("logits", gpt.output_layer)
    batch = markov_batch([0, 1, 2, 3])
    token_losses(chunks[0], batch, parallel, backend)
    before = dict(seen)
    for _ in range(STEPS):
        set_step_sizes(optimizer, LEARNING_RATE, weight_decay=0.1)
        train_step(wrapped, optimizer, [batch], num_sources=2, parallel=parallel, backend=backend)
    token_losses(chunks[0], batch, parallel, backend)
    return {name: float((seen[name] - before[name]).abs().mean()) for name in before}


@pytest.mark.parametrize("more_heads", [True, False], ids=["more-heads", "wider-heads"])
@pytest.mark.parametrize("mup", [True, False], ids=["mup", "standard"])
def test_coordinate_check(mup: bool, more_heads: bool) -> None:
    base, wide = (
        run_distributed(changes_of_activations, 1, model_of(width, mup=mup, more_heads=more_heads))[
            0
        ]
        for width in (BASE, WIDE)
    )
    exponents = {name: math.log(wide[name] / base[name], WIDE / BASE) for name in base}
    assert len(exponents) == 7
    if mup:
        assert all(abs(exponent) < WITH_AT_MOST for exponent in exponents.values()), exponents
    else:
        assert all(exponent > WITHOUT_AT_LEAST for exponent in exponents.values()), exponents


def test_nothing_changes_at_the_base_width() -> None:
    curves = [
        run_distributed(
            train_on_rank,
            1,
            Job(
                layout=LayoutConfig(),
                model=model_of(BASE, mup=mup, more_heads=False),
                num_steps=3,
            ),
        )
        for mup in (True, False)
    ]
    assert curves[0] == curves[1]


@cache
def one_process(folder: Path) -> tuple[Curve, Path]:
    """Steps 3 to 5 of one process, and the checkpoint that they start from."""
    job = Job(layout=LayoutConfig(microbatch_sequences=2), model=WIDER, num_steps=2)
    checkpoint = folder / "start"
    run_distributed(train_on_rank, 1, Job(**{**vars(job), "save": checkpoint}))
    curve = run_distributed(train_on_rank, 1, Job(**{**vars(job), "load": checkpoint}))[0]
    return curve, checkpoint


WIDER = model_of(128, mup=True, more_heads=True)


@pytest.mark.parametrize(
    ("num_ranks", "layout"),
    [
        (2, LayoutConfig(tensor=2, microbatch_sequences=2)),
        (2, LayoutConfig(pipeline=2, microbatch_sequences=2)),
        (2, LayoutConfig(microbatch_sequences=2)),
    ],
    ids=["tp2", "pp2", "dp2"],
)
def test_multipliers_hold_in_every_layout_and_after_a_checkpoint(
    num_ranks: int, layout: LayoutConfig, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "mup"
    expected, checkpoint = one_process(folder)
    job = Job(layout=layout, model=WIDER, num_steps=2, load=checkpoint)
    curve = run_distributed(train_on_rank, num_ranks, job)[0]
    assert curve.loss == pytest.approx(expected.loss, abs=FP32_TOLERANCE, rel=0)
    assert curve.grad_norm == pytest.approx(expected.grad_norm, abs=FP32_TOLERANCE, rel=0)


def multipliers_of_groups(context: RankContext, job: Job) -> dict[tuple[float, float], set[str]]:
    """(learning rate, decay) multipliers -> names of their parameters."""
    from megatron_codemix.mcore.model import gpt_of, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer

    chunks, parallel, _ = build_on_rank(job)
    wrapped = wrap_data_parallel(chunks, job.layout, parallel)
    optimizer = build_optimizer(
        OPTIMIZER,
        job.layout,
        PrecisionConfig(kind="fp32"),
        wrapped,
        parallel,
        width_ratio=width_ratio(job.model),
    )
    names = {id(parameter): name for name, parameter in gpt_of(chunks[0]).named_parameters()}
    return {
        (group["lr_mult"], group["wd_mult"]): {names[id(p)] for p in group["params"]}
        for group in optimizer.param_groups
    }


def test_groups_of_the_optimizer() -> None:
    job = Job(layout=LayoutConfig(distributed_optimizer=False), model=WIDER)
    groups = run_distributed(multipliers_of_groups, 1, job)[0]
    assert set(groups) == {(1.0, 1.0), (1.0, 0.0), (0.5, 2.0)}
    assert groups[1.0, 1.0] == {"embedding.word_embeddings.weight", "output_layer.weight"}
    assert all("layernorm" in name for name in groups[1.0, 0.0])
    assert len(groups[0.5, 2.0]) == 4 * WIDER.num_layers
