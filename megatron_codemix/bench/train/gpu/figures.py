"""From what a process has measured to a row: rates, utilisation, ratios, goals.

Rows are JSON objects. A row that is `measured` has all figures, None where there is nothing to tell
of (an unknown card's peak). One that is `skipped`, because it cannot run on this machine, or
`failed`, because it was begun and lost, has a `reason`.
"""

from typing import Any

from megatron_codemix.bench.train.gpu.cases import DEFAULT, Case
from megatron_codemix.bench.train.gpu.fit import Fit
from megatron_codemix.config.flops import training_flops_per_token
from megatron_codemix.config.parameters import count_parameters
from megatron_codemix.config.schema import Fp8Config
from megatron_codemix.planner.hardware import Gpu

Figures = dict[str, Any]  # Any: JSON values

LEAST_RATIO = {"470m": 1.0, "2.8b": 1.05}
"""Our tokens a second over the peer's, in bf16."""
LEAST_MFU = {"470m": 0.45, "2.8b": 0.50}
"""In bf16 at MFU_SEQUENCE."""
MFU_SEQUENCE = 4096
LEAST_FP8_RATIO = {"2.8b": 1.25}
"""Tokens a second in FP8 over those in bf16."""
MOST_LOOP_TIMES = 1.01
"""The loop's step over the bare one's."""
MOST_WAIT_MS = 0.5
"""What rounds to no wait; to take a batch that lies ready takes some hundredths."""


def skipped(case: Case, reason: str, fit: Fit) -> Figures:
    return {**case.as_dict(), "status": "skipped", "reason": reason, **_plan(fit)}


def failed(case: Case, reason: str, fit: Fit) -> Figures:
    return {**skipped(case, reason, fit), "status": "failed"}


def step_row(case: Case, fit: Fit, gpu: Gpu | None, ours: Figures, peer: Figures | None) -> Figures:
    """peer: its figures, or `reason` alone; None where the row has none."""
    row = {
        **case.as_dict(),
        "status": "measured",
        "reason": None,
        "parameters": count_parameters(case.shape),
        **_plan(fit),
        **_of_side(case, fit, gpu, ours),
    }
    if case.has_peer and peer is not None:
        is_there = "step_seconds" in peer
        row["peer"] = _of_side(case, fit, gpu, peer) if is_there else peer
        row["peer_ratio"] = peer["step_seconds"] / ours["step_seconds"] if is_there else None
    return row


def loop_row(case: Case, fit: Fit, found: Figures) -> Figures:
    return {
        **case.as_dict(),
        "status": "measured",
        "reason": None,
        **_plan(fit),
        "step_seconds": found["loop_seconds"],
        "bare_step_seconds": found["bare_seconds"],
        "loop_times": found["loop_seconds"] / found["bare_seconds"],
        "data_wait_ms": 1e3 * found["data_wait_seconds"],
        "most_data_wait_ms": 1e3 * found["most_data_wait_seconds"],
    }


def with_goals(row: Figures, bf16: Figures | None, default: Figures | None = None) -> Figures:
    """The row with its goals and, of one in FP8, its speed beside bf16's; of another variant,
    beside the default's. Each with itself alone in its process, and with as many sequences at a
    time: else there is no ratio, and `no_..._ratio_because` says why.

    bf16: the row of the same model, sequence and variant in bf16, if it was measured.
    default: that of the same model, sequence and precision.
    """
    if row["status"] == "measured" and row["kind"] == "step":
        if row["precision"] != "bf16":
            row = {**row, **_ratio("bf16", row, bf16)}
        if row["variant"] != DEFAULT:
            row = {**row, **_ratio("default", row, default)}
    return {**row, "goals": _goals(row) if row["status"] == "measured" else []}


def _ratio(name: str, row: Figures, other: Figures | None) -> Figures:
    why = None
    if other is None or other["status"] != "measured":
        why = "that row was not measured"
    elif other["microbatch_sequences"] != row["microbatch_sequences"]:
        why = (
            f"it takes {other['microbatch_sequences']} sequences at a time, and this row "
            f"{row['microbatch_sequences']}"
        )
    if other is None or why is not None:
        return {f"{name}_ratio": None, f"no_{name}_ratio_because": why}
    return {f"{name}_ratio": other["alone_step_seconds"] / row["alone_step_seconds"]}


def shortcomings(row: Figures) -> list[str]:
    """Of a row with its goals: what was begun and lost, what was missed, what could not be judged.
    What this machine cannot run is none."""
    found = [] if row["status"] != "failed" else [f"failed: {row['reason']}"]
    if lost := row.get("peer", {}).get("reason"):
        found.append(f"no plain PyTorch: {lost}")
    words = {None: "not judged", False: "missed"}
    found += [
        f"{goal['figure']} {goal['goal']}: {words[goal['met']]}"
        for goal in row["goals"]
        if not goal["met"]
    ]
    return found


def _goals(row: Figures) -> list[Figures]:
    model = row["model"]
    if row["kind"] == "loop":
        return [
            _goal("loop_times", row["loop_times"], MOST_LOOP_TIMES, is_least=False),
            _goal("data_wait_ms", row["data_wait_ms"], MOST_WAIT_MS, is_least=False),
        ]
    if row["variant"] != DEFAULT:
        return []
    if row["precision"] != "bf16":
        least = LEAST_FP8_RATIO.get(model)
        return [] if least is None else [_goal("bf16_ratio", row["bf16_ratio"], least)]
    found = []
    if model in LEAST_RATIO:
        found.append(_goal("peer_ratio", row.get("peer_ratio"), LEAST_RATIO[model]))
    if model in LEAST_MFU and row["sequence"] == MFU_SEQUENCE:
        found.append(_goal("mfu", row["mfu"], LEAST_MFU[model]))
    return found


def _goal(figure: str, value: float | None, bound: float, *, is_least: bool = True) -> Figures:
    """met: None where the figure is not there."""
    is_met = None if value is None else (value >= bound if is_least else value <= bound)
    return {"figure": figure, "goal": f"{'>=' if is_least else '<='} {bound:g}", "met": is_met}


def _plan(fit: Fit) -> Figures:
    return {
        "microbatch_sequences": fit.microbatch_sequences,
        "planned_memory_bytes": fit.planned_bytes,
        "memory_bytes": fit.memory_bytes,
    }


def _of_side(case: Case, fit: Fit, gpu: Gpu | None, found: Figures) -> Figures:
    """What both sides are told of alike; `mfu` is of the peak in bf16 whatever the precision."""
    tokens = fit.microbatch_sequences * case.sequence
    rate = tokens / found["step_seconds"]
    flops = rate * training_flops_per_token(case.shape, case.sequence)
    fp8_peak = gpu.fp8_flops if gpu and isinstance(case.number_formats, Fp8Config) else None
    kernels = found.get("kernels")
    host = None if kernels is None else found["step_seconds"] - kernels["busy_seconds"]
    return {
        "tokens_per_step": tokens,
        "tokens_per_second": rate,
        "model_flops_per_second": flops,
        "mfu": flops / gpu.bf16_flops if gpu else None,
        "mfu_of": _peak_words(gpu.title, gpu.bf16_flops, "BF16") if gpu else None,
        "fp8_mfu": flops / fp8_peak if fp8_peak else None,
        "fp8_mfu_of": _peak_words(gpu.title, fp8_peak, "FP8") if gpu and fp8_peak else None,
        # Kernels and steps were timed apart, so that nothing may come out below nothing.
        "exposed_host_seconds": None if host is None else max(0.0, host),
        **found,
    }


def _peak_words(title: str, peak: float, formats: str) -> str:
    return f"{title}: {peak / 1e12:,.1f} TFLOP/s, dense {formats} of the data sheet"
