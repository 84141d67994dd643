"""The safety tasks as `evaluate_tasks` runs them: their settings, their files, going on."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.errors import ConfigError
from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.evaluation.safety.options import SafetyOptions
from megatron_codemix.evaluation.safety.prepare import SAFETY_TASKS, prepare_safety
from megatron_codemix.evaluation.tasks.results import ResultFolder
from megatron_codemix.evaluation.tasks.run import Subject, Task, evaluate_tasks
from megatron_codemix.files import read_json
from megatron_codemix.obs.progress import progress_bar
from megatron_codemix.results import read_items, read_task_summary
from megatron_codemix.runs import RunDirectory
from tests.helpers.language_models import ByteModel
from tests.helpers.reading import read_run
from tests.helpers.tiny import write_run

pytestmark = pytest.mark.usefixtures("isolation")

SUBJECT = Subject(identity="i" * 64, step=20, tokenizer_hash="t" * 64, layout={"tensor": 1})
SMALL = SafetyOptions(
    prefix_tokens=8,
    continuation_tokens=8,
    documents_per_source=5,
    open_generations=6,
    completions_per_prompt=2,
    num_prompts=3,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    folder = tmp_path_factory.mktemp("run")
    return read_run(folder / "run", write_run(folder))


def prepare(run: RunDirectory, options: SafetyOptions = SMALL) -> list[Task]:
    return prepare_safety(SAFETY_TASKS, load_run_config(run.config), run, options)


def evaluate(model: ByteModel, run: RunDirectory, folder: ResultFolder) -> list[dict]:
    def progress(task: str):
        return lambda description, total: progress_bar(f"{task}: {description}", total, "answers")

    return evaluate_tasks(model, prepare(run), SUBJECT, folder, progress=progress)


class Stopped(ByteModel):
    """Ends after some answers."""

    def generate(
        self,
        requests: Sequence[GenerationRequest],
        on_result: Callable[[int, Generation], None],
    ) -> None:
        super().generate(requests[:2], on_result)
        raise KeyboardInterrupt


def test_every_task_leaves_items_and_a_summary(tmp_path: Path, run: RunDirectory):
    evaluated = RunDirectory(tmp_path)
    evaluated.evaluation.mkdir()
    folder = ResultFolder(evaluated.evaluation)
    summaries = evaluate(ByteModel(tmp_path, max_length=1024), run, folder)
    assert [summary["task"] for summary in summaries] == list(SAFETY_TASKS)
    for summary in summaries:
        name = summary["task"]
        assert read_json(folder.summary(name)) == summary
        assert len(read_items(evaluated, name)) == summary["items"] > 0
        assert read_task_summary(evaluated, name) == summary
        assert summary["reported"] in summary["metrics"]
        assert summary["random_baseline"] is None
        for metric in summary["metrics"].values():
            assert set(metric) == {"value", "stderr", "interval", "items"}


def test_a_task_goes_on_with_the_answers_that_it_has(tmp_path: Path, run: RunDirectory):
    folder = ResultFolder(tmp_path / "stopped")
    folder.path.mkdir()
    with pytest.raises(KeyboardInterrupt):
        evaluate(Stopped(tmp_path, max_length=1024), run, folder)
    model = ByteModel(tmp_path, max_length=1024)
    [weaknesses, *_] = evaluate(model, run, folder)
    assert weaknesses["answers_kept_from_before"] == 2
    (tmp_path / "whole").mkdir()
    [whole, *_] = evaluate(model, run, ResultFolder(tmp_path / "whole"))
    assert weaknesses["metrics"] == whole["metrics"]


def test_settings_say_what_results_depend_on(run: RunDirectory):
    first = {task.name: task.settings for task in prepare(run)}
    again = {task.name: json.loads(json.dumps(task.settings)) for task in prepare(run)}
    assert first == again
    other = prepare(run, SMALL.limited(2))
    assert all(task.settings != first[task.name] for task in other)


def test_a_limit_never_asks_for_more():
    assert SMALL.limited(1000) == SMALL
    limited = SMALL.limited(2)
    assert (limited.num_prompts, limited.documents_per_source, limited.open_generations) == (2,) * 3


def test_unknown_names_are_refused(run: RunDirectory):
    with pytest.raises(ConfigError, match="safety_weakness: no safety task; there are safety_we"):
        prepare_safety(["safety_weakness"], load_run_config(run.config), run, SMALL)


def test_preparing_needs_no_torch():
    code = (
        "import sys\n"
        "sys.modules['torch'] = sys.modules['megatron'] = None  # importing them raises\n"
        "import megatron_codemix.evaluation.safety.prepare\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
