"""The formula of activations, against the largest memory of forward and backward passes on the
CPU."""

from functools import partial
from typing import Any  # torch's types: imported in ranks alone

import numpy as np
import pytest

from megatron_codemix.config.schema import AdamWConfig
from megatron_codemix.data.batches import Batch
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.planner.memory.activations import Activations
from megatron_codemix.planner.memory.overheads import message_bytes
from megatron_codemix.planner.memory.sizes import rank_sizes
from tests.helpers.memory_cases import (
    BF16,
    FP32,
    FULL,
    GROUPED,
    MODELS,
    TP_SP,
    Case,
    input_of,
    model_of,
    modules,
)
from tests.helpers.ranks import run_distributed

LEAST, MOST = 0.97, 1.15
"""Formula beside measured: of a backward pass it counts the fullest step as if nothing of the layer
was free by then."""

PEAK = {"hidden_size": 256, "ffn_hidden_size": 704}
"""Wide enough for matrices' gradients to count."""
SMALL, LARGE = {**PEAK, "vocabulary_size": 200}, {**PEAK, "vocabulary_size": 4000}
"""Vocabularies: of a microbatch, a layer's backward pass takes most, or the loss."""
PEAKS_OF_ONE_RANK = [
    *(Case(model, {}, changes=SMALL) for model in MODELS),
    *(Case(model, FULL, changes=SMALL) for model in ("llama", "cohere", "experts")),
    Case("llama", {**FULL, "recompute_method": "block", "recompute_layers": 3}, changes=SMALL),
    Case("cohere", modules("layernorm", "mlp"), changes=SMALL),
    Case("experts", modules("moe"), changes=SMALL),
    *(Case("llama", {}, precision, changes=LARGE) for precision in (BF16, FP32)),
    *(Case(model, {}, changes=LARGE) for model in ("gpt", "qk norm")),
    Case("llama", {}, FP32, GROUPED, SMALL),
    Case("llama", {}, BF16, GROUPED, SMALL, document_mask=True),
    Case("llama", FULL, BF16, GROUPED, SMALL, document_mask=True),
]
PEAKS_OF_TWO_RANKS = [
    Case("gpt", {"tensor": 2}, changes=SMALL),
    Case("llama", TP_SP, changes=SMALL),
    Case("llama", {**TP_SP, **FULL}, changes=SMALL),
    Case("cohere", {**TP_SP, **modules("layernorm")}, changes=SMALL),
    Case("llama", {"context": 2}, changes=SMALL),
    Case("llama", TP_SP, changes=LARGE),
]


@pytest.mark.parametrize(
    "cases", [PEAKS_OF_ONE_RANK, PEAKS_OF_TWO_RANKS], ids=["one rank", "two ranks"]
)
def test_the_formula_gives_the_largest_memory(cases: list[Case]) -> None:
    measured = run_distributed(measure_peaks, cases[0].job().world_size, cases)
    problems = []
    for number, case in enumerate(cases):
        stage = Activations(case.job(), case.kernels).of_stage(0)
        expected = stage.kept + max(stage.working, stage.loss)
        for rank, of_rank in enumerate(measured):
            ratio = expected / of_rank[number]
            if not LEAST <= ratio <= MOST:
                problems.append(f"{case}, rank {rank}: {ratio:.3f} of {of_rank[number]}, {stage}")
    assert not problems, "\n".join(problems)


PIPELINES = [
    Case("llama", {"pipeline": 2}, changes=SMALL),
    Case("llama", {"pipeline": 2, **FULL}, changes=LARGE),
    Case("gpt", {"pipeline": 2, "virtual_pipeline": 2}, changes=SMALL),
    Case("llama", {"pipeline": 2, "virtual_pipeline": 2}, changes=LARGE),
]


def test_the_formula_gives_the_largest_memory_of_a_pipelines_step() -> None:
    """With four microbatches; on each stage, with what arrives from the other."""
    measured = run_distributed(measure_steps, 2, PIPELINES)
    problems = []
    for number, case in enumerate(PIPELINES):
        for rank, of_rank in enumerate(measured):
            stage = Activations(case.job(), case.kernels).of_stage(rank)
            messages = message_bytes(case.job(), rank_sizes(case.job()))
            expected = stage.kept + max(stage.working, stage.loss) + messages
            ratio = expected / of_rank[number]
            if not LEAST <= ratio <= MOST:
                problems.append(f"{case}, rank {rank}: {ratio:.3f} of {of_rank[number]}, {stage}")
    assert not problems, "\n".join(problems)


def measure_peaks(context: RankContext, cases: list[Case]) -> list[int]:
    """For each case, which has one model chunk: largest memory in bytes beside weights and gradient
    buffers."""
    from megatron_codemix.mcore.model import wrap_data_parallel

    results = []
    for case in cases:
        with model_of(case) as (chunks, parallel):
            [model] = wrap_data_parallel(chunks, case.job().layout, parallel)
            results.append(peak_bytes(case, model))
    return results


def peak_bytes(case: Case, model: Any) -> int:
    """Of the second microbatch: the first leaves the tables of the rotary embedding."""
    from tests.helpers.live_memory import LiveMemory

    inputs = input_of(case)
    model(*inputs, labels=inputs[0]).sum().backward()
    with LiveMemory() as live:
        model(*inputs, labels=inputs[0]).sum().backward()
    return live.peak_bytes


def measure_steps(context: RankContext, cases: list[Case]) -> list[int]:
    """For each case: largest memory in bytes of the second training step on this rank, the
    optimizer's update included."""
    from megatron_codemix.backend.devices import select_backend
    from megatron_codemix.mcore.model import wrap_data_parallel
    from megatron_codemix.mcore.optimizer import build_optimizer
    from megatron_codemix.mcore.step import train_step
    from tests.helpers.live_memory import LiveMemory

    results = []
    for case in cases:
        job, adamw = case.job(), AdamWConfig(weight_decay=0.1)
        batches = [batch_of(case) for _ in range(job.num_microbatches)]
        with model_of(case) as (chunks, parallel):
            model = wrap_data_parallel(chunks, job.layout, parallel)
            optimizer = build_optimizer(adamw, job.layout, job.precision, model, parallel)
            step = partial(train_step, model, optimizer, batches, num_sources=1, parallel=parallel)
            step(backend=select_backend("cpu"))
            with LiveMemory() as live:
                step(backend=select_backend("cpu"))
            results.append(live.peak_bytes)
    return results


def batch_of(case: Case) -> Batch:
    """A microbatch."""
    sizes = rank_sizes(case.job())
    shape = sizes.sequences, sizes.sequence
    tokens = np.random.default_rng(1).integers(0, case.job().model.vocabulary_size, shape)
    return Batch(
        tokens=tokens,
        labels=tokens,
        loss_mask=np.ones(shape, np.float32),
        position_ids=np.tile(np.arange(sizes.sequence), (sizes.sequences, 1)),
        document_ids=None,
        source_id=np.zeros(sizes.sequences, np.int16),
    )
