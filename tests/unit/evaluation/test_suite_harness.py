"""The task files under the harness's own command, and its tasks beside ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks import TaskManager

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.harness_names import harness_names
from megatron_codemix.evaluation.suites.prepare import (
    _first_metric,
    _harness_tasks,
    expand,
    prepare_tasks,
)
from megatron_codemix.evaluation.suites.registry import TASK_FOLDER
from tests.helpers.task_records import write_all


@pytest.mark.slow
def test_the_harness_runs_our_files_by_itself(tmp_path: Path) -> None:
    """`lm_eval --include_path`, with its dummy model."""
    write_all(tmp_path, ["cosqa"])
    metadata = json.dumps({"data_dir": str(tmp_path)})
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "dummy", "--tasks", "cosqa"]
    command += ["--include_path", str(TASK_FOLDER), "--metadata", metadata]
    done = subprocess.run(
        [*command, "--output_path", str(tmp_path / "out")],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    (results,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(results.read_text())["results"]["cosqa"]
    assert {"acc,none", "bits_per_byte,none", "choice_probability,none"} <= set(found)
    assert found["sample_len"] == 2


def test_the_metric_of_a_task_of_the_harness_is_named_as_in_results() -> None:
    def data(**_: object) -> dict[str, Dataset]:
        return {"test": Dataset.from_list([{"question": "1 + 1", "answer": "2"}])}

    config = {
        "task": "sums",
        "custom_dataset": data,
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "question",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": ["."]},
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }
    strict = {"name": "strict", "filter": [{"function": "take_first"}]}

    assert _first_metric(ConfigurableTask(config=dict(config))) == "exact_match"
    with_filter = ConfigurableTask(config={**config, "filter_list": [strict]})
    assert _first_metric(with_filter) == "exact_match/strict"


@pytest.mark.slow
def test_the_harness_own_tasks_are_let_through_but_need_their_data() -> None:
    assert expand(["lambada_openai"]) == ["lambada_openai"]
    with pytest.raises(DataError) as caught:
        prepare_tasks(["lambada_openai"], None)
    assert str(caught.value).startswith(
        "lambada_openai: a task of the harness's own, whose data could not be loaded from Hugging "
        "Face's cache on this machine"
    )
    assert harness_names() == _harness_tasks().all_tasks


FILES = {
    "a.yaml": "task: plain\ntag: one\n",
    "b.yaml": "include: shared/base_yaml\ntask: with_includes # a comment\n",
    "c.yaml": "include:\n  - ./a.yaml\n  - 'shared/base_yaml'\ntask: 'over-riding.v2'\ntag: []\n",
    "d.yaml": "task: plain\ntag: of_a_second_of_that_name\n",
    "e.yaml": "group: all_of_them\ntask:\n  - plain\n  - task: inner\n    tag: inner_tag\ntag: x\n",
    "f.yaml": 'tag:\n- one\n- "two"\n-   three\n"task": quoted_key\n',
    "g.yaml": "tag: [four, five]\ntask: of_a_list\ndoc_to_text: |\n  task: no_task\n",
    "h.yaml": "task: null\ngroup: six\n",
    "i.yaml": "class: !function code.Mine\ntask: of_a_class\ngroup: its_group\n",
    "j.yaml": "{task: in_braces, tag: seven}\n",
    "k.yaml": "task: [broken\n",
    "l.yaml": "include: l.yaml\ntask: endless\n",
    "m.yaml": "include: nowhere_yaml\ntask: lost\n",
    "n.yaml": "task: >-\n  folded\n  name\n",
    "o.yaml": "output_type: generate_until\n",
    "p.yaml": "task: first\ntask: second\n",
    "deep/er/a.yaml": "include: ../../shared/base_yaml\ntask: deep\n",
    "shared/base_yaml": "tag: [shared, eight]\ntask_list: [x]\ndoc_to_text: !function code.text\n",
    "__pycache__/a.yaml": "task: not_read\n",
}


def test_names_are_read_as_the_harness_reads_them(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    theirs = TaskManager(include_path=tmp_path, include_defaults=False).all_tasks

    assert harness_names(tmp_path) == theirs
    assert {"over-riding.v2", "shared", "five", "folded name", "second"} <= set(theirs)
