"""The smallest change of a layout that fits, beside those that are smaller tried one by one."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.config.layout_checks import layout_problems
from megatron_codemix.config.schema import Fp8Config, LayoutConfig, RunConfig
from megatron_codemix.planner.assumptions import load_for_plan
from megatron_codemix.planner.hardware import find_gpu
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import estimate_memory
from megatron_codemix.planner.remedy import smallest_change
from megatron_codemix.train.memory import SURE

WORLD_SIZE = 4
NUM_LAYERS = 4
BATCH = 16
MODEL = f"""\
model:
  num_layers: {NUM_LAYERS}
  hidden_size: 1024
  ffn_hidden_size: 2816
  num_attention_heads: 8
  vocabulary_size: 8192
  tie_embeddings: true
data: {{sequence_length: 4096}}
train: {{global_batch_sequences: {BATCH}}}
layout: {{microbatch_sequences: 4}}
"""
DEVICE = "NVIDIA H100 80GB HBM3"


@pytest.fixture
def config(tmp_path: Path) -> RunConfig:
    (tmp_path / "model.yaml").write_text(MODEL)
    return load_for_plan(tmp_path / "model.yaml", []).config


def peak(config: RunConfig, layout: LayoutConfig) -> int:
    job = Job.of_config(config.model_copy(update={"layout": layout}), WORLD_SIZE)
    return estimate_memory(job, find_gpu("h100")).peak_bytes


def recomputations(layout: LayoutConfig) -> Iterator[LayoutConfig]:
    """All that differ in what is computed again."""
    for modules in (["core_attn"], ["mlp"], ["core_attn", "mlp"]):
        fields = {"recompute": "selective", "recompute_modules": modules}
        yield layout.model_copy(update=fields)
    for method in ("uniform", "block"):
        for layers in range(1, NUM_LAYERS + 1):
            fields = {"recompute": "full", "recompute_method": method, "recompute_layers": layers}
            yield layout.model_copy(update=fields)


def changed(config: RunConfig, memory_bytes: int) -> LayoutConfig:
    """With the change that is proposed, which is legal and fits."""
    change = smallest_change(config, WORLD_SIZE, memory_bytes, DEVICE)
    assert change is not None
    layout = LayoutConfig.model_validate(config.layout.model_dump() | change)
    assert not layout_problems(config.model_copy(update={"layout": layout}), WORLD_SIZE, 8)
    assert peak(config, layout) <= memory_bytes
    assert all(value != getattr(config.layout, name) for name, value in change.items())
    return layout


def test_recomputation_alone_is_proposed_where_it_is_enough(config: RunConfig) -> None:
    least = min(peak(config, layout) for layout in recomputations(config.layout))
    assert least < peak(config, config.layout) / SURE
    assert changed(config, least) in list(recomputations(config.layout))


def test_then_smaller_microbatches_then_tensor_parallelism(config: RunConfig) -> None:
    layouts = [
        config.layout.model_copy(update={"microbatch_sequences": size}) for size in (4, 2, 1)
    ]
    least = [min(peak(config, layout) for layout in recomputations(each)) for each in layouts]
    assert least == sorted(least, reverse=True)
    found = changed(config, least[0] - 1)
    assert found.microbatch_sequences < 4
    assert (found.tensor, found.pipeline) == (1, 1)
    found = changed(config, least[-1] - 1)
    assert (found.tensor > 1, found.pipeline) == (True, 1)


def test_emulated_fp8_needs_no_gpu_with_fp8(config: RunConfig) -> None:
    emulated = Fp8Config(recipe="emulated", rule="tensorwise")
    config = config.model_copy(update={"precision": emulated})
    enough = peak(config, config.layout.model_copy(update={"microbatch_sequences": 1}))
    found = smallest_change(config, WORLD_SIZE, enough, "NVIDIA A100-SXM4-80GB")
    assert found is not None
    layout = LayoutConfig.model_validate(config.layout.model_dump() | found)
    assert peak(config, layout) <= enough


def test_no_change_is_proposed_where_none_is_enough(config: RunConfig) -> None:
    assert smallest_change(config, WORLD_SIZE, 2**20, DEVICE) is None
