"""The formula of activations, against the bytes that autograd really keeps on the CPU."""

from contextlib import nullcontext
from typing import Any  # torch's types: imported in ranks alone

import pytest

from megatron_codemix.launch.placement import RankContext
from megatron_codemix.planner.memory.activations import Activations
from megatron_codemix.planner.memory.pipeline import chunks_of_stage
from megatron_codemix.planner.memory.sizes import rank_sizes
from tests.helpers.memory_cases import (
    BF16,
    DENSE,
    FP8,
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

TOLERANCE = 0.03
"""Relative: indices and masks of tokens are not counted to the last of them."""
UNEVEN = 0.1
"""Where a router decides how many tokens each of two ranks gets."""

ON_ONE_RANK = [
    *(Case(model, {}, precision) for model in MODELS for precision in (BF16, FP32)),
    *(Case(model, {**FULL}) for model in MODELS),
    *(Case(model, modules("core_attn")) for model in MODELS),
    Case("llama", {"microbatch_sequences": 1}),
    Case("llama", modules("mlp")),
    Case("llama", modules("core_attn", "mlp")),
    Case("llama", {**FULL, "recompute_layers": 2}),
    Case("llama", {**FULL, "recompute_method": "block", "recompute_layers": 3}),
    Case("cohere", modules("layernorm")),
    Case("cohere", modules("layernorm", "mlp")),
    Case("experts", modules("moe")),
    Case("llama", {}, FP8),
    Case("cohere", {}, FP8),
    Case("llama", {}, kernels=DENSE),
    Case("gpt", {}, kernels=DENSE),
    Case("llama", modules("core_attn"), kernels=DENSE),
    Case("llama", {}, FP32, kernels=GROUPED),
    Case("llama", {}, document_mask=True),
    *(Case("llama", {}, p, kernels=GROUPED, document_mask=True) for p in (BF16, FP32)),
    *(
        Case("llama", again, kernels=GROUPED, document_mask=True)
        for again in (FULL, modules("core_attn"))
    ),
]
ON_TWO_RANKS = [
    *(Case(model, {"tensor": 2}) for model in MODELS if model != "experts"),
    *(Case(model, TP_SP) for model in MODELS),
    *(Case(model, {"context": 2}) for model in MODELS),
    *(Case(model, {"pipeline": 2}) for model in MODELS),
    Case("llama", {"pipeline": 2, "virtual_pipeline": 2}),
    Case("llama", {"pipeline": 2, "virtual_pipeline": 2, **FULL}),
    Case("llama", {**TP_SP, **FULL}),
    Case("llama", {**TP_SP, **modules("core_attn")}),
    Case("llama", {**TP_SP, **modules("mlp")}),
    Case("cohere", {**TP_SP, **modules("layernorm")}),
    Case("llama", {"context": 2, **modules("core_attn")}),
    Case("llama", {"context": 2, **FULL}),
    Case("llama", {"context": 2}, kernels=DENSE),
    Case("experts", {"expert": 2}),
    Case("llama", TP_SP, FP8),
]
ON_FOUR_RANKS = [
    Case("llama", {**TP_SP, "context": 2}),
    Case("llama", {**TP_SP, "pipeline": 2, "virtual_pipeline": 2}),
]


@pytest.mark.parametrize(
    "cases",
    [ON_ONE_RANK, ON_TWO_RANKS, ON_FOUR_RANKS],
    ids=["one rank", "two ranks", "four ranks"],
)
def test_the_formula_gives_what_autograd_keeps(cases: list[Case]) -> None:
    measured = run_distributed(measure, cases[0].job().world_size, cases)
    problems = []
    for number, case in enumerate(cases):
        tolerance = UNEVEN if case.job().layout.expert > 1 else TOLERANCE
        for rank, of_rank in enumerate(measured):
            for chunk, (stage, kept) in enumerate(of_rank[number]):
                ratio = formula(case, stage, chunk) / kept
                if abs(ratio - 1) > tolerance:
                    problems.append(f"{case}, rank {rank}, chunk {chunk}: {ratio:.3f} of {kept}")
    assert not problems, "\n".join(problems)


def formula(case: Case, stage: int, chunk: int) -> int:
    """Bytes of one microbatch."""
    activations = Activations(case.job(), case.kernels)
    part = chunks_of_stage(case.job(), stage)[chunk]
    return activations.kept(part) + (activations.softmax if part.has_loss else 0)


def measure(context: RankContext, cases: list[Case]) -> list[list[tuple[int, int]]]:
    """For each case and each model chunk of this rank: (pipeline stage, bytes kept)."""
    results = []
    for case in cases:
        with model_of(case) as (chunks, parallel):
            results.append([(parallel.pipeline_rank, bytes_kept(case, chunk)) for chunk in chunks])
    return results


def bytes_kept(case: Case, chunk: Any) -> int:
    """By autograd, of the forward pass of one microbatch, without parameters and what a step has
    rounded of them."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    from megatron_codemix.mcore.fp8.linear import _layers, weights_kept
    from megatron_codemix.mcore.model import gpt_of

    gpt = gpt_of(chunk)
    if not gpt.pre_process:
        gpt.set_input_tensor([received(case, next(gpt.parameters()).dtype)])
    parameters = {parameter.untyped_storage()._cdata for parameter in gpt.parameters()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            kept[storage._cdata] = storage
        return tensor

    inputs = input_of(case)
    is_dense = case.kernels.attention == "dense"
    with (
        sdpa_kernel(SDPBackend.MATH) if is_dense else nullcontext(),
        weights_kept([gpt]),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        output = chunk(*inputs, labels=inputs[0])
        for layer in _layers([gpt]):
            for rounded in layer.kept_weight:
                for tensor in rounded[:2]:
                    kept.pop(tensor.untyped_storage()._cdata, None)
    # Now: the output of what a layer recomputes without it has lost its memory by the end.
    total = sum(storage.nbytes() for storage in kept.values())
    del output
    return total


def received(case: Case, dtype: Any) -> Any:
    """What the stage before would have sent."""
    import torch

    sizes = rank_sizes(case.job())
    shape = sizes.stream_tokens // sizes.sequences, sizes.sequences, sizes.hidden
    return torch.randn(shape, dtype=dtype).requires_grad_()
