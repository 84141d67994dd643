"""The same seed gives the same weights at step 0 in every layout, bit for bit.

Compared through megatron-core's own checkpoints, which know how a layout cuts each tensor: saved in
one layout, loaded into one process, and there against the weights that one process makes itself.
"""

from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.config.schema import LayoutConfig, MoeConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.megatron_core import save_as_megatron_does
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, build_on_rank

MODELS = {
    "untied": MODEL,
    "tied": MODEL.model_copy(update={"tie_embeddings": True}),
    "parallel-block": MODEL.model_copy(
        update={"block": "parallel", "normalization": "layernorm_no_bias", "qk_norm": True}
    ),
}


def save_initial_weights(context: RankContext, job: Job) -> None:
    from megatron_codemix.mcore.checkpoint import sharded_weights

    chunks, _, _ = build_on_rank(job)
    if context.rank == 0:
        job.save.mkdir()
    import torch.distributed

    torch.distributed.barrier()
    save_as_megatron_does(sharded_weights(chunks), job.save)


def compare_with_own(context: RankContext, job: Job) -> list[str]:
    """Names of the parameters in the checkpoint that differ from this process's own."""
    import torch
    from megatron.core import dist_checkpointing

    from megatron_codemix.mcore.checkpoint import sharded_weights
    from megatron_codemix.mcore.model import gpt_of

    [model], _, _ = build_on_rank(job)
    gpt = gpt_of(model)
    own = {name: value.detach().clone() for name, value in gpt.named_parameters()}
    with torch.no_grad():
        for parameter in gpt.parameters():
            parameter.fill_(torch.nan)
    loaded = dist_checkpointing.load(sharded_weights([model]), str(job.load))
    gpt.load_state_dict(loaded["model0"])
    return [name for name, value in gpt.named_parameters() if not torch.equal(value, own[name])]


@pytest.mark.parametrize(
    ("num_ranks", "layout"),
    [
        (2, LayoutConfig(tensor=2)),
        (2, LayoutConfig(pipeline=2)),
        (2, LayoutConfig()),
        (4, LayoutConfig(tensor=2, pipeline=2)),
        (4, LayoutConfig(tensor=4)),
        (2, LayoutConfig(pipeline=2, virtual_pipeline=2)),
        (4, LayoutConfig(pipeline=2, context=2)),
    ],
    ids=["tp2", "pp2", "dp2", "tp2-pp2", "tp4", "pp2-vp2", "pp2-cp2"],
)
@pytest.mark.parametrize("name", MODELS)
def test_weights_at_step_0_do_not_depend_on_the_layout(
    num_ranks: int, layout: LayoutConfig, name: str, tmp_path: Path
) -> None:
    groups = layout.tensor  # key/value heads must divide
    model = MODELS[name].model_copy(update={"num_query_groups": max(2, groups)})
    folder = tmp_path / "weights"
    run_distributed(save_initial_weights, num_ranks, Job(layout=layout, model=model, save=folder))
    job = Job(layout=LayoutConfig(), model=model, load=folder)
    assert run_distributed(compare_with_own, 1, job) == [[]]


@pytest.mark.parametrize(
    ("num_ranks", "layout"),
    [
        (2, LayoutConfig(expert=2)),
        (2, LayoutConfig(tensor=2, sequence_parallel=True)),
        (4, LayoutConfig(pipeline=2, virtual_pipeline=2, expert=2)),
    ],
    ids=["ep2", "tp2-sp", "pp2-vp2-ep2"],
)
def test_experts_have_the_same_weights_at_step_0_in_every_layout(
    num_ranks: int, layout: LayoutConfig, tmp_path: Path
) -> None:
    moe = MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)
    model = MODEL.model_copy(update={"moe": moe})
    folder = tmp_path / "weights"
    run_distributed(save_initial_weights, num_ranks, Job(layout=layout, model=model, save=folder))
    job = Job(layout=LayoutConfig(), model=model, load=folder)
    assert run_distributed(compare_with_own, 1, job) == [[]]


def statistics(context: RankContext, job: Job) -> dict[str, tuple[float, float]]:
    from megatron_codemix.mcore.model import gpt_of

    [model], _, _ = build_on_rank(job)
    return {
        name: (float(value.mean()), float(value.std()))
        for name, value in gpt_of(model).named_parameters()
        if value.dim() == 2
    }


def test_weights_have_the_stated_distribution() -> None:
    """Standard deviations of the docstring's rule, means of zero; within 5 standard errors."""
    found = run_distributed(statistics, 1, Job(layout=LayoutConfig()))[0]
    for name, (mean, std) in found.items():
        writes_residual = name.endswith(("linear_proj.weight", "linear_fc2.weight"))
        expected = 0.02 / np.sqrt(2 * MODEL.num_layers) if writes_residual else 0.02
        numbers = 64 * 64  # the smallest matrix
        assert abs(mean) < 5 * expected / np.sqrt(numbers), name
        assert std == pytest.approx(expected, rel=5 / np.sqrt(2 * numbers)), name
    assert len(found) == 4 * MODEL.num_layers + 2
