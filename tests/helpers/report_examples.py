"""Reports as large as the first paper's studies, made up: for how a page looks, not for numbers."""

import random
from typing import Any

from megatron_codemix.report.statistics.decisions import verdict
from megatron_codemix.report.tasks import CATEGORIES, averages

VARIANTS = (
    "text-only", "text-only + cooldown", "balanced-only", "balanced-only + cooldown", "balanced",
    "balanced->text", "balanced->text + cooldown", "code", "code->text", "code->text + cooldown",
)  # fmt: skip
SIZES = ("470m", "2.8b")
SEEDS = ("1", "2", "3")
SOURCES = ("code", "markup", "text")
TASKS = [*(task for tasks in CATEGORIES.values() for task in tasks), "humaneval_bpb", "mbpp_bpb"]
BASELINE = "text-only"

Values = dict[str, Any]


def paper_size_report(seeds: tuple[str, ...] = SEEDS) -> Values:
    """10 variants x 2 sizes x seeds x 17 tasks, everything that a report may hold."""
    cells = {
        f"{size}.seed{seed}": {"group": size, "point": {"size": size}}
        for size in SIZES
        for seed in seeds
    }
    left_out = {"cb": ["code"]}
    rows = [
        _variant(name, cell, cells[cell]["group"], left_out) for cell in cells for name in VARIANTS
    ]
    comparisons = _comparisons(rows, cells, left_out, len(seeds))
    phases = [_phase(row) for row in rows]
    return {
        "study": "recommended",
        "baseline": BASELINE,
        "cells": cells,
        "variants": rows,
        "tasks_left_out": left_out,
        "comparisons": comparisons,
        "statistics": {
            "level": 0.95, "significance": 0.05, "power": 0.8, "draws": 4000,
            "correction": "holm", "comparisons": len(comparisons),
            "tested": sum(row["p"] is not None for row in comparisons),
        },
        "seeds": [],
        "phases": phases,
        "ledger_max_error_samples": 0.482,
        "warnings": [
            "code->text: source code was read 6.2 times by the end of this phase; beyond 4 epochs "
            "repeated data is worth less than new data",
            "cb: not above random in code, so it is not compared",
        ],
        "token_scale": 1.0,
        "evaluation": {
            "max_bytes_per_source": 4194304, "tasks": {"names": ["paper_a"], "limit": None}
        },
        "commit": "0123abc",
        "versions": {"python": "3.11.0", "torch": "2.13.0"},
        "wall_seconds": 360_000.0,
        "timing": {
            "study_starts": 1,
            "train_seconds": 1e6,
            "tokens_per_second": 1.2e6,
            "phases": {
                f"{phase['cell']}/{phase['name']}": {"tokens_per_second": 1.2e6} for phase in phases
            },
        },
        "published": [published_table(rows)],
        "not_run": [
            {
                "kind": "task", "what": "task quac", "cell": None,
                "why": "its data is not there; `codemix data fetch` says what is",
                "needed_by": ["average/reasoning"], "tokens": None, "gpu_hours": None,
                "processor_hours": None,
            },
            {
                "kind": "phase", "what": "phase cooldown", "cell": "2.8b.seed3",
                "why": "not started: its parent balanced has failed", "needed_by": ["balanced"],
                "tokens": 40_000_000_000, "gpu_hours": 812.5, "processor_hours": None,
            },
        ],
        "cost": _cost(rows, phases),
        "layouts": [
            {"layout": "TP1 x PP1 x DP32, microbatch 4", "world_size": 32, "phases": ["470m/text"]},
            {"layout": "TP2 x PP1 x DP16, microbatch 1", "world_size": 32, "phases": ["2.8b/text"]},
        ],
    }  # fmt: skip


def _variant(name: str, cell: str, group: str, left_out: Values) -> Values:
    chance = random.Random(f"{name} {cell}")
    size = SIZES.index(group)
    tasks = {
        task: {
            "metric": "bits_per_byte" if task.endswith("_bpb") else "acc",
            "value": 0.4 + 0.05 * size + chance.gauss(0.02 * VARIANTS.index(name) % 0.07, 0.01),
            "stderr": 0.012,
            "random_baseline": 0.25,
            "above_random": not (task == "cb" and name == "code"),
            "items": 1000,
        }
        for task in TASKS
    }
    heldout = {}
    for number, source in enumerate(SOURCES):
        value = (
            0.9 - 0.1 * size + 0.02 * VARIANTS.index(name) * (number - 1) + chance.gauss(0, 0.01)
        )
        heldout[source] = {
            "bits_per_byte": value, "low": value - 0.02, "high": value + 0.02, "relative": None
        }  # fmt: skip
    return {
        "name": name,
        "cell": cell,
        "phases": ["balanced", f"{name.replace(' ', '-')}-last"]
        if "text" in name
        else ["balanced"],
        "tokens": 440_000_000_000,
        "layout": _layout(),
        "heldout": heldout,
        "tasks": tasks,
        "averages": averages(tasks, left_out),
    }


def _layout() -> Values:
    return {"text": "TP2 x PP1 x DP16", "microbatch_sequences": 1, "sequence_parallel": True}


def _comparisons(
    rows: list[Values], cells: Values, left_out: Values, num_seeds: int
) -> list[Values]:
    scores: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        found = scores.setdefault((cells[row["cell"]]["group"], row["name"]), {})
        for source, score in row["heldout"].items():
            found.setdefault(f"heldout/{source}", []).append(score["bits_per_byte"])
        for kind, values in (("average", row["averages"]), ("task", row["tasks"])):
            for name, score in values.items():
                if name not in left_out:
                    found.setdefault(f"{kind}/{name}", []).append(score["value"])
    return [
        comparison(
            size, variant, metric, sum(values) / len(values), sum(base) / len(base), num_seeds
        )
        for size in SIZES
        for metric, base in scores[size, BASELINE].items()
        for variant in VARIANTS
        if variant != BASELINE
        for values in [scores[size, variant][metric]]
    ]


def comparison(
    cell: str, variant: str, metric: str, value: float, base: float, num_seeds: int = 3
) -> Values:
    """A row of `comparisons` whose noise is 2% of the baseline's score."""
    difference, half = value - base, 0.02 * base
    is_lower = metric.startswith("heldout/") or metric.endswith("_bpb")
    p = 0.001 if abs(difference) > half else 0.4
    has_seeds = num_seeds > 1

    def share(value: float) -> float | None:
        return value / base if base else None

    found = verdict(difference, p if has_seeds else None, lower_is_better=is_lower)
    return {
        "cell": cell, "variant": variant, "baseline": BASELINE, "metric": metric,
        "lower_is_better": is_lower, "value": value, "baseline_value": base,
        "difference": difference, "low": difference - half, "high": difference + half,
        "relative": share(difference), "relative_low": share(difference - half),
        "relative_high": share(difference + half), "level": 0.95,
        "method": "items and seeds" if has_seeds else "items", "seeds": num_seeds, "items": 11_000,
        "floor": 1.5 * half if has_seeds else None, "p": p if has_seeds else None,
        "p_corrected": p if has_seeds else None, "verdict": found,
        "reason": "no larger than what chance makes" if found == "cannot tell" else None,
        "runs_to_decide": 12 if found == "cannot tell" and has_seeds else None,
        "models_verdict": verdict(difference, p, lower_is_better=is_lower), "models_p": p,
    }  # fmt: skip


def _phase(row: Values) -> Values:
    source = {
        "planned_tokens": 2.2e11, "consumed_tokens": 220_000_000_000, "epochs": 1.58,
        "chain_tokens": 220_000_000_000, "loss_nats": 1.234,
    }  # fmt: skip
    return {
        "cell": row["cell"], "name": row["phases"][-1], "parent": "balanced", "load": "weights",
        "identity": "f" * 64, "state": "done", "steps": 104_904,
        "requested_tokens": 440_000_000_000, "planned_tokens": 440_000_000_000,
        "tokens": 440_000_000_000, "layout": _layout(), "sources": {"code": source, "text": source},
        "heldout": {name: score["bits_per_byte"] for name, score in row["heldout"].items()},
    }  # fmt: skip


def published_table(rows: list[Values]) -> Values:
    """Ten rows of a table, as `published` has them."""
    return {
        "figure": "paper_a/recommended", "title": "Recipes with cooldown",
        "paper": "To Code, or Not To Code? (arXiv 2408.10914)", "source": "Table 2",
        "measure": "average/reasoning", "measure_title": "natural-language reasoning",
        "unit": "score", "lower_is_better": False, "axis": None,
        "rows": [
            {
                "row": name, "title": name, "model": "470M", "at": None, "variant": name,
                "cell": size, "against": None,
                "paper": {"value": 0.49, "printed": "49.0", "source": "Table 2", "note": None},
                "ours": {
                    "value": 0.512, "low": 0.49, "high": 0.53, "seeds": 3,
                    "over": "3 seeds, 11,000 items", "tasks": ["boolq"],
                },
                "why": None,
            }
            for name in VARIANTS
            for size in SIZES
        ],
        "note": "The size is not in the table's caption.",
    }  # fmt: skip


def _cost(rows: list[Values], phases: list[Values]) -> Values:
    numbers = {
        "tokens": 440_000_000_000, "seconds": 36_000.0, "gpu_hours": 320.0, "processor_hours": None,
        "restarts": 1, "failures": 0,
    }  # fmt: skip
    return {
        "phases": [
            {
                "cell": phase["cell"], "phase": phase["name"], "variants": [], "state": "done",
                "device": "NVIDIA H100 80GB HBM3", "processes": 32, "tokens": phase["tokens"],
                "train_seconds": 35_000.0, "wall_seconds": 36_000.0, "evaluate_seconds": 900.0,
                "gpu_hours": 320.0, "processor_hours": None, "attempts": 2, "restarts": 1,
                "failures": 0, "shared_with": [], "trained_by": None,
            }
            for phase in phases
        ],
        "variants": [
            {"cell": row["cell"], "variant": row["name"], "phases": row["phases"]}
            | numbers
            | {"is_complete": True}
            for row in rows
        ],
        "total": {"phases": len(phases)} | numbers,
    }  # fmt: skip
