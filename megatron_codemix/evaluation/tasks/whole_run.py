"""Evaluates a run on tasks, in the process that drives its model."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager

from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.tasks.remembering import Progress
from megatron_codemix.evaluation.tasks.results import ResultFolder
from megatron_codemix.evaluation.tasks.run import Subject, Task, evaluate_tasks
from megatron_codemix.files import Json, write_json
from megatron_codemix.obs.progress import Advance, progress_bar
from megatron_codemix.run_checkpoints import require_done
from megatron_codemix.runs import EVALUATED_TASKS, RunDirectory


def evaluate_run(
    model: LanguageModel,
    run: RunDirectory,
    tasks: Sequence[Task],
    *,
    step: int | None,
    layout: Mapping[str, int],
    folder: ResultFolder,
    asked: Mapping[str, Json],
    again: bool,
) -> None:
    """Writes the results of the tasks.

    step: of the checkpoint that the model is; None: the last of a finished run.
    layout: of the model; written into the summaries.
    asked: what was asked for, in the user's words; kept beside the results of all tasks.
    """
    status = require_done(run) if step is None else run.require_status()
    subject = Subject(
        identity=status.identity,
        step=status.step if step is None else step,
        tokenizer_hash=model.tokenizer.hash,
        layout=layout,
    )
    evaluate_tasks(model, tasks, subject, folder, progress=_bars, again=again)
    done = {"step": subject.step, **asked, "tasks": [task.name for task in tasks]}
    write_json(folder.path / EVALUATED_TASKS, done)


def _bars(task: str) -> Progress:
    def bar(description: str, total: int) -> AbstractContextManager[Advance]:
        return progress_bar(f"{task}: {description}", total, "requests")

    return bar
