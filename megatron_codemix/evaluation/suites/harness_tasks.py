"""The harness's task class, reading local data and with metrics that small models move.

Task files name these classes, so that they work under `lm_eval --include_path` too, with
`--metadata '{"data_dir": "..."}'`.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset
from lm_eval.api.metrics import mean
from lm_eval.api.task import ConfigurableTask

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites import metrics
from megatron_codemix.evaluation.suites.data import TaskData, read_task
from megatron_codemix.evaluation.suites.registry import all_tasks

Metrics = dict[str, Any]


class SuiteTask(ConfigurableTask):  # type: ignore[misc]  # the harness ships no types
    """A task file's task on the data below `metadata.data_dir`, the first `metadata.limit` items.

    Adds to the harness's metrics, for multiple choice: `bits_per_byte` of the right answer,
    `choice_probability` (softmax over the choices' log-likelihoods) and the same of log-likelihoods
    divided by bytes. Raises DataError.
    """

    data: TaskData

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config={key: one for key, one in config.items() if key != "class"})

    def download(self, dataset_kwargs: Mapping[str, Any] | None = None, **_: object) -> None:
        """Reads the data; called by the harness's constructor."""
        said = self.config.metadata
        info = all_tasks()[self.config.task]
        if "data_dir" not in said:
            raise DataError(f"{info.name}: name a folder with its data; {info.how_to_get}")
        self.data = read_task(info, Path(said["data_dir"]), said.get("limit"))
        self.dataset = {"test": Dataset.from_list(self.data.documents)}

    def process_results(self, doc: Mapping[str, Any], results: Sequence[Any]) -> Metrics:
        found: Metrics = super().process_results(doc, results)
        if self.OUTPUT_TYPE == "multiple_choice":
            scores = [log_likelihood for log_likelihood, _ in results]
            found |= metrics.answer_metrics(scores, self._scored(doc), self.gold(doc))
        return found

    def gold(self, doc: Mapping[str, Any]) -> int:
        """Number of the right choice."""
        gold = self.doc_to_text(doc) if self.multiple_input else self.doc_to_target(doc)
        return int(gold)

    def _scored(self, doc: Mapping[str, Any]) -> list[str]:
        """What the model scores of each choice: the choice, or what follows it."""
        choices = self.doc_to_choice(doc)
        if self.multiple_input:
            choices = [self.doc_to_target(doc)] * len(choices)
        return [f"{self.config.target_delimiter}{one}" for one in choices]

    def aggregation(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        return {**dict.fromkeys(metrics.HIGHER_IS_BETTER, mean), **super().aggregation()}

    def higher_is_better(self) -> dict[str, bool]:
        return {**metrics.HIGHER_IS_BETTER, **super().higher_is_better()}
