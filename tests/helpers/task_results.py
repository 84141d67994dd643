"""Benchmarks of a study as their evaluation leaves them."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from megatron_codemix.files import write_json, write_text
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree

Answers = Mapping[str, NDArray[np.float64]]
"""Task -> score of each item."""


def write_task_results(
    tree: StudyTree,
    out: Path,
    node: PhaseNode,
    answers: Answers,
    *,
    metrics: Mapping[str, str] | None = None,
    not_above_random: tuple[str, ...] = (),
) -> None:
    """Items and summaries; each score is the mean of its items. metrics: of tasks that are not
    reported by accuracy."""
    run, asked = tree.run_directory(out, node), tree.spec.evaluation.tasks
    assert asked is not None
    for name, scores in answers.items():
        metric = (metrics or {}).get(name, "acc")
        lines = [{"item": number, metric: float(one)} for number, one in enumerate(scores)]
        stem = run.evaluation / name
        write_text(Path(f"{stem}.jsonl"), "".join(json.dumps(line) + "\n" for line in lines))
        error = float(scores.std(ddof=1) / np.sqrt(len(scores)))
        summary = {
            "reported": metric,
            "metrics": {metric: {"value": float(scores.mean()), "stderr": error}},
            "items": len(scores),
            "random_baseline": 0.5,
            "above_random": name not in not_above_random,
        }
        write_json(Path(f"{stem}.summary.json"), summary)
    done = {
        "step": tree.plan(node).num_steps,
        "names": asked.names,
        "data_dir": None,
        "limit": None,
        "tasks": ["heldout", *answers],
    }
    write_json(run.evaluation / "tasks.json", done)
