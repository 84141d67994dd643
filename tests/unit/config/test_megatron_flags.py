"""The flags for Megatron-LM: names and values, and the learning rate that they lead to."""

from collections.abc import Callable

import pytest

from megatron_codemix.config.learning_rate import Link, learning_rate
from megatron_codemix.config.megatron_flags.arguments import megatron_arguments, what_differs
from megatron_codemix.config.plan import make_plan
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import ConfigError

Changed = Callable[..., RunConfig]

RAMP_UP = "train.ramp_up={start_sequences: 4, increment_sequences: 4, over_tokens: 76800}"


def flags_of(config: RunConfig, world_size: int = 8) -> dict[str, tuple[str, ...]]:
    found = megatron_arguments(config, make_plan(config, world_size))
    flags = {flag[0]: flag[1:] for flag in found}
    assert len(flags) == len(found), "a flag is given twice"
    return flags


def test_flags_of_a_configuration(changed: Changed) -> None:
    flags = flags_of(changed("layout.tensor=2", "layout.pipeline=2"))
    assert flags["--num-layers"] == ("4",)
    assert flags["--kv-channels"] == ("24",)
    assert flags["--normalization"] == ("RMSNorm",)
    assert flags["--position-embedding-type"] == ("rope",)
    assert flags["--rotary-base"] == ("10000",)
    assert flags["--tensor-model-parallel-size"] == ("2",)
    assert flags["--train-iters"] == flags["--lr-decay-iters"] == ("122",)
    assert flags["--lr-warmup-iters"] == ("8",)
    assert flags["--train-data-path"] == ("0.2", "shards/code", "0.8", "shards/text")
    for flag in ("--swiglu", "--disable-bias-linear", "--use-distributed-optimizer"):
        assert flags[flag] == ()
    for flag in (
        "--untie-embeddings-and-output-weights",
        "--group-query-attention",
        "--bf16",
        "--sequence-parallel",
    ):
        assert flag not in flags


def test_a_ramp_up_counts_samples(changed: Changed) -> None:
    flags = flags_of(changed(RAMP_UP), 2)
    assert flags["--rampup-batch-size"] == ("4", "4", "300")
    # 4, 8, 12 over 100 samples each: 25 + 13 + 8 steps are 300; 1,652 are left for whole steps.
    assert flags["--train-samples"] == flags["--lr-decay-samples"] == (str(300 + 103 * 16),)
    assert flags["--lr-warmup-samples"] == ("128",)
    assert not [flag for flag in flags if flag.endswith("-iters") and flag != "--eval-iters"]
    with pytest.raises(ConfigError, match="whole samples of 256 tokens"):
        flags_of(changed(RAMP_UP, "train.ramp_up.over_tokens=76801"), 2)


def test_flags_that_turn_up_with_their_option(changed: Changed) -> None:
    flags = flags_of(
        changed(
            "model.tie_embeddings=no",
            "model.add_bias=yes",
            "model.num_query_groups=2",
            "model.activation=gelu",
            "model.rope_interleaved=yes",
            "model.qk_norm=yes",
            "layout.tensor=2",
            "layout.sequence_parallel=yes",
            "layout.distributed_optimizer=no",
            "precision.kind=bf16",
            "optimizer.clip_grad_norm=null",
        )
    )
    assert flags["--num-query-groups"] == ("2",)
    assert flags["--clip-grad"] == ("0.0",)
    for flag in (
        "--untie-embeddings-and-output-weights",
        "--sequence-parallel",
        "--bf16",
        "--rotary-interleaved",
        "--qk-layernorm",
    ):
        assert flags[flag] == ()
    for flag in ("--swiglu", "--disable-bias-linear", "--use-distributed-optimizer"):
        assert flag not in flags


def test_flags_of_every_dimension_of_a_layout(changed: Changed) -> None:
    flags = flags_of(
        changed(
            "layout.pipeline=2",
            "layout.virtual_pipeline=2",
            "layout.context=2",
            "layout.recompute=full",
            "layout.recompute_method=block",
            "layout.recompute_layers=1",
            "layout.overlap_grad_reduce=yes",
            "layout.overlap_param_gather=yes",
            "layout.bucket_parameters=5000000",
        )
    )
    assert flags["--num-virtual-stages-per-pipeline-rank"] == ("2",)
    assert flags["--context-parallel-size"] == ("2",)
    assert flags["--recompute-granularity"] == ("full",)
    assert flags["--recompute-method"] == ("block",)
    assert flags["--recompute-num-layers"] == ("1",)
    assert flags["--ddp-bucket-size"] == ("5000000",)
    assert flags["--overlap-grad-reduce"] == flags["--overlap-param-gather"] == ()
    selective = flags_of(
        changed("layout.recompute=selective", "layout.recompute_modules=[core_attn, mlp]")
    )
    assert selective["--recompute-granularity"] == ("selective",)
    assert selective["--recompute-modules"] == ("core_attn", "mlp")
    assert "--recompute-method" not in selective


def test_flags_of_a_mixture_of_experts(changed: Changed) -> None:
    """megatron-core weighs the router's losses by a rank's part of one sample; the flags make up
    for it (test_traps.py shows that ours must)."""
    flags = flags_of(
        changed(
            "model.moe={num_experts: 8, top_k: 2, balance_coefficient: 0.01,"
            " router_z_coefficient: 0.001}",
            "layout.expert=4",
            "layout.tensor=2",
            "layout.sequence_parallel=yes",
            "layout.microbatch_sequences=4",
        )
    )
    assert flags["--num-experts"] == ("8",)
    assert flags["--moe-router-topk"] == ("2",)
    assert flags["--moe-ffn-hidden-size"] == flags["--ffn-hidden-size"]
    assert flags["--expert-model-parallel-size"] == ("4",)
    assert flags["--moe-router-load-balancing-type"] == ("seq_aux_loss",)
    assert float(flags["--moe-aux-loss-coeff"][0]) == pytest.approx(0.01 * 4 * 2)
    assert float(flags["--moe-z-loss-coeff"][0]) == pytest.approx(0.001 * 2)
    assert "--moe-router-pre-softmax" not in flags


@pytest.mark.parametrize("tensor", [1, 2, 4])
@pytest.mark.parametrize("vocabulary", [257, 8000, 8192, 8193])
def test_megatron_pads_the_vocabulary_to_the_same_size(
    changed: Changed, tensor: int, vocabulary: int
) -> None:
    config = changed(f"layout.tensor={tensor}", f"model.vocabulary_size={vocabulary}")
    flags = flags_of(config)
    # NullTokenizer has one entry more than --vocab-size; Megatron-LM pads to a multiple of
    # --make-vocab-size-divisible-by times the tensor-parallel size.
    entries = int(flags["--vocab-size"][0]) + 1
    multiple = int(flags["--make-vocab-size-divisible-by"][0]) * tensor
    assert entries == vocabulary
    assert -(-entries // multiple) * multiple == make_plan(config, 8).padded_vocabulary_size


@pytest.mark.filterwarnings("ignore")  # of megatron-core's imports
@pytest.mark.parametrize(
    "schedule",
    [
        "{kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 32768}",
        "{kind: cosine, peak_lr: 3e-4, min_lr: 0, warmup_tokens: 20K}",
        "{kind: linear, start_lr: 1e-4, final_lr: 1e-6}",
        "{kind: wsd, peak_lr: 3e-4, final_lr: 0, warmup_tokens: 32768, decay_tokens: 65536,"
        " decay: linear}",
        "{kind: wsd, peak_lr: 3e-4, final_lr: 1e-5, warmup_tokens: 0, decay_tokens: 131072,"
        " decay: one_minus_sqrt}",
        "{kind: constant, lr: 1e-4, warmup_tokens: 40960}",
    ],
)
@pytest.mark.parametrize("more", [(), (RAMP_UP,)], ids=["plain", "ramp-up"])
def test_megatrons_own_scheduler_gives_our_learning_rates_one_step_later(
    changed: Changed, schedule: str, more: tuple[str, ...]
) -> None:
    import megatron_codemix.mcore  # noqa: F401, I001  # first: lets it load without CUDA
    import torch
    from megatron.core.optimizer_param_scheduler import OptimizerParamScheduler

    config = changed(f"schedule={schedule}", *more)
    plan = make_plan(config, 2)
    flags = flags_of(config, 2)
    # Megatron-LM's scheduler counts samples, whatever the flags count.
    unit, samples = ("samples", 1) if more else ("iters", int(flags["--global-batch-size"][0]))
    decay_steps = int(flags[f"--lr-decay-{unit}"][0]) * samples
    if f"--lr-warmup-{unit}" in flags:
        warmup_steps = int(flags[f"--lr-warmup-{unit}"][0]) * samples
    else:
        warmup_steps = float(flags["--lr-warmup-fraction"][0]) * decay_steps
    decay = int(flags.get(f"--lr-wsd-decay-{unit}", ("0",))[0]) * samples
    rate = learning_rate([Link(config=config, tokens=plan.train_tokens)])
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.0)
    scheduler = OptimizerParamScheduler(
        optimizer,
        init_lr=0.0,
        max_lr=float(flags["--lr"][0]),
        min_lr=float(flags.get("--min-lr", ("0.0",))[0]),
        lr_warmup_steps=warmup_steps,
        lr_decay_steps=decay_steps,
        lr_decay_style=flags["--lr-decay-style"][0],
        lr_wsd_decay_style=flags.get("--lr-wsd-decay-style", (None,))[0],
        wsd_decay_steps=decay or None,
        start_wd=0.0,
        end_wd=0.0,
        wd_incr_steps=decay_steps,
        wd_incr_style="constant",
    )
    for step in range(1, plan.num_steps + 1):
        # what Megatron-LM does after step `step`
        scheduler.step(increment=plan.batches.sequences(step - 1))
        theirs = optimizer.param_groups[0]["lr"]
        ours = rate.at(plan.batches.tokens(step))
        assert theirs == pytest.approx(ours, rel=1e-9, abs=1e-15)


def test_overrides_become_their_flags(changed: Changed) -> None:
    flags = flags_of(
        changed(
            "model.transformer_overrides={add_qkv_bias: true, no_rope_freq: '[1, 0]',"
            " bias_dropout_fusion: false, deterministic_mode: false}"
        )
    )
    assert flags["--no-rope-freq"] == ("[1, 0]",)
    assert flags["--add-qkv-bias"] == flags["--no-bias-dropout-fusion"] == ()
    assert "--deterministic-mode" not in flags


@pytest.mark.parametrize(
    "override",
    [
        "model.activation=geglu",
        "model.rope_base=10000.5",
        "model.block=parallel",
        "model.normalization=layernorm_no_bias",
        "model.logit_scale=0.5",
        "optimizer.kind=muon",
        "model.z_loss=1e-4",
        "model.mup={base_hidden_size: 48}",
        "data.document_mask=true",
        "data.sources.code.packing=best_fit",
        "model.transformer_overrides={softmax_scale: '0.5'}",
    ],
)
def test_what_has_no_flag_is_refused(changed: Changed, override: str) -> None:
    with pytest.raises(ConfigError, match=override.split("=")[0]):
        flags_of(changed(override))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["backend.cuda_graphs=microbatch"], "backend.cuda_graphs=microbatch is not translated"),
        (["backend.compile=false"], "backend.compile=false is not translated"),
        (
            ["backend.attention=flash", "backend.engine=torch"],
            "backend.attention=flash is not translated: Megatron-LM's local layers",
        ),
        (["backend.attention=flash"], None),
        (["backend.compile=true", "backend.attention=auto", "backend.engine=torch"], None),
    ],
)
def test_kernels_that_no_flag_asks_for_are_said(
    changed: Changed, overrides: list[str], expected: str | None
) -> None:
    bf16 = "precision={kind: bf16}"
    more = what_differs(changed(bf16, *overrides))[len(what_differs(changed(bf16))) :]
    assert len(more) == (expected is not None)
    assert all(note.startswith(str(expected)) for note in more)


def test_what_cannot_be_equal_is_said(changed: Changed) -> None:
    assert len(what_differs(changed("init_from={run: runs/a, load: weights}"))) == (
        len(what_differs(changed())) + 1
    )
