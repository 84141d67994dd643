"""The memory formula: counts that are known otherwise, megatron-core's schedules, and how its parts
move with the layout."""

import json
from dataclasses import replace
from itertools import repeat
from types import SimpleNamespace
from typing import Any

import pytest

import megatron_codemix.mcore  # noqa: F401  # before megatron.core
from megatron_codemix.config.schema import Fp8Config, LayoutConfig, ModelConfig, PrecisionConfig
from megatron_codemix.planner.hardware import find_gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import CPU, GPU, MemoryEstimate, estimate_memory
from megatron_codemix.planner.memory.layer import LayerActivations
from megatron_codemix.planner.memory.overheads import communication_bytes, num_communicators
from megatron_codemix.planner.memory.parameters import rank_parameters
from megatron_codemix.planner.memory.pipeline import chunks_of_stage
from megatron_codemix.planner.memory.sizes import rank_sizes
from megatron_codemix.planner.published import published_rows

LLAMA_70B = ModelConfig(
    num_layers=80,
    hidden_size=8192,
    ffn_hidden_size=28672,
    num_attention_heads=64,
    num_query_groups=8,
    vocabulary_size=131072,
    tie_embeddings=False,
)
BF16 = PrecisionConfig(kind="bf16")


def job(model: ModelConfig = LLAMA_70B, world_size: int = 64, **fields: object) -> Job:
    changes = {name: fields.pop(name) for name in list(fields) if name in Job.__annotations__}
    given = {"sequence_length": 4096, "global_batch_sequences": 256, "precision": BF16}
    return Job(model=model, layout=LayoutConfig(**fields), world_size=world_size, **given | changes)


def estimate(*arguments: object, **fields: object) -> MemoryEstimate:
    return estimate_memory(job(*arguments, **fields), find_gpu("h100"))


def test_the_stages_parameters_add_up_to_the_models() -> None:
    """Written out: layers of 8192 x (queries, keys and values, output, three of the MLP), norms,
    two tables."""
    layers = 80 * (8192 * (8192 + 2 * 1024 + 8192 + 3 * 28672) + 2 * 8192)
    whole = layers + 2 * 131072 * 8192 + 8192
    split = job(tensor=8, pipeline=8)
    matrices = sum(8 * rank_parameters(split, stage).total for stage in range(8))
    # Norms are on every tensor-parallel rank.
    assert matrices - 7 * (160 + 1) * 8192 == whole == rank_parameters(job(), 0).total


def test_stages_hold_as_many_microbatches_as_megatron_cores_schedules() -> None:
    from megatron.core.pipeline_parallel.schedules import (
        get_pp_rank_microbatches,
        get_schedule_table,
    )

    for pipeline, chunks, microbatches in [(4, 1, 16), (4, 1, 2), (4, 2, 16), (4, 4, 4), (2, 3, 8)]:
        for stage in range(pipeline):
            place = SimpleNamespace(
                pp_group=SimpleNamespace(
                    size=repeat(pipeline).__next__, rank=repeat(stage).__next__
                ),
                virtual_pipeline_model_parallel_size=chunks if chunks > 1 else None,
            )
            total, _, warm_up, _ = get_pp_rank_microbatches(
                microbatches, chunks, pipeline, p2p_communicator=place
            )
            forwards = get_schedule_table(microbatches, chunks, pipeline)[: min(warm_up + 1, total)]
            expected = [sum(chunk == number for _, chunk in forwards) for number in range(chunks)]
            planned = job(
                world_size=pipeline,
                global_batch_sequences=microbatches,
                pipeline=pipeline,
                virtual_pipeline=chunks,
                model=LLAMA_70B.model_copy(update={"num_layers": pipeline * chunks}),
            )
            assert [chunk.in_flight for chunk in chunks_of_stage(planned, stage)] == expected


def test_parts_add_up_and_go_into_json() -> None:
    whole = estimate(tensor=8, pipeline=8, sequence_parallel=True)
    shown = json.loads(json.dumps(whole.as_dict()))
    for stage in shown["stages"]:
        total = stage.pop("total")
        assert total == sum(stage.values())
    assert shown["peak_bytes"] == max(stage.total for stage in whole.stages)
    assert shown["fits"] == (shown["peak_bytes"] <= shown["limit_bytes"])


def test_the_distributed_optimizer_splits_twelve_bytes_a_parameter() -> None:
    """Main weights and two moments in fp32 (arXiv 1910.02054, section 3.1), over 4 replicas."""
    split = estimate(tensor=8, pipeline=2, context=2)
    alone = estimate(tensor=8, pipeline=2, context=2, distributed_optimizer=False)
    for sharded, whole in zip(split.stages, alone.stages, strict=True):
        assert whole.optimizer == 6 * whole.weights == 3 * whole.gradients
        assert sharded.optimizer == pytest.approx(whole.optimizer / 4, rel=1e-6)


def test_fully_sharded_jobs_hold_their_part_and_one_layer() -> None:
    [memory] = estimate(fully_sharded=True).stages
    whole, layer = rank_parameters(job(), 0).total, rank_parameters(job(), 0).layer
    assert memory.weights == 2 * -(-whole // 64) + 2 * layer
    assert memory.optimizer == 12 * -(-whole // 64)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ({}, {"recompute": "full"}),
        ({"recompute": "full", "recompute_method": "block"}, {"recompute": "full"}),
        ({}, {"recompute": "selective", "recompute_modules": ["mlp"]}),
        ({"tensor": 2}, {"tensor": 2, "sequence_parallel": True}),
        ({"microbatch_sequences": 2}, {}),
        ({}, {"context": 2}),
        ({}, {"tensor": 2}),
        ({"pipeline": 2}, {"pipeline": 2, "recompute": "full"}),
        ({"pipeline": 4, "virtual_pipeline": 5}, {"pipeline": 4}),
    ],
)
def test_activations_shrink_with(more: dict[str, object], less: dict[str, object]) -> None:
    assert _activations(less) < _activations(more)


def _activations(layout: dict[str, object]) -> int:
    return max(stage.activations for stage in estimate(**layout).stages)


def test_fp8_keeps_smaller_activations_and_copies_of_its_weights() -> None:
    [wide] = estimate().stages
    [narrow] = estimate(precision=Fp8Config(recipe="tensorwise")).stages
    [only] = estimate(precision=Fp8Config(recipe="tensorwise", fp8_params=True)).stages
    assert narrow.activations < wide.activations
    assert only.weights == wide.weights
    assert (
        narrow.weights - wide.weights
        == 2 * rank_parameters(job(precision=Fp8Config(recipe="tensorwise")), 0).fp8_matrices
    )


def test_scales_of_32_elements_are_counted() -> None:
    [of_tensors] = estimate(precision=Fp8Config(recipe="tensorwise")).stages
    [of_blocks] = estimate(precision=Fp8Config(recipe="mxfp8")).stages
    matrices = rank_parameters(job(precision=Fp8Config(recipe="mxfp8")), 0).fp8_matrices
    assert of_blocks.weights - of_tensors.weights == 2 * matrices // 32


def test_buffers_of_overlapped_collectives_are_counted() -> None:
    """Twelve of a microbatch's activations; in FP8 eight of one byte and four of two as well."""
    cut = {"tensor": 8, "pipeline": 8, "sequence_parallel": True}
    for precision, for_each in ((BF16, 24), (Fp8Config(recipe="tensorwise"), 24 + 16)):
        cut_job = job(precision=precision, **cut)
        overlapped = cut_job.layout.model_copy(update={"tensor_overlap": True})
        without, with_them = (
            communication_bytes(one, rank_sizes(one))
            for one in (cut_job, replace(cut_job, layout=overlapped))
        )
        assert with_them - without == for_each * 4096 * 8192


@pytest.mark.parametrize(("recipe", "copies"), [("torch_scaled_mm", 2), ("emulated", 1)])
def test_weights_that_are_rounded_here_are_kept_for_the_step(recipe: Any, copies: int) -> None:
    """Not with each microbatch in flight: more of them make the rounded model larger by as much as
    the other."""
    precision = Fp8Config(recipe=recipe, rule="tensorwise")
    [wide], [narrow] = estimate().stages, estimate(precision=precision).stages
    matrices = rank_parameters(job(precision=precision), 0).fp8_matrices
    assert narrow.weights - wide.weights == copies * matrices


def test_a_gpu_makes_silu_of_the_gate_again() -> None:
    """A quarter of what a CPU keeps of the MLP."""
    layers = [LayerActivations.of(job(), kernels, in_fp8=False) for kernels in (GPU, CPU)]
    sizes = layers[0].sizes
    on_gpu, on_cpu = (layer._mlp() for layer in layers)
    assert (on_gpu, on_cpu) == tuple(count * sizes.of_tokens(sizes.mlp) for count in (3, 4))


def test_a_gpu_repeats_keys_and_values_of_groups_where_no_kernel_knows_them() -> None:
    """In fp32, and under a document mask, whose square each layer keeps in bf16: as if each of the
    64 heads had keys and values of its own."""
    every_head = LLAMA_70B.model_copy(update={"num_query_groups": None})

    def attention(model: ModelConfig, **changes: object) -> int:
        layer = LayerActivations.of(job(model, **changes), GPU, in_fp8=False)
        return layer._core_attention()

    fp32 = PrecisionConfig(kind="fp32")
    assert attention(LLAMA_70B) < attention(every_head)
    assert attention(LLAMA_70B, precision=fp32) == attention(every_head, precision=fp32)
    masked = attention(LLAMA_70B, document_mask=True, microbatch_sequences=2)
    whole = attention(every_head, microbatch_sequences=2)
    assert masked - whole == 2 * 4096 * 4096 * 2


def test_a_rank_of_its_own_has_no_communicators() -> None:
    assert num_communicators(job(world_size=1)) == 0
    # World, tensor, replicas, pipeline.
    assert num_communicators(job(tensor=2, pipeline=4)) == 4


def test_what_is_too_large_does_not_fit() -> None:
    assert not estimate().fits
    assert estimate(tensor=8, pipeline=8, sequence_parallel=True).fits


def test_published_runs_fit_or_nearly() -> None:
    """All of them ran. Those that do not fit are of kernels that keep less than ours: SwiGLU
    without the opened gate, an attention's output once."""
    used = [
        memory.peak_bytes / memory.limit_bytes
        for memory in (estimate_memory(row.job, row.cluster.gpu) for row in published_rows())
    ]
    assert sum(part <= 1 for part in used) >= 0.85 * len(used)
    assert max(used) < 1.2


def test_a_recording_keeps_its_activations_beside_those_of_the_steps_it_is_compared_with() -> None:
    plain, recorded = (estimate(tensor=8, cuda_graphs=asked).stages[0] for asked in (False, True))
    of_passes = plain.activations + plain.logits_and_loss + plain.fragmentation
    assert recorded.state == plain.state
    assert recorded.total - plain.total == pytest.approx(of_passes, abs=1)
