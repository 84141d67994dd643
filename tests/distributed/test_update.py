"""Our update, which brings nothing to the host, against megatron-core's own: the same bits."""

from dataclasses import replace

import pytest

from megatron_codemix.config.schema import AdamWConfig, LayoutConfig, MoeConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Curve, Job, build_with_optimizer, train_steps

LIMIT = 2.5
"""Norms are below it in the first steps and above it in the last."""
MOE = MODEL.model_copy(update={"moe": MoeConfig(num_experts=4, top_k=2, balance_coefficient=0.01)})
JOBS = {
    "shards of master weights": (1, Job(layout=LayoutConfig(), precision="bf16")),
    "master weights": (1, Job(layout=LayoutConfig(distributed_optimizer=False), precision="bf16")),
    "norms of two groups": (2, Job(layout=LayoutConfig(expert=2), model=MOE)),
    "norms of two groups apart": (
        2,
        Job(layout=LayoutConfig(expert=2, distributed_optimizer=False), model=MOE),
    ),
}


def train_both_ways(context: RankContext, job: Job) -> list[tuple[Curve, list[float]]]:
    """Losses and norms, and a sum over each parameter."""
    from megatron_codemix.mcore.groups import destroy_model_parallel

    results = []
    for is_own in (False, True):
        model, optimizer, parallel, backend = build_with_optimizer(job)
        if is_own:
            put_its_own_back(model, optimizer)
        else:
            require_copied_together(optimizer)
        curve = train_steps(job, model, optimizer, parallel, backend, job.steps)
        require_gradients_where_they_were_summed(optimizer)
        sums = [float(one.detach().double().sum()) for one in model[0].parameters()]
        results.append((curve, sums))
        destroy_model_parallel()
    return results


COPY = "_copy_main_params_to_model_params"


def require_copied_together(optimizer) -> None:  # type: ignore[no-untyped-def]
    """Ours must be what is compared."""
    has_masters = [
        one for one in optimizer.chained_optimizers if type(one).__name__ != "FP32Optimizer"
    ]
    assert all(COPY in vars(one) for one in has_masters)


def require_gradients_where_they_were_summed(optimizer) -> None:  # type: ignore[no-untyped-def]
    """So that there is no copy of them to make faster."""
    for part in optimizer.chained_optimizers:
        names = [
            name for name in vars(part) if name.startswith(("model_float16", "float16_groups"))
        ]
        models = [one for name in names for group in getattr(part, name) for one in group]
        for model in models:
            summed = model.main_grad.untyped_storage().data_ptr()
            if getattr(model, "main_param", None) is not None:
                assert model.main_param.grad.untyped_storage().data_ptr() == summed


def put_its_own_back(model, optimizer):  # type: ignore[no-untyped-def]
    import torch
    from megatron.core.distributed import finalize_model_grads

    from megatron_codemix.mcore import step

    for part in optimizer.chained_optimizers:
        vars(part).pop(COPY, None)
    norms: list[float] = []

    def update(optimizer, device):  # type: ignore[no-untyped-def]
        norms.append(optimizer.step()[1])
        return torch.zeros(1)

    step.update = update
    step.gradient_norm = lambda squares: norms[-1]
    model[0].config.finalize_model_grads_func = finalize_model_grads


@pytest.mark.parametrize("name", JOBS)
def test_losses_norms_and_weights_are_megatron_cores(name: str) -> None:
    num_ranks, job = JOBS[name]
    asked = replace(job, num_steps=5, optimizer=AdamWConfig(weight_decay=0.1, clip_grad_norm=LIMIT))
    for ours, own in run_distributed(train_both_ways, num_ranks, asked):
        assert ours == own
        assert max(ours[0].grad_norm) > LIMIT > min(ours[0].grad_norm)
