"""FP8 is refused by name: what does not go together, and what a machine lacks."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from megatron_codemix.backend.environment import least_capability
from megatron_codemix.config.checks import check_config
from megatron_codemix.config.megatron_flags.arguments import megatron_arguments
from megatron_codemix.config.plan import make_plan
from megatron_codemix.config.precision_checks import check_cuda, check_machine, needs_of
from megatron_codemix.config.schema import Fp8Config, RunConfig
from megatron_codemix.errors import ConfigError

Changed = Callable[..., RunConfig]

SCALED = "precision={kind: fp8, recipe: torch_scaled_mm, rule: tensorwise}"
EMULATED = "precision={kind: fp8, recipe: emulated, rule: tensorwise}"
ENGINES = "precision={kind: fp8, recipe: tensorwise}"
BLOCKS = "precision={kind: fp8, recipe: emulated, rule: blockwise}"
DELAYED = "precision={kind: fp8, recipe: delayed}"
MICRO = "precision={kind: fp8, recipe: emulated, rule: mxfp8}"
MICRO_ENGINES = "precision={kind: fp8, recipe: mxfp8}"


@pytest.mark.parametrize(
    "overrides",
    [
        [EMULATED, "precision.first_last_bf16=true"],
        [ENGINES, "precision.first_last_bf16=true", "precision.fp8_params=true"],
        [DELAYED, "precision.amax_history_length=16", "precision.margin=1"],
        [BLOCKS, "model.hidden_size=256", "model.ffn_hidden_size=512"],
        [MICRO],
        [MICRO_ENGINES, "precision.first_last_bf16=true", "precision.fp8_params=true"],
        [SCALED, "backend.device=cpu"],
        [SCALED, "precision.rule=delayed", "precision.margin=1"],
        [SCALED, "model.block=parallel"],
        [EMULATED, "model.block=parallel", "layout.tensor=2", "layout.sequence_parallel=true"],
    ],
)
def test_what_goes_together(changed: Changed, overrides: list[str]) -> None:
    assert check_config(changed(*overrides)) == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["precision={kind: fp8, recipe: emulated}"],
            "precision.rule: names what recipe=emulated emulates",
        ),
        ([ENGINES, "precision.rule=delayed"], "the recipe is tensorwise; remove it"),
        (["precision={kind: fp8, recipe: torch_scaled_mm}"], "is torch_scaled_mm; set it"),
        ([SCALED, "precision.rule=blockwise"], "blockwise does not go with recipe=torch_scaled"),
        ([SCALED, "precision.rule=mxfp8"], "mxfp8 does not go with recipe=torch_scaled"),
        ([SCALED, "precision.fp8_params=true"], "precision.fp8_params: changes memory"),
        (
            [EMULATED, "precision.amax_history_length=16"],
            "precision.amax_history_length: means something only with delayed scaling",
        ),
        ([BLOCKS, "precision.margin=1"], "precision.margin: means something only with delayed"),
        (
            [DELAYED, "precision.first_last_bf16=true"],
            "precision.first_last_bf16: does not go with delayed scaling",
        ),
        (
            [EMULATED, "precision.first_last_bf16=true", "model.num_layers=2"],
            "precision.first_last_bf16: leaves none of the 2 layers in FP8",
        ),
        ([EMULATED, "precision.fp8_params=true"], "precision.fp8_params: changes memory"),
        (
            [ENGINES, "precision.fp8_params=true", "layout.distributed_optimizer=false"],
            "precision.fp8_params: needs layout.distributed_optimizer=true",
        ),
        (
            [ENGINES, "precision.fp8_params=true", "init_from={run: x, load: weights}"],
            "precision.fp8_params: with init_from.load=weights",
        ),
        ([ENGINES, "backend.device=cpu"], "precision.recipe: tensorwise multiplies on a GPU"),
        ([ENGINES, "model.block=parallel"], "model.block: parallel shares the communication"),
        (
            [EMULATED, "model.moe={num_experts: 8, top_k: 2, balance_coefficient: 0.01}"],
            "precision.kind: fp8 does not go with model.moe",
        ),
        (
            [EMULATED, "model.hidden_size=104", "model.head_dim=24"],
            "fp8 needs model.hidden_size to be a multiple of 16, and it is 104",
        ),
        (
            [EMULATED, "layout.tensor=4"],
            "the width of all heads / layout.tensor 4 to be a multiple of 16, and it is 24",
        ),
        (
            [EMULATED, "model.ffn_hidden_size=264", "layout.tensor=2"],
            "model.ffn_hidden_size / layout.tensor 2 to be a multiple of 16, and it is 132",
        ),
        (
            [EMULATED, "data.sequence_length=248"],
            "to be a multiple of 16, and it is 248; the tensor cores'",
        ),
        (
            [BLOCKS, "model.hidden_size=256", "model.ffn_hidden_size=512", "layout.tensor=4"],
            "the width of all heads / layout.tensor 4 to be a multiple of 128, and it is 64",
        ),
        (
            [MICRO, "model.ffn_hidden_size=272"],
            "model.ffn_hidden_size to be a multiple of 32, and it is 272; a scale is shared by 32",
        ),
        (
            [MICRO_ENGINES, "data.sequence_length=240"],
            "to be a multiple of 32, and it is 240",
        ),
        (
            [
                MICRO_ENGINES,
                "precision.fp8_params=true",
                "layout.overlap_grad_reduce=true",
                "layout.overlap_param_gather=true",
            ],
            "precision.fp8_params: with recipe=mxfp8 weights are gathered in bf16 in the memory of",
        ),
        (
            [MICRO_ENGINES, "precision.fp8_params=true", "layout.distributed_optimizer=false"],
            "precision.fp8_params: needs layout.distributed_optimizer=true",
        ),
    ],
)
def test_what_does_not(changed: Changed, overrides: list[str], expected: str) -> None:
    problems = check_config(changed(*overrides))
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("recipe", "capability", "engine", "expected"),
    [
        ("tensorwise", (8, 9), "2.9.0", []),
        ("delayed", (8, 9), "2.11.0", []),
        ("blockwise", (9, 0), "2.9.0+cu13", []),
        ("tensorwise", (10, 0), "2.11.1", []),
        ("tensorwise", (10, 0), "2.12.0", ["2.9 or newer, before 2.12, and 2.12.0 is installed"]),
        ("tensorwise", (10, 0), "3.0", ["2.9 or newer, before 2.12, and 3.0 is installed"]),
        ("tensorwise", (8, 6), "2.9.0", ["needs a GPU of compute capability 8.9 or higher, and"]),
        ("blockwise", (8, 9), "2.9.0", ["capability 9.0 or higher, and this one has 8.9"]),
        ("delayed", None, "2.9.0", ["capability 8.9 or higher, and this machine has none"]),
        ("delayed", (9, 0), None, ["is Transformer Engine's, which is not installed"]),
        (
            "delayed",
            (9, 0),
            "2.8.1",
            ["needs Transformer Engine 2.9 or newer, before 2.12, and 2.8.1"],
        ),
        ("blockwise", None, None, ["this machine has none", "not installed"]),
        ("mxfp8", (10, 0), "2.11.0", []),
        ("mxfp8", (10, 3), "2.11.0", []),
        (
            "mxfp8",
            (9, 0),
            "2.11.0",
            ["one has 9.0; take precision.recipe=blockwise, bf16, or "],
        ),
        (
            "mxfp8",
            (8, 9),
            "2.11.0",
            ["or higher, below 12.0, and this one has 8.9; take bf16"],
        ),
        ("mxfp8", (12, 0), "2.11.0", ["10.0 or higher, below 12.0, and this one has 12.0; take "]),
        ("mxfp8", None, "2.11.0", ["10.0 or higher, below 12.0, and this machine has none"]),
    ],
)
def test_what_a_machine_lacks(
    recipe: Any, capability: tuple[int, int] | None, engine: str | None, expected: list[str]
) -> None:
    found = check_machine(Fp8Config(recipe=recipe), capability, engine)
    assert len(found) == len(expected)
    for problem, part in zip(found, expected, strict=True):
        assert problem.startswith(f"precision.recipe: {recipe} ")
        assert part in problem
        typed = f"precision.recipe=emulated precision.rule={recipe}"
        assert typed in problem, "it says what runs here"


@pytest.mark.parametrize("recipe", ["tensorwise", "delayed", "blockwise", "mxfp8"])
def test_what_is_advised_in_place_of_a_recipe_holds_as_it_is_typed(
    changed: Changed, recipe: Any
) -> None:
    wide = ["model.hidden_size=256", "model.ffn_hidden_size=512"]
    asked = [f"precision={{kind: fp8, recipe: {recipe}}}", *wide]
    told = [
        *check_machine(Fp8Config(recipe=recipe), (10, 0), None),
        *check_machine(Fp8Config(recipe=recipe), None, "2.11.0"),
        *check_machine(Fp8Config(recipe=recipe), (7, 0), "2.11.0"),
        *check_cuda(Fp8Config(recipe=recipe), None),
        *check_config(changed(*asked, "backend.device=cpu")),
        *check_config(changed(*asked, "backend.engine=torch")),
    ]
    assert len(told) == 6
    for problem in told:
        pairs = re.findall(r"(precision\.recipe=\w+) (precision\.rule=\w+)", problem)
        assert pairs, problem
        for pair in pairs:
            assert check_config(changed(*asked, *pair)) == [], problem


def test_what_is_advised_in_place_of_a_rule_holds_as_it_is_typed(changed: Changed) -> None:
    wide = ["model.hidden_size=256", "model.ffn_hidden_size=512"]
    [problem] = check_config(changed(SCALED, "precision.rule=blockwise", *wide))
    assert "set precision.rule=tensorwise, or Transformer Engine's precision.re" in problem
    typed = ["precision.recipe=blockwise", "precision.rule="]
    assert " ".join(typed) in problem
    assert check_config(changed(SCALED, *typed, *wide)) == []
    with pytest.raises(ConfigError, match=r"set precision\.recipe=tensorwise precision\.rule=$"):
        megatron_arguments(changed(EMULATED), make_plan(changed(EMULATED), 8))


@pytest.mark.parametrize(
    ("recipe", "cuda", "expected"),
    [
        ("blockwise", "12.9", ""),
        ("blockwise", "13.0", ""),
        ("blockwise", "12.8", "is built with CUDA 12.9 or newer, and this one has 12.8"),
        ("tensorwise", "12.8", ""),
        ("delayed", None, "is built with CUDA, and this one has none"),
    ],
)
def test_what_a_build_of_torch_lacks(recipe: Any, cuda: str | None, expected: str) -> None:
    found = check_cuda(Fp8Config(recipe=recipe), cuda)
    assert bool(found) == bool(expected)
    assert all(expected in problem for problem in found)


@pytest.mark.parametrize(
    ("capability", "expected"),
    [
        (None, ""),
        ((8, 9), ""),
        ((9, 0), ""),
        ((8, 0), "capability 8.9 or higher, and"),
    ],
)
def test_torchs_products_need_no_transformer_engine(
    capability: tuple[int, int] | None, expected: str
) -> None:
    scaled = Fp8Config(recipe="torch_scaled_mm", rule="tensorwise")
    found = check_machine(scaled, capability, None)
    assert bool(found) == bool(expected)
    typed = "precision.recipe=emulated precision.rule=tensorwise"
    assert all(expected in problem and typed in problem for problem in found)
    assert check_cuda(scaled, None) == []


def test_emulation_needs_nothing_of_a_machine() -> None:
    assert check_machine(Fp8Config(recipe="emulated", rule="blockwise"), None, None) == []


def test_without_the_machine_it_is_said_what_one_needs() -> None:
    said = needs_of(Fp8Config(recipe="blockwise"))
    assert "Transformer Engine 2.9 or newer, before 2.12" in said
    assert "capability 9.0" in said


@pytest.mark.parametrize(
    ("said", "expected"),
    [("9.0\n9.0\n", (9, 0)), ("9.0\n8.6\n", (8, 6)), ("12.0\n8.9", (8, 9)), ("No devices", None)],
)
def test_the_least_gpu_of_a_machine_counts(said: str, expected: tuple[int, int] | None) -> None:
    assert least_capability(said) == expected


def test_flags_of_megatron_lm(changed: Changed) -> None:
    asked = changed(DELAYED, "precision.amax_history_length=16")
    flags = {flag[0]: flag[1:] for flag in megatron_arguments(asked, make_plan(asked, 8))}
    assert flags["--fp8-format"] == ("hybrid",)
    assert flags["--fp8-recipe"] == ("delayed",)
    assert flags["--fp8-amax-history-len"] == ("16",)
    assert flags["--fp8-amax-compute-algo"] == ("max",)
    assert "--bf16" in flags
    asked = changed(
        "precision={kind: fp8, recipe: blockwise, first_last_bf16: true, fp8_params: true}"
    )
    flags = {flag[0]: flag[1:] for flag in megatron_arguments(asked, make_plan(asked, 8))}
    assert flags["--fp8-format"] == ("e4m3",)
    assert flags["--first-last-layers-bf16"] == flags["--fp8-param-gather"] == ()
    assert "--reuse-grad-buf-for-mxfp8-param-ag" not in flags
    asked = changed("precision={kind: fp8, recipe: mxfp8, fp8_params: true}")
    flags = {flag[0]: flag[1:] for flag in megatron_arguments(asked, make_plan(asked, 8))}
    assert (flags["--fp8-format"], flags["--fp8-recipe"]) == (("e4m3",), ("mxfp8",))
    assert flags["--fp8-param-gather"] == flags["--reuse-grad-buf-for-mxfp8-param-ag"] == ()
    asked = changed(EMULATED)
    with pytest.raises(ConfigError, match=r"precision\.recipe: Megatron-LM has no emulated"):
        megatron_arguments(asked, make_plan(asked, 8))
