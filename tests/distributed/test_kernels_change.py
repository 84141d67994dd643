"""Runs that go on with another Adam kernel than the one that wrote their checkpoint: ours, and one
with the keys of Transformer Engine's."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from megatron_codemix.config.schema import LayoutConfig
from megatron_codemix.launch.placement import RankContext
from tests.helpers.ranks import run_distributed
from tests.helpers.training import Curve, Job, train_on_rank

JOBS = {
    is_distributed: Job(
        layout=LayoutConfig(distributed_optimizer=is_distributed, microbatch_sequences=4),
        precision="bf16",
        num_steps=2,
    )
    for is_distributed in (True, False)
}
KERNELS = ("ours", "theirs", "ours")
"""Of two steps each."""


def engines_adam() -> type:
    """Our kernel, which keeps in its groups and reads there what Transformer Engine's FusedAdam
    does (2.11, optimizers/fused_adam.py)."""
    from megatron_codemix.mcore.fused_adam import FusedAdam

    class EnginesAdam(FusedAdam):
        def __init__(
            self, params: Any, lr: float = 1e-3, bias_correction: bool = True, **options: Any
        ) -> None:
            super().__init__(params, lr, **options)
            self.defaults["bias_correction"] = bias_correction
            for group in self.param_groups:
                group["bias_correction"] = bias_correction

        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                assert group["bias_correction"]
            super().step(closure)

    return EnginesAdam


def pieces(job: Job, folder: Path) -> Iterator[Curve]:
    """The curve of each kernel, which goes on from where the last has stopped."""
    from megatron.core import optimizer
    from megatron.core.optimizer import distrib_optimizer

    from megatron_codemix.mcore.fused_adam import FusedAdam
    from megatron_codemix.mcore.groups import destroy_model_parallel

    kernels = {"ours": FusedAdam, "theirs": engines_adam()}
    last: Path | None = None
    for number, name in enumerate(KERNELS):
        optimizer.Adam = distrib_optimizer.Adam = kernels[name]
        first, save = number * job.num_steps, folder / str(number)
        yield train_on_rank(None, replace(job, first_step=first, load=last, save=save))
        destroy_model_parallel()
        last = save


def train(context: RankContext, folder: Path) -> dict[bool, list[Curve]]:
    """Whether the optimizer is distributed -> the curve in pieces, then in one."""
    from megatron_codemix.mcore.groups import destroy_model_parallel

    found = {}
    for is_distributed, job in JOBS.items():
        curves = list(pieces(job, folder / str(is_distributed)))
        curves.append(train_on_rank(context, replace(job, num_steps=len(KERNELS) * job.num_steps)))
        destroy_model_parallel()
        found[is_distributed] = curves
    return found


def test_training_goes_on_to_the_bit(tmp_path: Path) -> None:
    [found] = run_distributed(train, 1, tmp_path)
    assert found.keys() == {True, False}
    for *parts, whole in found.values():
        assert [loss for part in parts for loss in part.loss] == whole.loss
        assert [norm for part in parts for norm in part.grad_norm] == whole.grad_norm
