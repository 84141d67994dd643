"""One rank's part of evaluating a run on tasks."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path

from megatron_codemix.evaluation.engine.model import run_with_model
from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.evaluation.tasks.remembering import Progress
from megatron_codemix.evaluation.tasks.results import ResultFolder
from megatron_codemix.evaluation.tasks.run import Subject, Task, evaluate_tasks
from megatron_codemix.files import Json, write_json
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.obs.log import setup_logging
from megatron_codemix.obs.progress import Advance, progress_bar
from megatron_codemix.runs import EVALUATED_TASKS, RunDirectory, require_done

log = logging.getLogger(__name__)


def evaluate_tasks_rank(
    run: RunDirectory,
    tasks: Sequence[Task],
    layout: EvaluationLayout,
    context: RankContext,
    *,
    folder: Path,
    asked: Mapping[str, Json],
    again: bool,
    max_batch_tokens: int | None,
) -> None:
    """Loads the run's last checkpoint with the other ranks; rank 0 runs the tasks and writes their
    results to `folder`. Only rank 0 needs the tasks.

    asked: what was asked for, in the user's words; kept beside the results of all tasks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    setup_logging(context.rank, folder / f"rank{context.rank}.log")

    def body(model: LanguageModel) -> None:
        status = require_done(run)
        data_size = context.world_size // (layout.tensor * layout.pipeline)
        subject = Subject(
            identity=status.identity,
            step=status.step,
            tokenizer_hash=model.tokenizer.hash,
            layout=asdict(layout) | {"data": data_size},
        )
        evaluate_tasks(model, tasks, subject, ResultFolder(folder), progress=_bars, again=again)
        done = {"step": status.step, **asked, "tasks": [task.name for task in tasks]}
        write_json(folder / EVALUATED_TASKS, done)

    run_with_model(run, layout, context, body, max_batch_tokens=max_batch_tokens)


def _bars(task: str) -> Progress:
    def bar(description: str, total: int) -> AbstractContextManager[Advance]:
        return progress_bar(f"{task}: {description}", total, "requests")

    return bar
