"""Which items the measures of a report are made of: each run's own, each file read once."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from megatron_codemix.files import write_text
from megatron_codemix.report.collect import collect
from megatron_codemix.report.items import ItemStore
from megatron_codemix.report.tables import build_report
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree
from tests.helpers.study_files import (
    OTHER_HELD_OUT,
    STUDY,
    small_tree,
    write_all,
    write_evaluated,
    write_trained,
)
from tests.helpers.task_results import write_task_results

SOURCES = ("code", "text")
BYTES = 100
"""Of each document."""


def write_documents(tree: StudyTree, out: Path, node: PhaseNode, count: int) -> None:
    """An evaluation on so many documents of each source, some harder than others."""
    run = write_trained(tree, out, node)
    level = len(node.name)
    lines: list[dict[str, Any]] = [
        {"source": source, "document": number, "id": f"{count}.{number}", "bytes": BYTES}
        | {"nats": 100.0 + level * (1 + number % 3)}
        for source in SOURCES
        for number in range(count)
    ]
    of_one = sum(line["nats"] for line in lines) / len(SOURCES)
    write_evaluated(tree, run, dict.fromkeys(SOURCES, of_one), num_bytes=count * BYTES)
    write_text(run.evaluation / "heldout.jsonl", "".join(json.dumps(x) + "\n" for x in lines))


def test_cells_that_share_a_training_have_their_own_documents(tmp_path: Path) -> None:
    """Two of three phases are the same runs, measured in two folders."""
    tree, out = small_tree(tmp_path, OTHER_HELD_OUT), tmp_path / "out"
    documents = {"little": 5, "much": 7}
    for node in tree.nodes.values():
        write_documents(tree, out, node, documents[node.cell])
    paths = {tree.run_directory(out, node).path for node in tree.nodes.values()}
    assert len(paths) == 4
    for row in build_report(collect(tree, out))["comparisons"]:
        found = (row["method"], row["items"])
        assert found == ("items", documents[row["cell"]]), row["variant"]


def test_the_documents_of_a_run_are_read_once(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    node = tree.nodes["single/text"]
    write_documents(tree, out, node, 5)
    [phase] = collect(tree, out).phases.values()
    store = ItemStore()
    assert store.heldout(phase, "text") is not None
    phase.documents.unlink()
    code = store.heldout(phase, "code")
    assert code is not None
    assert len(code.keys) == 5
    assert store.heldout(phase, "markup") is None


def test_a_variant_without_the_items_of_one_task_keeps_those_of_the_others(tmp_path: Path) -> None:
    """Its average has no interval over items; its other tasks have theirs."""
    tree, out = small_tree(tmp_path, STUDY + "  tasks: {names: [copa, boolq]}\n"), tmp_path / "out"
    names = ("text", "balanced", "balanced-then-text", "cooldown")
    write_all(tree, out, {name: {"text": 2000.0} for name in names})
    for number, node in enumerate(tree.nodes.values()):
        generator = np.random.default_rng(number)
        answers = {task: generator.integers(2, size=20).astype(float) for task in ("copa", "boolq")}
        write_task_results(tree, out, node, answers)
    cooled = tree.run_directory(out, tree.nodes["single/cooldown"])
    (cooled.evaluation / "boolq.jsonl").unlink()
    methods = {
        (row["variant"], row["metric"]): row["method"]
        for row in build_report(collect(tree, out))["comparisons"]
    }
    assert methods["cooled", "average/reasoning"] == "none"
    assert methods["cooled", "task/boolq"] == "none"
    assert methods["cooled", "task/copa"] == "items"
    assert methods["mixed", "average/reasoning"] == methods["mixed", "task/copa"] == "items"
