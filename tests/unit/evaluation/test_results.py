"""What evaluations write passes the checks of who reads it: a line of another form ends a report.
The safety tasks are in test_safety_prepare.py."""

from pathlib import Path

import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.data.held_out import held_out_sources
from megatron_codemix.evaluation.harness.prepared import harness_tasks
from megatron_codemix.evaluation.heldout import HeldOutTask
from megatron_codemix.evaluation.suites.prepare import ProgramOptions
from megatron_codemix.evaluation.suites.registry import all_tasks
from megatron_codemix.evaluation.tasks.results import ResultFolder
from megatron_codemix.evaluation.tasks.run import Task
from megatron_codemix.files import read_json, read_jsonl
from megatron_codemix.results import (
    read_documents,
    read_heldout_summary,
    read_items,
    read_task_summary,
)
from megatron_codemix.runs import RunDirectory
from tests.helpers.language_models import ByteModel
from tests.helpers.task_records import write_all
from tests.helpers.tiny import write_run


def evaluate(tasks: list[Task], run: RunDirectory, folder: Path) -> ResultFolder:
    """Writes what the tasks find out about a model that knows nothing."""
    model, results = ByteModel(folder, max_length=2048), ResultFolder(run.evaluation)
    run.evaluation.mkdir(parents=True)
    for task in tasks:
        found = task.run(model)
        results.write(task.name, found.items, found.summary)
    return results


@pytest.mark.usefixtures("isolation")
def test_items_of_every_suite_are_read_back(tmp_path: Path) -> None:
    """Choices, answers read in one way and in several, texts, BLEU, programs."""
    names, run = list(all_tasks()), RunDirectory(tmp_path / "run")
    tasks = harness_tasks(names, write_all(tmp_path, names), None, ProgramOptions())
    results = evaluate(tasks, run, tmp_path)
    for name in names:
        lines, summary = read_items(run, name), read_task_summary(run, name)
        assert lines == read_jsonl(results.items(name)), name
        assert summary == read_json(results.summary(name)), name
        assert len({line["item"] for line in lines}) == summary["items"] > 0, name
    assert {line["filter"] for line in read_items(run, "gsm8k")} == {
        "strict-match",
        "flexible-extract",
    }


def test_held_out_documents_are_read_back(tmp_path: Path) -> None:
    config, run = load_run_config(write_run(tmp_path)), RunDirectory(tmp_path / "run")
    task = HeldOutTask(held_out_sources(config, 2000), 2000)
    results = evaluate([task], run, tmp_path)
    lines, summary = read_documents(results.items(task.name)), read_heldout_summary(run)
    assert lines == read_jsonl(results.items(task.name))
    assert summary is not None
    counts = [source["documents"] for source in summary["sources"].values()]
    assert len(lines) == sum(counts) > 0
