"""A task of the harness, or a group of them, as one of ours."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from lm_eval.evaluator import evaluate

from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.harness.language_model import HarnessModel
from megatron_codemix.evaluation.suites.harness_tasks import SuiteTask
from megatron_codemix.evaluation.tasks.run import TaskResult
from megatron_codemix.files import Json

Metrics = dict[str, dict[str, float | None]]

BOOTSTRAP_SAMPLES = 100
"""For standard errors that have no closed form, such as BLEU's."""

FEWSHOT_SEED = 1234
"""The harness's own: which examples stand before a question, where a task has any."""

_ONLY_FILTER = "none"


def _nothing(metrics: Metrics) -> Mapping[str, Json]:
    return {}


@dataclass(frozen=True, kw_only=True)
class HarnessTask:
    """What the harness's task manager has loaded, under one name."""

    name: str
    loaded: Any  # Any: the harness's tasks and groups
    limit: int | None = None
    """Only so many items, the first ones."""
    details: Mapping[str, Json] = field(default_factory=dict)
    """What its results depend on besides: the data's hash, ..."""
    judged: Callable[[Metrics], Mapping[str, Json]] = _nothing
    """What a suite adds to the summary: the metric that it reports, whether that is above
    random."""

    @property
    def settings(self) -> Mapping[str, Json]:
        """The limit, the harness's version, and the details."""
        return {"harness": version("lm_eval"), "limit": self.limit, **self.details}

    def run(self, model: LanguageModel) -> TaskResult:
        """Asks the model and scores its answers. Code that it writes runs where the task's own
        scorer says."""
        os.environ["DISABLE_MULTIPROC"] = "1"  # the harness's bootstrap would fork this process
        logging.getLogger("lm_eval").setLevel(logging.ERROR)
        for task in self.loaded["tasks"].values():
            if task.get_config("num_fewshot") is None:
                task.set_config(key="num_fewshot", value=0)
            task.set_fewshot_seed(seed=FEWSHOT_SEED)
            if isinstance(task, SuiteTask):
                task.encode = lambda text: model.tokenizer.encode_batch([text])[0].tolist()
        harness = HarnessModel(model)
        results = evaluate(
            lm=harness,
            task_dict=self.loaded,
            limit=self.limit,
            bootstrap_iters=BOOTSTRAP_SAMPLES,
            confirm_run_unsafe_code=True,  # refused, or run in the sandbox, before it comes here
        )
        samples = results["samples"]
        parts = {name: metrics_of(record) for name, record in results["results"].items()}
        for name, task in self.loaded["tasks"].items():
            if isinstance(task, SuiteTask):
                for metric, error in task.standard_errors(samples[name]).items():
                    parts[name][metric]["stderr"] = error
        metrics = parts.pop(self.name, {})
        summary = {
            **self.judged(metrics),
            "metrics": metrics,
            **({"subtasks": parts} if parts else {}),
            "items": sum(count["effective"] for count in results["n-samples"].values()),
            "truncated_prompts": harness.cuts.prompts,
            "truncated_tokens": harness.cuts.tokens,
            "shortened_generations": harness.cuts.generations,
            "windowed_texts": harness.cuts.windowed,
        }
        return TaskResult(items=list(_lines(samples)), summary=summary)


def metrics_of(record: Mapping[str, Json]) -> Metrics:
    """Metric -> value and standard error, of the harness's `acc,none` and `acc_stderr,none`.

    Where a task reads its answers in several ways (the harness's filters), the name of the way
    follows the metric's: `exact_match/strict-match`.
    """
    metrics: Metrics = {}
    for key, value in record.items():
        name, comma, way = key.partition(",")
        if not comma or name.endswith("_stderr"):
            continue
        error = record.get(f"{name}_stderr,{way}")
        shown = name if way == _ONLY_FILTER else f"{name}/{way}"
        metrics[shown] = {"value": _number(value), "stderr": _number(error)}
    return metrics


def _number(value: Json) -> float | None:
    """None where the harness has no standard error, which it calls `N/A`."""
    return None if value is None or isinstance(value, str) else float(value)


def _lines(samples: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A line for each item and filter, in the order of the data; with the subtask's name where
    there are several."""
    return [
        ({"task": name} if len(samples) > 1 else {}) | _item(sample)
        for name, found in samples.items()
        for sample in sorted(found, key=lambda sample: sample["doc_id"])
    ]


def _item(sample: Mapping[str, Any]) -> dict[str, Any]:
    way = sample["filter"]
    return {
        "item": sample["doc_id"],
        **({} if way == _ONLY_FILTER else {"filter": way}),
        "target": sample["target"],
        "prompts": list(dict.fromkeys(arguments[0] for arguments in sample["arguments"])),
        "answers": sample["filtered_resps"],
        **{metric: sample[metric] for metric in sample["metrics"]},
        "doc": sample["doc"],
    }
