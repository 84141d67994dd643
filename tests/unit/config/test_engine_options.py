"""What Transformer Engine's cross-entropy and overlapped collectives need."""

from collections.abc import Callable
from pathlib import Path

import pytest

from megatron_codemix.backend.environment import require_engine_options
from megatron_codemix.config.checks import check_config
from megatron_codemix.config.engine_options import (
    check_engine_options,
    check_overlap_nodes,
    overlap_needs,
)
from megatron_codemix.config.megatron_flags.arguments import megatron_arguments
from megatron_codemix.config.plan import make_plan
from megatron_codemix.config.schema import RunConfig
from megatron_codemix.errors import ConfigError

Changed = Callable[..., RunConfig]

LOSS = (
    "model.transformer_overrides={cross_entropy_loss_fusion: true, cross_entropy_fusion_impl: te}"
)
WIDE = ["model.hidden_size=256", "model.ffn_hidden_size=512"]
OVERLAP = ["layout.tensor=2", "layout.sequence_parallel=true", "layout.tensor_overlap=true"]
BF16 = "precision={kind: bf16}"


def fp8(recipe: str, more: str = "") -> str:
    return f"precision={{kind: fp8, recipe: {recipe}{more}}}"


@pytest.mark.parametrize(
    "overrides",
    [
        [LOSS],
        [*OVERLAP, BF16],
        [*OVERLAP, fp8("tensorwise")],
        [*OVERLAP, fp8("delayed"), "layout.recompute=full"],
        [*OVERLAP, *WIDE, fp8("mxfp8")],
    ],
)
def test_what_goes_together(changed: Changed, overrides: list[str]) -> None:
    assert check_config(changed(*overrides)) == []


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["model.transformer_overrides={cross_entropy_fusion_impl: te}"],
            "cross_entropy_fusion_impl: te means something only with cross_entropy_loss_fusion: tr",
        ),
        ([LOSS, "backend.device=cpu"], "cross_entropy_fusion_impl: te computes on a GPU"),
        ([LOSS, "model.z_loss=1e-4"], "model.z_loss has a loss of its own"),
        (
            [BF16, "layout.tensor=2", "layout.tensor_overlap=true"],
            "layout.tensor_overlap: needs layout.sequence_parallel=true",
        ),
        ([BF16, "layout.tensor_overlap=true"], "layout.tensor_overlap: needs layout.sequence_par"),
        ([*OVERLAP, BF16, "backend.device=cpu"], "is Transformer Engine's on GPUs, and backend"),
        (
            [*OVERLAP, "precision={kind: fp32}"],
            "take bf16 and FP8, and precision.kind is fp32",
        ),
        (
            [*OVERLAP, fp8("emulated", ", rule: tensorwise")],
            "and precision.recipe=emulated has its own",
        ),
        (
            [*OVERLAP, fp8("torch_scaled_mm", ", rule: tensorwise")],
            "and precision.recipe=torch_scaled_mm has its own",
        ),
        ([*OVERLAP, fp8("blockwise")], "does not go with precision.recipe=blockwise"),
        (
            [*OVERLAP, *WIDE, fp8("mxfp8"), "data.sequence_length=192"],
            "to be a multiple of 128 tokens, and it is 96",
        ),
        ([*OVERLAP, BF16, "model.block=parallel"], "which model.block=parallel cannot have"),
        (
            [*OVERLAP, BF16, "model.moe={num_experts: 8, top_k: 2, balance_coefficient: 0.01}"],
            "does not go with model.moe",
        ),
        (
            ["model.transformer_overrides={tp_comm_overlap: true}"],
            "is decided by layout.tensor_overlap",
        ),
        (
            ["model.transformer_overrides={tp_comm_overlap_rs_dgrad: true}"],
            "what layout.tensor_overlap has beside a product is Transformer Engine's choice",
        ),
    ],
)
def test_what_does_not(changed: Changed, overrides: list[str], expected: str) -> None:
    problems = check_config(changed(*overrides))
    assert any(expected in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("capability", "engine", "expected"),
    [
        ((9, 0), "2.11.0", None),
        (None, "2.11.0", "this machine has no GPU"),
        ((9, 0), None, "it is not installed"),
    ],
)
def test_what_a_machine_lacks(
    changed: Changed, capability: tuple[int, int] | None, engine: str | None, expected: str | None
) -> None:
    found = check_engine_options(changed(LOSS, *OVERLAP, BF16), capability, engine)
    fields = ["model.transformer_overrides.cross_entropy_fusion_impl: ", "layout.tensor_overlap: "]
    assert len(found) == (2 if expected else 0)
    for problem, field in zip(found, fields, strict=False):
        assert problem.startswith(field)
        assert str(expected) in problem
    assert check_engine_options(changed(), None, None) == []


def test_a_machine_is_asked_before_anything_starts(
    changed: Changed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no nvidia-smi
    require_engine_options(changed(BF16), tmp_path)
    for asked in ([LOSS], [*OVERLAP, BF16]):
        with pytest.raises(ConfigError, match=r"is Transformer Engine's, and this machine has no"):
            require_engine_options(changed(*asked), tmp_path)


@pytest.mark.parametrize(
    ("tensor", "world_size", "gpus_per_node", "shares_a_node"),
    [(8, 64, 8, True), (4, 64, 8, True), (16, 64, 8, False), (3, 24, 8, False), (3, 6, 8, True)],
)
def test_tensor_parallel_ranks_share_a_node(
    changed: Changed, tensor: int, world_size: int, gpus_per_node: int, shares_a_node: bool
) -> None:
    """Groups are of neighbouring ranks, and ranks fill one node after the other."""
    layout = changed(*OVERLAP, BF16).layout.model_copy(update={"tensor": tensor})
    groups = [range(first, first + tensor) for first in range(0, world_size, tensor)]
    nodes = [{rank // gpus_per_node for rank in group} for group in groups]
    assert all(len(of_group) == 1 for of_group in nodes) == shares_a_node
    assert (check_overlap_nodes(layout, world_size, gpus_per_node) == []) == shares_a_node
    without = layout.model_copy(update={"tensor_overlap": False})
    assert check_overlap_nodes(without, world_size, gpus_per_node) == overlap_needs(without) == []


def test_flags_of_megatron_lm(changed: Changed) -> None:
    asked = changed(LOSS, *OVERLAP, BF16)
    flags = {flag[0]: flag[1:] for flag in megatron_arguments(asked, make_plan(asked, 8))}
    assert flags["--tp-comm-overlap"] == flags["--cross-entropy-loss-fusion"] == ()
    assert flags["--cross-entropy-fusion-impl"] == ("te",)
    asked = changed()
    assert ("--tp-comm-overlap",) not in megatron_arguments(asked, make_plan(asked, 8))
