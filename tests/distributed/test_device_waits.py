"""Where a training step waits for the device, counted on every kind of step without a GPU.

A mixture of experts is not among them: how many tokens an expert is given sizes its products, so
megatron-core reads the counts of each layer on the host.
"""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from megatron_codemix.config.schema import (
    AdamWConfig,
    AnyPrecisionConfig,
    Fp8Config,
    LayoutConfig,
    ModelConfig,
    MuonConfig,
    OptimizerConfig,
    PrecisionConfig,
)
from megatron_codemix.data.batches import allocate_batch
from tests.helpers import server, training

MODEL = training.MODEL.model_copy(update={"num_layers": 2})
MICROBATCHES = 2
BF16 = PrecisionConfig(kind="bf16")
SEQUENCE = 64


@dataclass(frozen=True, kw_only=True)
class Case:
    """A kind of step; a rank of the world makes it, the others are not there."""

    layout: LayoutConfig = field(default_factory=LayoutConfig)
    model: ModelConfig = MODEL
    precision: AnyPrecisionConfig = BF16
    optimizer: OptimizerConfig = field(default_factory=lambda: AdamWConfig(weight_decay=0.1))
    world_size: int = 1
    rank: int = 0
    with_documents: bool = False


def _fp8(**changes: Any) -> Case:
    return Case(precision=Fp8Config(recipe="emulated", **changes))


WHOLE = LayoutConfig(distributed_optimizer=False)
PIPELINE = LayoutConfig(tensor=2, pipeline=2, sequence_parallel=True)
CASES = {
    "fp32": Case(precision=PrecisionConfig(kind="fp32"), layout=WHOLE),
    "bf16": Case(),
    "bf16, whole": Case(layout=WHOLE),
    "documents": Case(with_documents=True),
    "recomputed": Case(layout=LayoutConfig(recompute="full")),
    "z-loss": Case(model=MODEL.model_copy(update={"z_loss": 1e-4})),
    "muon": Case(optimizer=MuonConfig(weight_decay=0.1), layout=WHOLE),
    "tensorwise": _fp8(rule="tensorwise"),
    "blockwise": _fp8(rule="blockwise"),
    "mxfp8": _fp8(rule="mxfp8"),
    "delayed": _fp8(rule="delayed"),
    "distributed optimizer": Case(
        layout=LayoutConfig(
            distributed_optimizer=True, overlap_grad_reduce=True, overlap_param_gather=True
        ),
        world_size=2,
    ),
    "first stage": Case(layout=PIPELINE, world_size=4, rank=0),
    "last stage": Case(layout=PIPELINE, world_size=4, rank=2),
    "interleaved": Case(
        model=training.MODEL,
        layout=LayoutConfig(pipeline=2, virtual_pipeline=2),
        world_size=2,
        rank=1,
    ),
    "context": Case(layout=LayoutConfig(context=2), world_size=2),
    "parallel block": Case(model=MODEL.model_copy(update={"block": "parallel"})),
}


def waits_of(
    case: Case, *, as_megatron_core: bool = False
) -> tuple[list[str], list[str], list[str]]:
    """Of a step, while it is launched and while its result is read; the ranges of both.

    as_megatron_core: with its own words for what `mcore/update.py` says.
    """
    from megatron_codemix.backend.planning import join_as, leave
    from megatron_codemix.mcore.groups import destroy_model_parallel, initialize_model_parallel
    from megatron_codemix.mcore.model import build_model, wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer, set_step_sizes
    from megatron_codemix.mcore.step import launch_step
    from tests.helpers.device_waits import StandIn, Waits, counted

    backend = StandIn(Waits())
    backend.prepare()
    join_as(case.rank, case.world_size)
    parallel = initialize_model_parallel(case.layout, seed=0)
    try:
        with backend.device:
            chunks = build_model(
                case.model,
                case.layout,
                case.precision,
                sequence_length=SEQUENCE,
                seed=None,
                parallel=parallel,
                backend=backend,
            )
            model = wrap_data_parallel(chunks, case.layout, parallel)
            optimizer = build_optimizer(
                case.optimizer, case.layout, case.precision, model, parallel
            )
        if as_megatron_core:
            put_its_own_back(model)
        batches = [
            allocate_batch(
                case.layout.microbatch_sequences,
                SEQUENCE,
                with_documents=case.with_documents,
                allocate=backend.allocate_host,
            )
            for _ in range(MICROBATCHES)
        ]
        set_step_sizes(optimizer, 1e-3, 0.1)
        with counted(backend):
            launched = launch_step(
                model, optimizer, batches, num_sources=2, parallel=parallel, backend=backend
            )
        launching = list(backend.waits.places)
        launched.result()
        return launching, backend.waits.places[len(launching) :], backend.ranges
    finally:
        destroy_model_parallel()
        leave()


def put_its_own_back(model: Any) -> None:
    import torch
    from megatron.core.distributed import finalize_model_grads

    from megatron_codemix.mcore import step

    def update(optimizer: Any, device: Any) -> Any:
        optimizer.step()
        return torch.zeros(1, device=device)

    step.update = update
    model[0].config.finalize_model_grads_func = finalize_model_grads


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    """One in which `meta` stands for CUDA."""
    with ProcessPoolExecutor(1, mp_context=server.context()) as pool:
        yield pool


@pytest.mark.parametrize("name", CASES)
def test_a_step_is_launched_without_a_wait_and_read_in_one(
    name: str, process: ProcessPoolExecutor
) -> None:
    launching, reading, _ = process.submit(waits_of, CASES[name]).result()
    assert launching == []
    assert reading == ["megatron_codemix.mcore.step.result: read"]


def test_waits_are_seen_where_megatron_core_has_them() -> None:
    with ProcessPoolExecutor(1, mp_context=server.context()) as pool:
        waits, _, _ = pool.submit(waits_of, CASES["fp32"], as_megatron_core=True).result()
    counts = Counter(waits)
    gradients = 2 * 6 + 3  # two layers', of the tables and of the last norm
    assert counts == {
        "megatron.core.distributed.finalize_model_grads.finalize_model_grads: item": 1,
        "megatron.core.utils.local_multi_tensor_l2_norm: item": gradients,
        "megatron.core.utils.local_multi_tensor_l2_norm: tensor of numbers": 1,
        "megatron.core.optimizer.clip_grads.get_grad_norm_fp32: item": 1,
    }


def test_the_parts_of_a_step_have_names_in_a_profile(process: ProcessPoolExecutor) -> None:
    _, _, ranges = process.submit(waits_of, CASES["bf16"]).result()
    counts = Counter(ranges)
    assert counts["forward-backward > forward-compute"] == MICROBATCHES
    assert counts["forward-backward > backward-compute"] == MICROBATCHES
    assert counts["all-grads-sync"] + counts["forward-backward > all-grads-sync"] == 1
    assert counts["update"] == 1
