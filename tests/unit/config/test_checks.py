"""Rules across sections: what is refused, with which reason, and what is not."""

from collections.abc import Callable

import pytest

from megatron_codemix.config.checks import check_all_but_layout, check_config, raise_if
from megatron_codemix.config.layout_checks import check_layout, layout_problems
from megatron_codemix.config.plan import make_plan
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import ConfigError

Changed = Callable[..., RunConfig]

INSTRUCT = [
    "train.stage=instruct",
    "data.document_mask=true",
    "init_from={run: x, load: weights}",
]
EXPERTS = "model.moe={num_experts: 8, top_k: 2, balance_coefficient: 0.01}"


def test_a_good_configuration_has_no_problems(changed: Changed) -> None:
    config = changed()
    assert check_config(config) == []
    assert check_layout(config, 1) == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["model.num_query_groups=3"], "model.num_query_groups: 3 does not divide the 4"),
        (["model.hidden_size=98"], "model.num_attention_heads: 4 does not divide"),
        (["model.hidden_size=36"], "model.hidden_size: the heads are 9 wide, an odd number"),
        (["model.head_dim=7"], "model.head_dim: the heads are 7 wide"),
        (
            ["layout.tensor=8"],
            "layout.tensor: 8 does not divide model.num_attention_heads 4",
        ),
        (
            ["model.num_query_groups=2", "layout.tensor=4"],
            "layout.tensor: 4 does not divide model.num_query_groups 2",
        ),
        (
            ["model.ffn_hidden_size=254", "layout.tensor=4"],
            "layout.tensor: 4 does not divide model.ffn_hidden_size 254",
        ),
        (
            ["layout.tensor=3"],
            "layout.tensor: 3 does not divide the vocabulary of 8000, padded to 8192",
        ),
        (["layout.pipeline=3"], "layout.pipeline: 3 does not divide model.num_layers 4"),
        (["layout.sequence_parallel=true"], "layout.sequence_parallel: needs layout.tensor > 1"),
        (
            ["layout.sequence_parallel=true", "layout.tensor=4", "data.sequence_length=254"],
            "data.sequence_length: 254 is not a multiple of layout.tensor 4",
        ),
        (
            [
                "validation={every_tokens: 32K, max_bytes_per_source: 1kB}",
                "data.sources.code={train: shards/code}",
            ],
            "validation: no source has a held-out shard to score",
        ),
        (
            ["schedule.span=chain", "schedule.chain_tokens=64K"],
            "schedule.chain_tokens: 64K, but the chain has",
        ),
        (
            ["train.ramp_up={start_sequences: 16, increment_sequences: 4, over_tokens: 32K}"],
            "train.ramp_up.start_sequences: 16 is not below train.global_batch_sequences 16",
        ),
        (
            ["train.ramp_up={start_sequences: 4, increment_sequences: 5, over_tokens: 32K}"],
            "train.ramp_up.increment_sequences: 5 does not divide the 12 sequences from the first",
        ),
        (
            ["train.ramp_up={start_sequences: 4, increment_sequences: 4, over_tokens: 0.5M}"],
            "train.ramp_up.over_tokens: 500K of the 500K train.train_tokens leave no whole step",
        ),
        (
            ["train.stage=instruct", "data.document_mask=true"],
            "train.stage: instruct tunes a model that has learned to write, and init_from is",
        ),
        ([*INSTRUCT, "data.document_mask=false"], "data.document_mask: false, and train.stage is"),
        (
            [*INSTRUCT, "data.sources.code.fill_in_the_middle={rate: 0.5, spm_rate: 0.5}"],
            "data.sources.code.fill_in_the_middle: moves tokens, so that answers could not be told",
        ),
        (["layout.virtual_pipeline=2"], "layout.virtual_pipeline: 2 needs layout.pipeline > 1"),
        (
            ["layout.pipeline=2", "layout.virtual_pipeline=4"],
            "layout.virtual_pipeline: 4 does not divide the 2 layers of a pipeline stage",
        ),
        (
            ["layout.context=2", "data.sequence_length=254"],
            "data.sequence_length: 254 is not a multiple of 4 (2 x layout.context 2)",
        ),
        (
            [
                "layout.context=2",
                "layout.tensor=4",
                "layout.sequence_parallel=true",
                "data.sequence_length=260",
            ],
            "data.sequence_length: 260 / layout.context 2 is not a multiple of layout.tensor 4",
        ),
        (["layout.expert=2"], "layout.expert: 2 needs model.moe"),
        ([EXPERTS, "layout.expert=3"], "layout.expert: 3 does not divide model.moe.num_experts 8"),
        (
            [EXPERTS, "layout.tensor=2"],
            "layout.sequence_parallel: model.moe with layout.tensor > 1 needs it",
        ),
        ([EXPERTS, "model.moe.top_k=9"], "model.moe.top_k: 9 is more than the 8 experts"),
        ([EXPERTS, "model.moe.top_k=1"], "model.moe.normalize_chosen: with top_k 1"),
        ([EXPERTS, "model.add_bias=true"], "model.add_bias: with model.moe it would give"),
        ([EXPERTS, "model.mup={base_hidden_size: 48}"], "model.mup: does not go with model.moe"),
        ([EXPERTS, "optimizer.kind=muon"], "optimizer.kind: muon does not go with model.moe"),
        ([EXPERTS, "model.block=parallel"], "model.block: parallel does not go with model.moe"),
        (
            [EXPERTS, "layout.recompute=selective", "layout.recompute_modules=[mlp]"],
            "layout.recompute_modules: mlp names no part of this model",
        ),
        (
            ["layout.recompute=selective", "layout.recompute_modules=[moe]"],
            "layout.recompute_modules: moe names no part of this model",
        ),
        (
            ["layout.recompute=selective", "layout.recompute_modules=[layernorm]"],
            "layout.recompute_modules: layernorm needs model.block=parallel",
        ),
        (["layout.recompute_layers=2"], "layout.recompute_layers: means something only with"),
        (
            ["layout.recompute=selective", "layout.recompute_method=block"],
            "layout.recompute_method: means something only with layout.recompute=full",
        ),
        (
            ["layout.recompute=full", "layout.recompute_modules=[mlp]"],
            "layout.recompute_modules: means something only with layout.recompute=selective",
        ),
        (
            ["layout.recompute=full", "layout.recompute_layers=3", "layout.pipeline=2"],
            "layout.recompute_layers: 3, but each model chunk holds 2 layers",
        ),
        (
            [
                "layout.overlap_param_gather=true",
                "layout.overlap_grad_reduce=true",
                "layout.distributed_optimizer=false",
            ],
            "layout.overlap_param_gather: needs layout.distributed_optimizer=true",
        ),
        (
            ["layout.overlap_param_gather=true"],
            "layout.overlap_param_gather: needs layout.overlap_grad_reduce=true",
        ),
        (
            ["layout.bucket_parameters=1000"],
            "layout.bucket_parameters: means something only with layout.overlap_grad_reduce=true",
        ),
        (
            ["model.transformer_overrides={overlap_p2p_comm: false}"],
            "is decided by layout.virtual_pipeline",
        ),
        (
            ["model.transformer_overrides={context_parallel_size: 2}"],
            "is decided by layout.context",
        ),
        (
            ["model.transformer_overrides={cp_comm_type: a2a}"],
            "cannot be set: layers and processes are spread by 'layout' alone",
        ),
        (["data.mixture.weights={text: 0.8, code: 0.1}"], "they sum to 0.9, not to 1"),
        (["data.mixture.weights={text: 0.99999}"], "they sum to 0.99999, not to 1"),
        (["data.mixture.weights={text: 0.8, cod: 0.2}"], "no such source; did you mean 'code'?"),
        (["data.sources={a/b: {train: x}}"], "data.sources.a/b: a source's name is part of file"),
        (["schedule.warmup_tokens=0.5M"], "schedule.warmup_tokens: 500K is not less than"),
        (["schedule.min_lr=1"], "schedule.min_lr: 1 is above schedule.peak_lr 0.0003"),
        (["schedule={kind: linear, start_lr: 1e-5, final_lr: 1e-4}"], "schedule.final_lr"),
        (["schedule={kind: constant, lr: 1, warmup_tokens: 1M}"], "schedule.warmup_tokens"),
        (["data.restart=true"], "data.restart: means something only with init_from"),
        (["model.transformer_overrides={num_layers: 3}"], "is decided by model.num_layers"),
        (
            ["optimizer.kind=muon", "layout.distributed_optimizer=no", "layout.tensor=2"],
            "layout.tensor: 2 cuts the matrices",
        ),
        (["optimizer.kind=muon"], "layout.distributed_optimizer: splits the optimizer's state"),
        (
            [
                "optimizer.kind=muon",
                "layout.distributed_optimizer=no",
                "model.mup.base_hidden_size=8",
            ],
            "model.mup: its multipliers are AdamW's",
        ),
        (
            ["model.transformer_overrides={softmax_scale: 0.1}", "model.mup.base_hidden_size=8"],
            "model.mup decides the scale of the attention",
        ),
        (
            ["model.transformer_overrides={cross_entropy_loss_fusion: true}", "model.z_loss=1e-4"],
            "model.z_loss has a loss of its own",
        ),
    ],
)
def test_wrong_combinations(changed: Changed, overrides: list[str], expected: str) -> None:
    assert expected in "\n".join(check_config(changed(*overrides)))


def test_all_problems_come_together(changed: Changed) -> None:
    config = changed("layout.pipeline=3", "data.mixture.weights={text: 2}", "schedule.min_lr=1")
    assert len(check_config(config)) == 3


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.mixture.weights={text: 0.333333, code: 0.333333, markup: 0.333334}"],
        ["data.mixture.weights={text: 0.3333333, code: 0.3333333, markup: 0.3333333}"],
        ["data.mixture.weights={text: 1, code: 0}"],
        ["model.head_dim=10", "model.hidden_size=97"],
        ["layout.tensor=4", "layout.pipeline=4", "layout.sequence_parallel=true"],
        ["layout.pipeline=2", "layout.virtual_pipeline=2", "layout.recompute=full"],
        ["layout.context=64", "layout.tensor=2", "layout.sequence_parallel=true"],
        ["layout.overlap_param_gather=true", "layout.overlap_grad_reduce=true"],
        ["schedule.min_lr=3e-4"],
        ["data.restart=true", "init_from={run: x, load: weights}"],
        INSTRUCT,
        [*INSTRUCT, "data.sources.markup.fill_in_the_middle={rate: 0.5, spm_rate: 0.5}"],
    ],
)
def test_what_is_allowed(changed: Changed, overrides: list[str]) -> None:
    assert check_config(changed(*overrides)) == []


def test_warmup_is_compared_with_whole_steps(changed: Changed) -> None:
    """1.4 steps are rounded to one, and a warmup of one step would then fill the run."""
    sizes = ("data.sequence_length=256", "train.global_batch_sequences=16")
    config = changed(*sizes, "train.train_tokens=5734", "schedule.warmup_tokens=4096")
    assert make_plan(config, 1).train_tokens == 4096
    assert (
        "schedule.warmup_tokens: 4096 is not less than the 4096 tokens" in check_config(config)[0]
    )


@pytest.mark.parametrize("tensor", [1, 2, 4])
@pytest.mark.parametrize("pipeline", [1, 2, 4])
@pytest.mark.parametrize("microbatch", [1, 2, 4])
def test_layout_is_refused_exactly_where_a_division_is_not_exact(
    changed: Changed, tensor: int, pipeline: int, microbatch: int
) -> None:
    config = changed(
        f"layout.tensor={tensor}",
        f"layout.pipeline={pipeline}",
        f"layout.microbatch_sequences={microbatch}",
    )
    for world_size in range(1, 65):
        data_parallel = world_size / (tensor * pipeline)
        num_microbatches = 16 / microbatch / data_parallel
        is_exact = data_parallel.is_integer() and num_microbatches.is_integer()
        assert (check_layout(config, world_size) == []) == is_exact, world_size
        if is_exact:
            plan = make_plan(config, world_size)
            assert plan.data_parallel * plan.num_microbatches * microbatch == 16


@pytest.mark.parametrize("context", [1, 2])
def test_processes_hold_whole_copies_of_the_model(changed: Changed, context: int) -> None:
    config = changed("layout.tensor=2", "layout.pipeline=2", f"layout.context={context}")
    for world_size in range(1, 33):
        problems = [p for p in check_layout(config, world_size) if p.startswith("layout:")]
        assert bool(problems) == (world_size % (4 * context) != 0)
    assert make_plan(config, 8).data_parallel == 2 // context


def test_experts_are_shared_by_the_processes_of_a_stage(changed: Changed) -> None:
    """Tensor-, context- and data-parallel ranks together, so 8 do it where data alone is 1."""
    expert = changed(EXPERTS, "layout.expert=8", "layout.pipeline=2", "layout.context=2")
    for world_size in (4, 8, 12, 16, 32):
        problems = check_layout(expert, world_size)
        assert any("layout.expert" in problem for problem in problems) == (world_size % 16 != 0)


@pytest.mark.parametrize("microbatch", [1, 2, 4, 8, 16])
def test_interleaved_stages_need_whole_groups_of_microbatches(
    changed: Changed, microbatch: int
) -> None:
    """The rule of megatron-core's schedule: a multiple of the pipeline's size."""
    config = changed(
        "layout.pipeline=2",
        "layout.virtual_pipeline=2",
        f"layout.microbatch_sequences={microbatch}",
    )
    problems = check_layout(config, 2)
    assert (problems == []) == (16 // microbatch % 2 == 0)
    if problems:
        assert "layout.virtual_pipeline: each rank has 1 microbatches in a step" in problems[0]


@pytest.mark.parametrize(
    "overrides",
    [
        ["layout.tensor=3", "layout.pipeline=3"],
        ["layout.tensor=2", "layout.microbatch_sequences=16"],
        ["optimizer.kind=muon", "layout.tensor=2"],
        ["precision={kind: fp8, recipe: emulated, rule: blockwise}", "layout.tensor=4"],
        [EXPERTS, "layout.expert=2", "layout.recompute=full", "layout.recompute_layers=9"],
    ],
)
def test_a_layout_alone_is_wrong_where_the_whole_check_says_so(
    changed: Changed, overrides: list[str]
) -> None:
    """What is no matter of the layout is right here, so both must say the same."""
    config = changed("model.hidden_size=256", "model.ffn_hidden_size=512", *overrides)
    whole = [*check_config(config), *check_layout(config, 4)]
    assert check_all_but_layout(config) == []
    assert layout_problems(config, 4, 8) == whole
    assert whole


def test_raise_if_raises_all_or_nothing() -> None:
    raise_if([])
    with pytest.raises(ConfigError) as caught:
        raise_if(["a", "b"])
    assert caught.value.problems == ["a", "b"]
    assert caught.value.exit_code == 2
