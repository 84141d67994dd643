"""Runs tasks one after another on a model and writes each one's results as soon as it has them."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.tasks.answers import answers_in
from megatron_codemix.evaluation.tasks.remembering import Progress, RememberingModel
from megatron_codemix.evaluation.tasks.results import ResultFolder
from megatron_codemix.files import Json

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """What a task found out."""

    items: Sequence[Mapping[str, Json]]
    """A line each."""
    summary: Mapping[str, Json]
    """Its scores and counts."""


class Task(Protocol):
    """A task whose data is there."""

    @property
    def name(self) -> str:
        """What its files are called."""

    @property
    def settings(self) -> Mapping[str, Json]:
        """What its results depend on besides the model: the data's hash, the limit, ..."""

    def run(self, model: LanguageModel) -> TaskResult:
        """Asks the model all that it needs, in as few calls as it can."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """Whose results these are; written into every summary."""

    identity: str
    """Of the run."""
    step: int
    tokenizer_hash: str
    layout: Mapping[str, int]


def evaluate_tasks(
    model: LanguageModel,
    tasks: Sequence[Task],
    subject: Subject,
    folder: ResultFolder,
    *,
    progress: Callable[[str], Progress],
    again: bool = False,
) -> list[Mapping[str, Json]]:
    """The summaries, in the order of the tasks.

    A task that is finished with the same settings is not run again unless asked; one that was cut
    short goes on with the answers that it has.
    """
    summaries: list[Mapping[str, Json]] = []
    for task in tasks:
        settings = {
            "identity": subject.identity,
            "step": subject.step,
            "tokenizer": subject.tokenizer_hash,
            **task.settings,
        }
        summary = None if again else folder.finished(task.name, settings)
        if summary is None:
            summary = _evaluate(model, task, settings, subject, folder, progress(task.name))
        else:
            log.info("%s: has been evaluated with these settings", task.name)
            # Left where a kill came between the summary and its removal.
            folder.answers(task.name).unlink(missing_ok=True)
        summaries.append(summary)
    return summaries


def _evaluate(
    model: LanguageModel,
    task: Task,
    settings: Mapping[str, Json],
    subject: Subject,
    folder: ResultFolder,
    progress: Progress,
) -> dict[str, Json]:
    started = time.monotonic()
    with answers_in(folder.answers(task.name), settings) as answers:
        known = len(answers)
        if known:
            log.info("%s: goes on with %d answers of an earlier evaluation", task.name, known)
        result = task.run(RememberingModel(model, answers, progress))
        summary = {
            "task": task.name,
            "step": subject.step,
            "layout": dict(subject.layout),
            **result.summary,
            "answers_kept_from_before": known,
            "seconds": time.monotonic() - started,
            "settings": dict(settings),
        }
        folder.write(task.name, result.items, summary)
    return summary
