"""Which parts Transformer Engine has of a model, and what is refused by name."""

from collections.abc import Callable

import pytest

from megatron_codemix.config.checks import check_config
from megatron_codemix.config.engine_checks import check_engine_machine, engine_lacks, left_out
from megatron_codemix.config.megatron_flags.arguments import megatron_arguments
from megatron_codemix.config.plan import make_plan
from megatron_codemix.config.schema import BackendConfig, RunConfig

Changed = Callable[..., RunConfig]

BF16 = "precision.kind=bf16"
FP8 = "precision={kind: fp8, recipe: tensorwise}"
EMULATED = "precision={kind: fp8, recipe: emulated, rule: tensorwise}"
MOE = "model.moe={num_experts: 4, top_k: 2, balance_coefficient: 0.01}"
THEIRS = "backend.engine=transformer_engine"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([BF16], {}),
        ([BF16, "model.normalization=layernorm", "model.add_bias=true"], {}),
        ([BF16, "model.qk_norm=true", "model.rope_interleaved=true", "model.z_loss=1e-4"], {}),
        ([FP8], {}),
        (["precision.kind=fp32"], {"layers": "precision.kind"}),
        ([EMULATED], {"layers": "precision.recipe emulated"}),
        ([BF16, "model.block=parallel"], {"layers": "model.block"}),
        ([BF16, "model.normalization=layernorm_no_bias"], {"norms": "model.normalization"}),
        ([BF16, "model.logit_scale=0.5"], {"last norm": "model.logit_scale"}),
        ([BF16, "model.mup={base_hidden_size: 24}"], {"last norm": "model.mup"}),
        ([BF16, MOE], {"experts": "model.moe"}),
        ([BF16, "layout.context=2"], {"attention": "layout.context"}),
        ([BF16, "data.document_mask=true"], {"attention": "data.document_mask"}),
        (
            [BF16, MOE, "model.logit_scale=0.5", "data.document_mask=true"],
            {"last norm": "model.logit_scale", "experts": "model.moe", "attention": "data.doc"},
        ),
    ],
)
def test_what_is_ours_whatever_the_machine(
    changed: Changed, overrides: list[str], expected: dict[str, str]
) -> None:
    config = changed(*overrides)
    found = left_out(
        config.model,
        config.layout,
        config.precision,
        document_mask=config.data.document_mask,
    )
    assert found.keys() == expected.keys()
    for part, field in expected.items():
        assert found[part].startswith(field)  # type: ignore[index]  # a part
    # What auto takes ours for, transformer_engine refuses; one problem for each part.
    problems = check_config(changed(*overrides, THEIRS))
    assert len([one for one in problems if one.startswith("backend.engine:")]) == len(expected)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([BF16, THEIRS, "backend.device=cpu"], "backend.engine: transformer_engine computes on a"),
        ([FP8, "backend.engine=torch"], "which backend.engine=torch leaves out"),
        ([BF16, "backend.attention=fused", "backend.device=cpu"], "backend.attention: fused is a"),
        (["precision.kind=fp32", "backend.attention=flash"], "precision.kind is fp32"),
        (
            [BF16, "backend.attention=flash", "data.document_mask=true"],
            "data.document_mask gives them a dense mask",
        ),
        (
            [BF16, "backend.attention=fused", "layout.context=2"],
            "layout.context gives them parts of the causal mask",
        ),
    ],
)
def test_what_does_not_go_together(changed: Changed, overrides: list[str], expected: str) -> None:
    [problem] = check_config(changed(*overrides))
    assert expected in problem


@pytest.mark.parametrize("attention", ["auto", "unfused"])
def test_a_mask_goes_with_these(changed: Changed, attention: str) -> None:
    overrides = [BF16, f"backend.attention={attention}", "data.document_mask=true"]
    assert check_config(changed(*overrides)) == []


@pytest.mark.parametrize(
    ("capability", "engine", "expected"),
    [
        (None, "2.11.0", "there is no GPU"),
        ((7, 5), "2.11.0", "8.0 or higher, and this GPU has 7.5"),
        ((9, 0), None, "it is not installed"),
        ((9, 0), "2.8.0", "versions from 2.9 on, before 2.12, are taken, and 2.8.0 is"),
        ((9, 0), "2.12.0", "and 2.12.0 is installed"),
        ((8, 0), "2.9.0", None),
        ((12, 0), "2.11.0+ab", None),
    ],
)
def test_what_a_machine_lacks(
    capability: tuple[int, int] | None, engine: str | None, expected: str | None
) -> None:
    found = engine_lacks(capability, engine)
    problems = check_engine_machine(BackendConfig(engine="transformer_engine"), capability, engine)
    if expected is None:
        assert found is None
        assert problems == []
    else:
        assert found is not None
        assert expected in found
        assert [expected in problem for problem in problems] == [True]
    for asked in (BackendConfig(), BackendConfig(engine="torch")):
        assert check_engine_machine(asked, capability, engine) == []


def test_a_kernel_without_a_gpu_is_refused() -> None:
    [problem] = check_engine_machine(BackendConfig(attention="flash"), None, None)
    assert problem.startswith("backend.attention: flash")
    assert check_engine_machine(BackendConfig(attention="flash"), (9, 0), None) == []


@pytest.mark.parametrize(
    ("overrides", "impl", "attention"),
    [
        ([BF16], "transformer_engine", "auto"),
        ([FP8, "backend.attention=fused"], "transformer_engine", "fused"),
        ([BF16, MOE, "backend.attention=unfused"], "transformer_engine", "unfused"),
        ([BF16, "backend.engine=torch", "backend.attention=flash"], "local", "local"),
        (["precision.kind=fp32"], "local", "local"),
    ],
)
def test_megatrons_flags_ask_for_the_same_layers(
    changed: Changed, overrides: list[str], impl: str, attention: str
) -> None:
    config = changed(*overrides)
    flags = {flag[0]: flag[1:] for flag in megatron_arguments(config, make_plan(config, 8))}
    assert flags["--transformer-impl"] == (impl,)
    assert flags["--attention-backend"] == (attention,)
    assert ("--no-persist-layer-norm" in flags) == (impl == "local")
