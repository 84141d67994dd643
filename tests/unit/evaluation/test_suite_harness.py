"""The task files under the harness's own command, and its tasks beside ours."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.prepare import expand, prepare_tasks
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


@pytest.mark.slow
def test_the_harness_own_tasks_are_let_through_but_need_their_data() -> None:
    assert expand(["lambada_openai"]) == ["lambada_openai"]
    with pytest.raises(DataError) as caught:
        prepare_tasks(["lambada_openai"], None)
    assert str(caught.value).startswith(
        "lambada_openai: a task of the harness's own, whose data could not be loaded from Hugging "
        "Face's cache on this machine"
    )
