"""Which rows `codemix bench train --gpu` has, what they take, and what their figures say."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from megatron_codemix.bench.train.gpu.cases import MODELS, WITH_PEER, Case, select_cases
from megatron_codemix.bench.train.gpu.figures import (
    failed,
    loop_row,
    shortcomings,
    skipped,
    step_row,
    with_goals,
)
from megatron_codemix.bench.train.gpu.fit import Fit, fit
from megatron_codemix.bench.train.gpu.machine import Machine, hash_sources, why_not
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import ModelConfig
from megatron_codemix.errors import ConfigError
from megatron_codemix.planner.hardware import find_gpu

EXAMPLES = Path(__file__).parents[3] / "examples" / "models"
H100 = find_gpu("h100")
FP8_ROWS = [
    "torch_scaled_mm",
    "torch_scaled_mm-delayed",
    "tensorwise",
    "blockwise",
    "delayed",
    "mxfp8",
]


def case(precision: str = "bf16", model: str = "470m", sequence: int = 4096) -> Case:
    return Case(kind="step", model=model, sequence=sequence, precision=precision)


def machine(**changes) -> Machine:
    made = Machine(
        card="NVIDIA H100 80GB HBM3",
        driver="550.54.15",
        capability=(9, 0),
        memory_bytes=H100.memory_bytes,
        torch="2.9.0",
        built_with="12.9",
        megatron_core="0.16.1",
        engine="2.11.0",
        engine_problem=None,
        commit="abc",
        sources="def",
    )
    return replace(made, **changes)


def test_all_models_sequences_and_precisions_have_a_row_and_the_loop_one() -> None:
    found = select_cases(None, None, None, None)
    names = [each.name for each in found]
    assert len(set(names)) == len(names) == len(MODELS) * 3 * (1 + len(FP8_ROWS)) + 1
    assert [each.name for each in found if each.kind == "loop"] == ["loop: 470m, 4096, bf16"]
    assert {each.model for each in found if each.has_peer} == set(WITH_PEER)


def test_rows_are_chosen_by_name_bf16_first() -> None:
    found = select_cases("470m", "4096,2048", "torch_scaled_mm,bf16", None)
    assert [each.name for each in found] == [
        "470m, 2048, bf16",
        "470m, 2048, torch_scaled_mm",
        "470m, 4096, bf16",
        "470m, 4096, torch_scaled_mm",
        "loop: 470m, 4096, bf16",
    ]
    assert select_cases("470m", None, "bf16", ["loop"]) == found[-1:]


def test_every_name_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError) as refused:
        select_cases("470m,7b", "1024", "", ["start"])
    assert [problem.split(";")[0] for problem in refused.value.problems] == [
        "--models: no '7b'",
        "--sequences: no '1024'",
        "--precisions: nothing is named",
        "--only: no 'start'",
    ]
    with pytest.raises(ConfigError, match="--only loop: it is measured with --models 470m"):
        select_cases("1b", None, None, ["loop"])


@pytest.mark.parametrize(("name", "millions"), [("160m", 160), ("470m", 473), ("2.8b", 2789)])
def test_models_have_the_size_of_their_name(name: str, millions: int) -> None:
    assert count_parameters(MODELS[name]) // 10**6 == millions


def test_shapes_of_others_are_those_of_the_examples() -> None:
    def example(name: str) -> ModelConfig:
        return ModelConfig(**yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())["model"])

    tinyllama = example("1b").model_copy(update={"vocabulary_size": 49_152})
    assert MODELS["470m-256k"] == example("470m")
    assert MODELS["1b"] == tinyllama


def test_a_row_takes_as_many_sequences_as_fit_and_says_when_none_does() -> None:
    small, large = (fit(case(model=name), H100.memory_bytes) for name in ("470m", "2.8b"))
    assert (small.microbatch_sequences, small.fits_twice) == (4, True)
    assert (large.microbatch_sequences, large.fits, large.fits_twice) == (2, True, False)
    # bf16 weights, fp32 gradients, masters and two moments: 18 bytes a parameter.
    assert large.planned_state_bytes == 18 * count_parameters(MODELS["2.8b"])
    none = fit(case(model="2.8b"), 40 * 2**30)
    assert none.microbatch_sequences == 1
    assert "with one sequence at a time, and the card has 40.0 GiB" in (none.why_not() or "")
    loop_case = Case(kind="loop", model="470m", sequence=4096, precision="bf16")
    loop = fit(loop_case, 2**40)
    assert loop.planned_bytes == small.planned_bytes + small.planned_state_bytes
    # Three times the activations: of each side's recording, and of the steps without it.
    recorded = replace(loop_case, variant="graphs")
    step = fit(replace(recorded, kind="step"), 2**40)
    both = fit(recorded, 2**40)
    assert both.planned_bytes - loop.planned_bytes == pytest.approx(
        2 * (step.planned_bytes - small.planned_bytes), abs=2
    )


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({}, ["mxfp8"]),
        ({"capability": (8, 0)}, FP8_ROWS),
        ({"capability": (8, 9)}, ["blockwise", "mxfp8"]),
        ({"capability": (10, 0)}, []),
        ({"capability": (12, 0)}, ["mxfp8"]),
        ({"built_with": "12.8"}, ["blockwise", "mxfp8"]),
        ({"engine": None}, FP8_ROWS[2:]),
        ({"engine_problem": "OSError: libcudnn.so.9"}, FP8_ROWS[2:]),
    ],
)
def test_what_a_machine_cannot_run_has_a_reason(changes: dict, refused: list[str]) -> None:
    rows = {name: why_not(case(name), machine(**changes)) for name in ["bf16", *FP8_ROWS]}
    assert [name for name, reason in rows.items() if reason] == refused


def test_the_parallel_block_is_not_for_transformer_engine() -> None:
    reasons = {name: why_not(case(name, "470m-256k"), machine()) for name in FP8_ROWS}
    assert [name for name, reason in reasons.items() if reason] == FP8_ROWS[2:]


def side(seconds: float, busy: float | None = None, alone: float | None = None) -> dict:
    """alone: without a peer that takes turns."""
    return {
        "step_seconds": seconds,
        "alone_step_seconds": alone or seconds,
        "kernels": busy and {"busy_seconds": busy},
    }


FIT = Fit(microbatch_sequences=4, planned_bytes=1, planned_state_bytes=1, memory_bytes=2)


def test_rates_and_utilisation_follow_from_the_step() -> None:
    row = step_row(case(), FIT, H100, side(0.25, 0.2), side(0.5, 0.6))
    assert row["tokens_per_second"] == 4 * 4096 / 0.25
    model = MODELS["470m"]
    width, mlp = model.hidden_size, model.ffn_hidden_size
    of_layer = 4 * width**2 + 3 * width * mlp + 4096 * width  # of causal attention, half
    forward = 2 * (model.num_layers * of_layer + width * model.vocabulary_size)
    flops = 3 * forward * row["tokens_per_second"]
    assert row["model_flops_per_second"] == pytest.approx(flops)
    assert row["mfu"] == pytest.approx(flops / 989.4e12)
    assert row["mfu_of"].startswith("NVIDIA H100 SXM 80 GB: 989.4 TFLOP/s, dense BF16")
    assert row["exposed_host_seconds"] == pytest.approx(0.05)
    assert row["peer"]["exposed_host_seconds"] == 0
    assert (row["peer_ratio"], row["fp8_mfu"]) == (2.0, None)


def test_fp8_is_told_by_both_peaks_and_beside_bf16() -> None:
    bf16 = step_row(case(model="2.8b"), FIT, H100, side(0.5), None)
    plain = step_row(case("torch_scaled_mm", "2.8b"), FIT, H100, side(0.4), None)
    assert plain["mfu"] / plain["fp8_mfu"] == pytest.approx(1978.9 / 989.4)
    row = with_goals(plain, bf16)
    assert row["bf16_ratio"] == pytest.approx(1.25)
    assert row["goals"] == [{"figure": "bf16_ratio", "goal": ">= 1.25", "met": True}]
    assert with_goals(plain, None)["goals"][0]["met"] is None


def test_rows_are_compared_by_what_each_took_alone() -> None:
    """In FP8 there is no peer whose memory, compiled code and turns are in the step's time."""
    bf16 = step_row(case(model="2.8b"), FIT, H100, side(0.55, alone=0.5), side(0.6))
    assert bf16["tokens_per_second"] == pytest.approx(4 * 4096 / 0.55)
    plain = step_row(case("torch_scaled_mm", "2.8b"), FIT, H100, side(0.4), None)
    assert with_goals(plain, bf16)["bf16_ratio"] == pytest.approx(1.25)


def test_rows_of_other_sizes_have_no_ratio_and_say_why() -> None:
    graphs = replace(case(model="2.8b"), variant="graphs")
    half = replace(FIT, microbatch_sequences=2)
    default = step_row(case(model="2.8b"), FIT, H100, side(0.5), None)
    row = with_goals(step_row(graphs, half, H100, side(0.2), None), None, default)
    assert row["default_ratio"] is None
    why = "it takes 4 sequences at a time, and this row 2"
    assert row["no_default_ratio_because"] == why
    alike = with_goals(step_row(graphs, FIT, H100, side(0.4), None), None, default)
    assert alike["default_ratio"] == pytest.approx(1.25)
    lost = with_goals(step_row(graphs, FIT, H100, side(0.4), None), None, None)
    assert lost["no_default_ratio_because"] == "that row was not measured"


@pytest.mark.parametrize("variant", ["default", "graphs"])
def test_fp8_takes_no_more_sequences_than_bf16(variant: str) -> None:
    """Beside which it is judged, on cards of every size that can hold one; of graphs on an H200 it
    could take twice as many."""
    for gigabytes in range(48, 200, 4):
        for sequence in (2048, 4096):
            bf16, fp8 = (
                fit(replace(case(each, "2.8b", sequence), variant=variant), gigabytes * 10**9)
                for each in ("bf16", "torch_scaled_mm")
            )
            assert fp8.microbatch_sequences <= bf16.microbatch_sequences, gigabytes
            if variant == "default" and bf16.fits:
                assert fp8.microbatch_sequences == bf16.microbatch_sequences, gigabytes


def test_an_unknown_card_has_rates_and_no_utilisation() -> None:
    row = with_goals(step_row(case(), FIT, None, side(0.5), {"reason": "it was killed"}), None)
    assert row["tokens_per_second"] > 0
    assert (row["mfu"], row["mfu_of"], row["peer_ratio"]) == (None, None, None)
    assert [goal["met"] for goal in row["goals"]] == [None, None]


def test_what_was_lost_missed_or_not_judged_falls_short() -> None:
    def told(row: dict, bf16: dict | None = None) -> list[str]:
        return shortcomings(with_goals(row, bf16))

    bf16 = step_row(case(), FIT, H100, side(0.1), side(0.5))
    assert told(bf16) == []
    assert told(skipped(case(), "too large", FIT)) == []
    assert told(failed(case(), "it was killed", FIT)) == ["failed: it was killed"]
    assert told(step_row(case(), FIT, H100, side(1.0), {"reason": "it was killed"})) == [
        "no plain PyTorch: it was killed",
        "peer_ratio >= 1: not judged",
        "mfu >= 0.45: missed",
    ]
    scaled = step_row(case("torch_scaled_mm", "2.8b"), FIT, H100, side(0.4), None)
    assert told(scaled) == ["bf16_ratio >= 1.25: not judged"]


@pytest.mark.parametrize(
    ("model", "sequence", "goals"),
    [
        ("160m", 4096, []),
        ("470m", 4096, [("peer_ratio", ">= 1"), ("mfu", ">= 0.45")]),
        ("470m", 8192, [("peer_ratio", ">= 1")]),
        ("2.8b", 4096, [("peer_ratio", ">= 1.05"), ("mfu", ">= 0.5")]),
    ],
)
def test_goals_are_those_of_the_size(model: str, sequence: int, goals: list) -> None:
    row = step_row(case(model=model, sequence=sequence), FIT, H100, side(0.5), side(0.5))
    assert [(each["figure"], each["goal"]) for each in with_goals(row, None)["goals"]] == goals


def test_the_loop_is_told_beside_the_bare_step() -> None:
    found = {
        "loop_seconds": 0.202,
        "bare_seconds": 0.2,
        "data_wait_seconds": 0.0006,
        "most_data_wait_seconds": 0.1,
    }
    loop = Case(kind="loop", model="470m", sequence=4096, precision="bf16")
    row = with_goals(loop_row(loop, FIT, found), None)
    assert row["loop_times"] == pytest.approx(1.01)
    assert [goal["met"] for goal in row["goals"]] == [True, False]


def test_any_change_of_the_sources_changes_their_hash(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("1")
    before = hash_sources(tmp_path)
    assert hash_sources(tmp_path) == before
    (tmp_path / "a.py").write_text("2")
    assert hash_sources(tmp_path) != before
    (tmp_path / "more").mkdir()
    both = hash_sources(tmp_path, tmp_path / "more")
    (tmp_path / "more" / "b.py").write_text("3")
    assert hash_sources(tmp_path, tmp_path / "more") != both
