"""What is part of a run's identity; `difference` must say the same as `identity`."""

from collections.abc import Callable
from typing import Any

import pytest

from megatron_codemix.config.difference import differences
from megatron_codemix.config.identity import run_identity
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.data.mixture.plan import constant_plan
from megatron_codemix.data.mixture.weights import quantise_weights

Changed = Callable[..., RunConfig]

HASHES = {"text": "aa", "code": "bb", "markup": "cc"}


def identity(config: RunConfig, **known: Any) -> str:
    units = quantise_weights(config.data.mixture.weights)
    arguments: dict[str, Any] = {
        "mixture": constant_plan(units).as_dict(),
        "tokenizer_hash": "tt",
        "manifest_hashes": HASHES,
        "parent_identity": None,
    }
    return run_identity(config, **(arguments | known))


DECIDES = [
    "model.num_layers=2",
    "model.norm_epsilon=1e-6",
    "model.tie_embeddings=no",
    "model.block=parallel",
    "model.normalization=layernorm_no_bias",
    "model.rope_interleaved=true",
    "model.qk_norm=true",
    "model.logit_scale=0.5",
    "model.z_loss=1e-4",
    "model.mup={base_hidden_size: 48}",
    "model.transformer_overrides={add_qkv_bias: true}",
    "model.moe={num_experts: 4, top_k: 2, balance_coefficient: 0.1}",
    "data.sequence_length=128",
    "data.mixture.weights={text: 0.7, code: 0.3}",
    "data.mixture.weights={text: 0.8, markup: 0.2}",
    "data.restart=true",
    "data.document_mask=true",
    "data.sources.code.packing=best_fit",
    "data.sources.code.fill_in_the_middle={rate: 0.5, spm_rate: 0.5}",
    "optimizer.weight_decay=0.2",
    "optimizer.kind=muon",
    "optimizer.clip_grad_norm=null",
    "schedule.peak_lr=1e-3",
    "schedule={kind: cosine, peak_lr: 3e-4, min_lr: 3e-5, warmup_tokens: 32768,"
    " span: chain, chain_tokens: 1M}",
    "schedule={kind: constant, lr: 3e-4, warmup_tokens: 32768}",
    "train.train_tokens=1M",
    "train.global_batch_sequences=32",
    "train.seed=2",
    "train.stage=instruct",
    "train.ramp_up={start_sequences: 4, increment_sequences: 4, over_tokens: 32768}",
    "train.spike={deviations: 6}",
    "precision.kind=bf16",
    "precision={kind: fp8, recipe: emulated, rule: tensorwise}",
]
DECIDES_NOTHING = [
    "layout.tensor=2",
    "layout.pipeline=2",
    "layout.microbatch_sequences=2",
    "layout.virtual_pipeline=2",
    "layout.context=2",
    "layout.expert=2",
    "layout.recompute=full",
    "layout.overlap_grad_reduce=yes",
    "layout.distributed_optimizer=no",
    "checkpoint.save_every_tokens=4096",
    "checkpoint.keep_last=1",
    "checkpoint.keep_every_tokens=8192",
    "survival.max_skips=3",
    "validation={every_tokens: 8192, max_bytes_per_source: 1KiB}",
    "backend.device=cpu",
    "logging.every_steps=10",
    "data.sources.code.validation=null",
    "data.loader=dali",
    "data.prefetch_steps=4",
    "data.sources.markup.train=elsewhere",
    "data.sources.markup.packing=best_fit",
    "data.sources.markup.fill_in_the_middle={rate: 0.5, spm_rate: 0.5}",
    "data.mixture.weights={text: 0.8, code: 0.2, markup: 0}",
]
BY_CONTENT = ["data.sources.text.train=elsewhere/text", "tokenizer.path=elsewhere.json"]


@pytest.mark.parametrize("override", DECIDES)
def test_what_decides_what_is_learned_changes_the_identity(changed: Changed, override: str) -> None:
    assert identity(changed(override)) != identity(changed())
    assert "yes" in {d.identity for d in differences(changed(), changed(override))}


@pytest.mark.parametrize("override", DECIDES_NOTHING)
def test_how_it_runs_does_not_change_the_identity(changed: Changed, override: str) -> None:
    assert identity(changed(override)) == identity(changed())
    assert {d.identity for d in differences(changed(), changed(override))} == {"no"}


@pytest.mark.parametrize("override", BY_CONTENT)
def test_moving_files_does_not_change_the_identity(changed: Changed, override: str) -> None:
    assert identity(changed(override)) == identity(changed())
    assert {d.identity for d in differences(changed(), changed(override))} == {"by content"}


def test_content_of_files_and_parent_are_in_the_identity(changed: Changed) -> None:
    config = changed()
    others = [
        identity(config, tokenizer_hash="uu"),
        identity(config, manifest_hashes=HASHES | {"text": "zz"}),
        identity(config, parent_identity="pp"),
    ]
    assert len({identity(config), *others}) == 4


def test_a_source_without_weight_is_not_in_the_identity(changed: Changed) -> None:
    config = changed()
    assert identity(config) == identity(config, manifest_hashes=HASHES | {"markup": "zz"})


def test_what_is_loaded_from_the_parent_is_in_the_identity(changed: Changed) -> None:
    weights = changed("init_from={run: a, load: weights}")
    both = changed("init_from={run: a, load: weights+optimizer}")
    elsewhere = changed("init_from={run: b, load: weights}")
    assert identity(weights) != identity(both)
    assert identity(weights) == identity(elsewhere)
    assert [d.identity for d in differences(weights, both)] == ["yes"]
    assert [d.identity for d in differences(weights, elsewhere)] == ["by content"]


def test_differences_are_in_the_order_of_the_schema_with_both_values(changed: Changed) -> None:
    found = differences(changed(), changed("train.seed=2", "model.num_layers=2"))
    assert [(d.path, d.first, d.second) for d in found] == [
        ("model.num_layers", 4, 2),
        ("train.seed", 1, 2),
    ]
    assert differences(changed(), changed()) == []


def test_precision_is_in_the_identity_as_it_was_before_fp8(changed: Changed) -> None:
    """Recorded before the section became a union."""
    assert identity(changed()).startswith("7a390340")
    assert identity(changed("precision.kind=bf16")).startswith("f3a9a94f")


@pytest.mark.parametrize(
    "field", ["rule: delayed", "first_last_bf16: true", "margin: 1", "amax_history_length: 16"]
)
def test_each_field_of_fp8_decides(changed: Changed, field: str) -> None:
    base = "kind: fp8, recipe: emulated, rule: blockwise"
    one = changed(f"precision={{{base}}}")
    other = changed(f"precision={{{base.replace(', rule: blockwise', '')}, {field}}}")
    assert identity(one) != identity(other)


def test_every_section_has_a_case_above() -> None:
    """A new section must be put into the identity or left out on purpose."""
    cases = [*DECIDES, *DECIDES_NOTHING, *BY_CONTENT, "init_from"]
    assert {case.split(".")[0].split("=")[0] for case in cases} == set(RunConfig.model_fields)
