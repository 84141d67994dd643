"""`codemix bench train --gpu` on a machine without a GPU: what it refuses, what it plans, and how
it writes rows."""

import json

import pytest

from megatron_codemix.backend.environment import may_have_gpus
from megatron_codemix.cli.bench_train_gpu import format_gpu_row
from megatron_codemix.cli.main import main

TRAIN = ["bench", "train", "--gpu"]
FEW = ["--models", "470m,2.8b", "--sequences", "4096", "--precisions", "bf16,blockwise"]


@pytest.mark.skipif(may_have_gpus(), reason="this machine has a GPU")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_without_a_gpu_one_line_names_what_is_missing(more: list[str], capsys) -> None:
    assert main([*TRAIN, *FEW, *more]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--gpu: this machine has no NVIDIA driver" in said.err
    assert "--dry-run" in said.err


def test_a_dry_run_lists_rows_and_the_planner_s_memory(capsys) -> None:
    assert main([*TRAIN, *FEW, "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("NVIDIA H100 SXM 80 GB, 79.1 GiB")
    assert [line.split("  ")[0] for line in lines[1:]] == [
        "470m, 4096, bf16",
        "470m, 4096, blockwise",
        "2.8b, 4096, bf16",
        "2.8b, 4096, blockwise",
        "loop: 470m, 4096, bf16",
    ]
    assert lines[1].endswith("4 sequences at a time, 25.9 GiB")


def test_names_and_plans_stay_apart(capsys) -> None:
    assert main([*TRAIN, "--dry-run", "--models", "470m-256k", "--variants", "graphs"]) == 0
    [row] = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("470m-256k, 2048, torch_scaled_mm-delayed, graphs")
    ]
    assert "graphs  8 sequences at a time, " in row


def test_a_dry_run_on_a_card_says_what_cannot_run_there(capsys) -> None:
    assert main([*TRAIN, *FEW, "--dry-run", "--card", "a100-40gb", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["planned_for"] == "NVIDIA A100 SXM 40 GB"
    rows = {row["name"]: row for row in report["rows"]}
    assert rows["470m, 4096, bf16"]["status"] == "planned"
    assert rows["470m, 4096, blockwise"]["reason"] == "the NVIDIA A100 SXM 40 GB has no FP8"
    assert "does not fit" in rows["2.8b, 4096, bf16"]["reason"]
    for row in rows.values():
        assert {"name", "model", "sequence", "precision", "status", "reason"} <= set(row)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["bench", "train", "--models", "470m"], "--models: means something only with --gpu"),
        ([*TRAIN, "--scale", "0.5"], "--scale: means nothing with --gpu"),
        (["bench", "train", "--warm-up", "2"], "--warm-up: means something only with --gpu"),
        ([*TRAIN, "--dry-run", "--check"], "--check: means nothing with --dry-run"),
        ([*TRAIN, "--card", "h100"], "--card: is for --dry-run"),
        ([*TRAIN, "--models", "7b"], "--models: no '7b'; there are 160m, 470m"),
        ([*TRAIN, "--dry-run", "--card", "h1000"], "no GPU 'h1000' in the planner's table"),
    ],
)
def test_options_without_a_meaning_are_refused(arguments, said: str, capsys) -> None:
    assert main(arguments) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_a_row_is_told_in_words() -> None:
    row = {
        "name": "470m, 4096, bf16",
        "kind": "step",
        "status": "measured",
        "tokens_per_second": 123_456.7,
        "step_seconds": 0.1,
        "mfu": 0.461,
        "mfu_of": "a card",
        "fp8_mfu": None,
        "peak_memory_bytes": 2**30,
        "exposed_host_seconds": 0.0012,
        "is_settled": True,
        "kernels": {"class_seconds": {"matrix products": 0.06, "other": 0.0}},
        "peer": {"step_seconds": 0.1},
        "peer_ratio": 1.0321,
        "peer_turns": "by turns",
        "goals": [{"figure": "peer_ratio", "goal": ">= 1", "met": True}],
    }
    first, second, third = format_gpu_row(row, width=18).splitlines()
    assert " ".join(first.split()) == (
        "470m, 4096, bf16 123,457 tokens/s, MFU 46.1% of a card, 1.0 GiB, 1.2 ms without a kernel, "
        "1.032x of plain PyTorch, by turns"
    )
    assert second.strip() == "of a step: matrix products 60.0%"
    assert third.strip() == "peer_ratio >= 1: met"
    for status in ("skipped", "failed"):
        other = {"name": "a", "status": status, "reason": "no", "goals": []}
        assert format_gpu_row(other, width=18).split() == ["a", f"{status}:", "no"]
    beside = {**row, "default_ratio": None, "no_default_ratio_because": "it was not measured"}
    assert "kernel, not beside the default: it was not measured, 1" in format_gpu_row(beside, 18)
