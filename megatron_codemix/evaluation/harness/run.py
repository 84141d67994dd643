"""Runs tasks one after another on a model and writes each one's results as soon as it has them."""

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol

from lm_eval.evaluator import evaluate

from megatron_codemix.evaluation.answers import answers_in
from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.harness.language_model import HarnessModel
from megatron_codemix.evaluation.harness.results import Metrics, ResultFolder, metrics_of
from megatron_codemix.evaluation.remembering import Progress, RememberingModel
from megatron_codemix.files import Json

log = logging.getLogger(__name__)

BOOTSTRAP_SAMPLES = 100
"""For standard errors that have no closed form, such as BLEU's."""


class Task(Protocol):
    """A task whose data is there."""

    @property
    def name(self) -> str:
        """What its files are called."""

    @property
    def loaded(self) -> Any:  # Any: the harness's own
        """What the harness's task manager gives for it: tasks and groups."""

    @property
    def settings(self) -> Mapping[str, Json]:
        """What its results depend on besides the model: the data's hash, the limit, ..."""

    def judged(self, metrics: Metrics) -> Mapping[str, Json]:
        """What the suite adds to the summary: which metric is reported, whether it is above
        random."""


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
    os.environ["DISABLE_MULTIPROC"] = "1"  # its bootstrap would fork this process
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    summaries: list[Mapping[str, Json]] = []
    for task in tasks:
        settings = {
            "identity": subject.identity,
            "step": subject.step,
            "tokenizer": subject.tokenizer_hash,
            "harness": version("lm_eval"),
            **task.settings,
        }
        summary = None if again else folder.finished(task.name, settings)
        if summary is None:
            summary = _evaluate(model, task, settings, subject, folder, progress(task.name))
        else:
            log.info("%s: has been evaluated with these settings", task.name)
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
        harness = HarnessModel(RememberingModel(model, answers, progress))
        results = evaluate(
            lm=harness,
            task_dict=task.loaded,
            bootstrap_iters=BOOTSTRAP_SAMPLES,
            confirm_run_unsafe_code=True,  # refused, or run in the sandbox, before it comes here
        )
        parts = {name: metrics_of(record) for name, record in results["results"].items()}
        metrics = parts.pop(task.name, {})
        summary = {
            "task": task.name,
            "step": subject.step,
            "layout": dict(subject.layout),
            **task.judged(metrics),
            "metrics": metrics,
            **({"subtasks": parts} if parts else {}),
            "items": sum(count["effective"] for count in results["n-samples"].values()),
            "truncated_prompts": harness.cuts.prompts,
            "truncated_tokens": harness.cuts.tokens,
            "shortened_generations": harness.cuts.generations,
            "answers_kept_from_before": known,
            "seconds": time.monotonic() - started,
            "settings": dict(settings),
        }
        samples = [sample for lines in results["samples"].values() for sample in lines]
        folder.write(task.name, samples, summary)
    return summary
