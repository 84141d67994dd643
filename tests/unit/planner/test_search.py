"""The search beside all layouts tried one by one, and what it says of those that it rejects."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, combinations, product
from pathlib import Path
from typing import NamedTuple

import pytest

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.layout_checks import check_layout
from megatron_codemix.config.schema import LayoutConfig, RunConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.assumptions import load_for_plan
from megatron_codemix.planner.hardware import Cluster, make_cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.memory import estimate_memory
from megatron_codemix.planner.memory.overheads import CONTEXT_BYTES
from megatron_codemix.planner.search import SearchResult, search
from megatron_codemix.planner.time import estimate_time, load_constants

WORLD_SIZE = 4
SMALL = """\
model:
  num_layers: 4
  hidden_size: 1024
  ffn_hidden_size: 2816
  num_attention_heads: 6
  head_dim: 128
  vocabulary_size: 8000
  tie_embeddings: true
data: {sequence_length: 4096}
train: {global_batch_sequences: 8}
"""
EXPERTS = "model.moe={num_experts: 4, top_k: 2, balance_coefficient: 0.01}"
FP8 = "precision={kind: fp8, recipe: tensorwise}"
MUON = "optimizer={kind: muon, weight_decay: 0.1}"
GRAPHS = "backend.cuda_graphs=microbatch"
FP8_PARAMS = "precision={kind: fp8, recipe: mxfp8, fp8_params: true}"
OVERLAPS = ((False, False), (True, False), (True, True))


class Tried(NamedTuple):
    """A legal layout."""

    layout: LayoutConfig
    peak_bytes: int
    tokens_per_second: float


def small(folder: Path, *overrides: str) -> RunConfig:
    path = folder / "small.yaml"
    path.write_text(SMALL)
    return load_for_plan(path, overrides).config


def with_memory(cluster: Cluster, memory_bytes: int) -> Cluster:
    return replace(cluster, gpu=replace(cluster.gpu, memory_bytes=memory_bytes))


def every_layout(config: RunConfig, world_size: int) -> Iterator[LayoutConfig]:
    """All combinations of values, whether they go together or not."""
    layers, sizes = config.model.num_layers, range(1, world_size + 1)
    modules = ["core_attn", "mlp", "moe", "layernorm"]
    subsets = chain.from_iterable(combinations(modules, n) for n in (1, 2, 3))
    recomputations = [
        {},
        *({"recompute": "selective", "recompute_modules": list(some)} for some in subsets),
        *(
            {"recompute": "full", "recompute_method": method, "recompute_layers": number}
            for method in ("uniform", "block")
            for number in range(1, layers + 1)
        ),
    ]
    for tensor, pipeline, context, expert in product(sizes, sizes, sizes, sizes):
        if tensor * pipeline * context > world_size or (expert > 1 and config.model.moe is None):
            continue
        for virtual, microbatch in product(range(1, layers + 1), (1, 2, 4, 8)):
            shared = world_size > tensor * pipeline
            switches = product((False, True), (False, True), OVERLAPS if shared else OVERLAPS[:1])
            for sequence_parallel, distributed, (reduces, gathers) in switches:
                sized = LayoutConfig(
                    tensor=tensor,
                    pipeline=pipeline,
                    context=context,
                    expert=expert,
                    virtual_pipeline=virtual,
                    microbatch_sequences=microbatch,
                    sequence_parallel=sequence_parallel,
                    distributed_optimizer=distributed,
                    overlap_grad_reduce=reduces,
                    overlap_param_gather=gathers,
                )
                if is_legal(config, sized, world_size):
                    yield from (sized.model_copy(update=options) for options in recomputations)


def is_legal(config: RunConfig, layout: LayoutConfig, world_size: int) -> bool:
    """By the rules of `codemix config check`."""
    changed = config.model_copy(update={"layout": layout})
    return not check_config(changed) and not check_layout(changed, world_size)


def tried_one_by_one(config: RunConfig, cluster: Cluster) -> list[Tried]:
    tried = []
    for layout in every_layout(config, WORLD_SIZE):
        if is_legal(config, layout, WORLD_SIZE):
            changed = config.model_copy(update={"layout": layout})
            job = Job.of_config(changed, WORLD_SIZE)
            peak = estimate_memory(job, cluster.gpu).peak_bytes
            time = estimate_time(job, cluster, load_constants())
            tried.append(Tried(layout, peak, time.tokens_per_second))
    return tried


@pytest.mark.parametrize(
    ("gpu", "overrides"),
    [
        ("h100", ()),
        ("h100", (EXPERTS,)),
        ("h100", (FP8,)),
        ("h100", (MUON,)),
        ("h100", (GRAPHS,)),
        ("b200", (FP8_PARAMS,)),
    ],
    ids=["dense", "moe", "fp8", "muon", "graphs", "fp8 params"],
)
def test_the_winner_is_that_of_all_layouts_tried_one_by_one(
    gpu: str, overrides: tuple[str, ...], tmp_path: Path
) -> None:
    """At four sizes of memory, from where everything fits to where almost nothing does."""
    config, cluster = small(tmp_path, *overrides), make_cluster(gpu)
    tried = tried_one_by_one(config, cluster)
    peaks = sorted(one.peak_bytes for one in tried)
    for share in (1.0, 0.5, 0.05, 0.0):
        limit = peaks[int(share * (len(peaks) - 1))]
        found = search(config, WORLD_SIZE, with_memory(cluster, limit), load_constants())
        best = max(one.tokens_per_second for one in tried if one.peak_bytes <= limit)
        assert found.best.time.tokens_per_second == best, limit


def test_what_keeps_everything_and_fits_is_ranked_and_the_rest_has_its_reason(
    tmp_path: Path,
) -> None:
    config = small(tmp_path)
    cluster = with_memory(make_cluster("h100"), 3 * 2**30)
    found = search(config, WORLD_SIZE, cluster, load_constants())
    ranked = [candidate.layout for candidate in found.ranked]
    legal = [one for one in tried_one_by_one(config, cluster) if one.layout.recompute == "none"]
    fitting = [one.layout for one in legal if one.peak_bytes <= cluster.gpu.memory_bytes]
    is_split = [layout for layout in fitting if layout.overlap_param_gather]
    assert 0 < len(is_split) < len(legal) / 2
    assert [layout for layout in is_split if layout not in ranked] == []
    for candidate in found.ranked:
        assert is_legal(config, candidate.layout, WORLD_SIZE)
        assert candidate.memory.peak_bytes <= cluster.gpu.memory_bytes
    assert {entry.kind for entry in found.rejected} == {"illegal", "memory"}
    for entry in found.rejected:
        assert entry.reason
        assert (entry.excess_bytes > 0) == (entry.kind == "memory")
        if entry.kind == "illegal":
            assert not is_legal(config, entry.layout, WORLD_SIZE), entry


def test_the_ranking_is_sorted_and_the_same_each_time(tmp_path: Path) -> None:
    config, cluster = small(tmp_path), make_cluster("h100")
    first, second = (search(config, WORLD_SIZE, cluster, load_constants()) for _ in range(2))
    assert first == second
    speeds = [candidate.time.tokens_per_second for candidate in first.ranked]
    assert speeds == sorted(speeds, reverse=True)
    assert len({candidate.layout.model_dump_json() for candidate in first.ranked}) == len(speeds)


def test_what_is_fixed_stays(tmp_path: Path) -> None:
    config = small(tmp_path, "layout.tensor=2", "layout.recompute=full")
    fixed = frozenset({"tensor", "recompute"})
    found = search(config, WORLD_SIZE, make_cluster("h100"), load_constants(), fixed=fixed)
    for candidate in found.ranked:
        layout = candidate.layout
        assert (layout.tensor, layout.recompute, layout.recompute_layers) == (2, "full", 1)


def test_what_goes_with_no_graph_is_left_out_by_its_own_reason(tmp_path: Path) -> None:
    config = small(tmp_path, GRAPHS, "layout.overlap_grad_reduce=true")
    found = search(config, WORLD_SIZE, make_cluster("h100"), load_constants())
    assert {candidate.layout.pipeline for candidate in found.ranked} == {1}
    assert not any(candidate.layout.overlap_grad_reduce for candidate in found.ranked)
    reasons = [reason.partition(";")[0] for reason, _, _ in found.reasons()]
    assert "layout.pipeline: 2 does not go with backend.cuda_graphs" in reasons
    asked = frozenset({"overlap_grad_reduce"})
    kept = search(config, WORLD_SIZE, make_cluster("h100"), load_constants(), fixed=asked)
    assert kept.ranked == []
    assert any("layout.overlap_grad_reduce: True" in reason for reason, _, _ in kept.reasons())


def test_one_overlap_that_is_switched_off_leaves_the_search_the_other(tmp_path: Path) -> None:
    for name, others in (("overlap_grad_reduce", False), ("overlap_param_gather", True)):
        config = small(tmp_path, f"layout.{name}=false")
        fixed = frozenset({name})
        found = search(config, WORLD_SIZE, make_cluster("h100"), load_constants(), fixed=fixed)
        best = found.best.layout
        assert (best.overlap_grad_reduce, best.overlap_param_gather) == (others, False)


def searched(config: RunConfig, memory_bytes: int, world_size: int = WORLD_SIZE) -> SearchResult:
    cluster = with_memory(make_cluster("h100"), memory_bytes)
    return search(config, world_size, cluster, load_constants())


def test_where_nothing_fits_the_nearest_is_named(tmp_path: Path) -> None:
    found = searched(small(tmp_path), 2**30)
    with pytest.raises(ConfigError) as caught:
        found.best  # noqa: B018  # raises
    [problem] = caught.value.problems
    least = min(entry.excess_bytes for entry in found.rejected if entry.kind == "memory")
    assert "no layout fits into the memory of NVIDIA H100" in problem
    assert f"{least / 2**30:.1f} GiB too much" in problem or "MiB too much" in problem


def test_short_sequences_are_advised_only_where_they_make_room(tmp_path: Path) -> None:
    """The states of `small`'s layouts are below half a GiB, so 1 GiB lacks room for activations."""
    config = small(tmp_path)
    advice = "or a shorter data.sequence_length"
    ample = searched(config, 80 * 2**30)
    states = [max(stage.state for stage in one.memory.stages) for one in ample.ranked]
    for limit, helps in ((CONTEXT_BYTES + min(states) // 2, False), (2**30, True)):
        with pytest.raises(ConfigError) as caught:
            searched(config, limit).best  # noqa: B018  # raises
        assert (advice in str(caught.value)) is helps
        assert ("weights, gradients and optimizer alone" in str(caught.value)) is not helps


def test_where_nothing_is_legal_the_reasons_are_named(tmp_path: Path) -> None:
    config = small(tmp_path, "train.global_batch_sequences=1", "model.num_layers=5")
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"sequence_length": 4095})}
    )
    with pytest.raises(ConfigError, match="no layout is legal") as caught:
        searched(config, 80 * 2**30, 7).best  # noqa: B018  # raises
    assert "layout.tensor: 7 does not divide" in str(caught.value)
