"""`codemix bench train --gpu`: rows as they are measured, as text or JSON."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer

from megatron_codemix.bench.train.gpu.cases import Case
from megatron_codemix.bench.train.gpu.figures import Figures, shortcomings
from megatron_codemix.bench.train.gpu.job import Warmth
from megatron_codemix.bench.train.gpu.machine import find_machine
from megatron_codemix.bench.train.gpu.results import Results
from megatron_codemix.bench.train.gpu.suite import Settings, measured_rows, planned_rows
from megatron_codemix.cli.bench_report import print_report
from megatron_codemix.errors import EXIT_BUG
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.planner.hardware import find_gpu
from megatron_codemix.units import format_bytes

_BENCH = "train --gpu"


def plan(cases: Sequence[Case], card: str, *, json: bool) -> None:
    """The rows and what they take of the card's memory. Raises ConfigError without such a card."""
    gpu = find_gpu(card)
    rows = list(planned_rows(cases, gpu))
    if json:
        print_report(_BENCH, rows, planned_for=gpu.title)
        return
    print(f"{gpu.title}, {format_bytes(gpu.memory_bytes)}; nothing is measured")
    width = _column(cases)
    for row in rows:
        print(f"{row['name']:<{width}s}{_planned(row)}")


def measure(
    cases: Sequence[Case],
    *,
    steps: int,
    has_peer: bool,
    warm_up_seconds: float | None,
    path: Path,
    folder: Path | None,
    json: bool,
    check: bool,
) -> None:
    """warm_up_seconds: at least; None: as many as is usual. Raises UnavailableError without a
    GPU."""
    machine = find_machine()
    warmth = Warmth() if warm_up_seconds is None else Warmth.of(warm_up_seconds)
    measured_with = {
        "steps": steps,
        "warm_up_seconds": warmth.least_seconds,
        "has_peer": has_peer,
    }
    results = Results(path, {**machine.as_dict(), **measured_with})
    if word := results.word():
        print(f"note: {word}", file=sys.stderr)
    rows: list[Figures] = []
    width = _column(cases)
    with progress_bar(f"bench {_BENCH}", len(cases), "rows") as advance:
        for row in measured_rows(
            cases,
            machine,
            results,
            Settings(steps=steps, has_peer=has_peer, warmth=warmth),
            folder or Path(tempfile.gettempdir()),
            begins=lambda name: print(f"{name}: measuring", file=sys.stderr, flush=True),
        ):
            rows.append(row)
            advance(1)
            if not json:
                print(format_gpu_row(row, width), flush=True)
    if json:
        print_report(_BENCH, rows, gpu=machine.as_dict(), results=str(path))
    wrong = [f"{row['name']}: {what}" for row in rows for what in shortcomings(row)]
    if check and wrong:
        print("\n".join(wrong), file=sys.stderr)
        raise typer.Exit(EXIT_BUG)


def _column(cases: Sequence[Case]) -> int:
    """Width of the names, and a gap."""
    return 2 + max(len(case.name) for case in cases)


def format_gpu_row(row: Figures, width: int) -> str:
    """The row in words: speed, memory and ratio in one line, kernels and goals below it.

    width: of the name's column.
    """
    name = f"{row['name']:<{width}s}"
    if row["status"] != "measured":
        return f"{name}{row['status']}: {row['reason']}"
    parts = _of_loop(row) if row["kind"] == "loop" else _of_step(row)
    lines = [name + ", ".join(parts)]
    if row.get("kernels"):
        seconds = row["kernels"]["class_seconds"]
        shares = [
            f"{kind} {100 * spent / row['step_seconds']:.1f}%"
            for kind, spent in seconds.items()
            if spent
        ]
        lines.append(f"of a step: {', '.join(shares)}")
    elif row.get("no_kernels_because"):
        lines.append(f"no kernels to tell of: {row['no_kernels_because']}")
    if row["goals"]:
        lines.append("; ".join(map(_goal_words, row["goals"])))
    return f"\n{' ' * width}".join(lines)


def _of_step(row: Figures) -> list[str]:
    parts = [f"{row['tokens_per_second']:,.0f} tokens/s"]
    if row["mfu"] is not None:
        parts.append(f"MFU {row['mfu']:.1%} of {row['mfu_of']}")
    if row["fp8_mfu"] is not None:
        parts.append(f"{row['fp8_mfu']:.1%} of {row['fp8_mfu_of']}")
    if row["peak_memory_bytes"] is not None:
        parts.append(format_bytes(row["peak_memory_bytes"]))
    if row["exposed_host_seconds"] is not None:
        parts.append(f"{1e3 * row['exposed_host_seconds']:.1f} ms without a kernel")
    for other, title in (("bf16", "bf16"), ("default", "the default")):
        if row.get(f"{other}_ratio"):
            parts.append(f"{row[f'{other}_ratio']:.3f}x of {title}")
        elif why := row.get(f"no_{other}_ratio_because"):
            parts.append(f"not beside {title}: {why}")
    if row.get("peer_ratio"):
        parts.append(f"{row['peer_ratio']:.3f}x of plain PyTorch, {row['peer_turns']}")
    elif "peer" in row:
        parts.append(f"no plain PyTorch: {row['peer']['reason']}")
    return parts if row["is_settled"] else [*parts, "not settled"]


def _of_loop(row: Figures) -> list[str]:
    return [
        f"{1e3 * row['step_seconds']:.1f} ms",
        f"{row['loop_times']:.3f} of the bare step",
        f"waits {row['data_wait_ms']:.2f} ms for data",
    ]


def _goal_words(goal: Figures) -> str:
    verdict = {None: "not judged", True: "met", False: "MISSED"}[goal["met"]]
    return f"{goal['figure']} {goal['goal']}: {verdict}"


def _planned(row: Figures) -> str:
    memory = (
        f"{row['microbatch_sequences']} sequences at a time, "
        f"{format_bytes(row['planned_memory_bytes'])}"
    )
    return memory if row["status"] == "planned" else f"skipped: {row['reason']}"
