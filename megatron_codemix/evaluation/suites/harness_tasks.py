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
from lm_eval.utils import apply_template

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites import metrics
from megatron_codemix.evaluation.suites.data import TaskData, read_task
from megatron_codemix.evaluation.suites.programs import CHECKS, pass_at_k, run_checks
from megatron_codemix.evaluation.suites.registry import all_tasks

Document = Mapping[str, Any]
Metrics = dict[str, Any]
Encode = Callable[[str], Sequence[int]]

PASS_AT = (1, 2, 5, 10, 20, 50, 100, 200)
"""Each k of pass@k, as far as there are samples enough."""


class SuiteTask(ConfigurableTask):  # type: ignore[misc]  # the harness ships no types
    """A task file's task on the data below `metadata.data_dir`, the first `metadata.limit` items.

    Adds to the harness's metrics, for multiple choice: `bits_per_byte` of the right answer,
    `choice_probability` (softmax over the choices' log-likelihoods), the same of log-likelihoods
    divided by bytes, and with a tokenizer `acc_per_token`. For a text, after a prompt or by itself:
    its `bits_per_byte`, and with a tokenizer `loss_per_token`. Raises DataError.
    """

    data: TaskData
    encode: Encode | None = None
    """Tokens of a text, by the model's tokenizer; set before scoring where metrics count tokens."""

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

    def process_results(self, doc: Document, results: Sequence[Any]) -> Metrics:
        match self.OUTPUT_TYPE:
            case "multiple_choice":
                scores = [log_likelihood for log_likelihood, _ in results]
                found: Metrics = super().process_results(doc, results)
                return found | self._choice_metrics(doc, scores)
            case "loglikelihood":
                ((log_likelihood, _),) = results
                (text,) = self.scored_texts(doc)
                return {"bits_per_byte": metrics.bits_per_byte(log_likelihood, text)}
            case "loglikelihood_rolling":
                return self._text_metrics(self.doc_to_target(doc), results[0])
            case _:
                return dict(super().process_results(doc, results))

    def gold(self, doc: Document) -> int:
        """Number of the right choice."""
        gold = self.doc_to_text(doc) if self.multiple_input else self.doc_to_target(doc)
        return int(gold)

    def scored_texts(self, doc: Document) -> list[str]:
        """What a model scores for each choice: the choice, or what follows it. The harness's models
        take spaces at the end of a context for the beginning of what is scored."""
        context = self.fewshot_context(doc, 0)
        made = self.construct_requests(doc=doc, ctx=context, metadata=(self.config.task, 0, 1))
        pairs = [one.args for one in (made if isinstance(made, list) else [made])]
        return [before[len(before.rstrip()) :] + text for before, text in pairs]

    def standard_errors(self, samples: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
        """Of the metrics that are no plain means, for which the harness has none; samples: its
        records of the items."""
        names = [name for name in samples[0]["metrics"] if isinstance(samples[0][name], tuple)]
        return {name: metrics.standard_error([one[name] for one in samples]) for name in names}

    def aggregation(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        ours = dict.fromkeys(metrics.HIGHER_IS_BETTER, mean)
        if self.OUTPUT_TYPE == "loglikelihood_rolling":
            ours = dict.fromkeys(metrics.HIGHER_IS_BETTER, metrics.ratio)
        return {**ours, **super().aggregation()}

    def higher_is_better(self) -> dict[str, bool]:
        return {**metrics.HIGHER_IS_BETTER, **super().higher_is_better()}

    def _choice_metrics(self, doc: Document, scores: Sequence[float]) -> Metrics:
        texts, gold = self.scored_texts(doc), self.gold(doc)
        found = metrics.answer_metrics(scores, texts, gold)
        if self.encode is not None:
            counts = [len(self.encode(text)) for text in texts]
            found["acc_per_token"] = float(metrics.best_per(scores, counts) == gold)
        return found

    def _text_metrics(self, text: str, log_likelihood: float) -> Metrics:
        """Sums and counts: texts of different lengths weigh as much as they are long."""
        bits = metrics.bits(log_likelihood)
        found: Metrics = {"bits_per_byte": (bits, len(text.encode()))}
        if self.encode is not None:
            found["loss_per_token"] = (-log_likelihood, len(self.encode(text)))
        return found


class TemplateTask(SuiteTask):
    """Its `doc_to_choice` is a template, filled for each of the item's `choices` as `choice` with
    its `number`. Where `doc_to_text` is the number of the right one, it is what stands before a
    text that all have in common, and the choice under which that is the least surprising wins."""

    def doc_to_choice(self, doc: Document, doc_to_choice: str | None = None) -> list[str]:
        template = self.config.doc_to_choice
        return [
            apply_template(template, {**doc, "choice": choice, "number": number})
            for number, choice in enumerate(doc["choices"])
        ]


class ProgramTask(SuiteTask):
    """Answers are programs, which run in the sandbox against the item's tests.

    With `metadata.samples` above 1 each answer is drawn so many times, at `metadata.temperature`,
    and pass@k is estimated from them. `metadata.program` names what the answer is.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        said = config["metadata"]
        samples = said.get("samples", 1)
        if samples > 1:
            drawn = {"do_sample": True, "temperature": said["temperature"], "top_p": 0.95}
            kwargs = {**config["generation_kwargs"], **drawn}
            config = {**config, "repeats": samples, "generation_kwargs": kwargs}
        super().__init__(config)

    def apply_filters(self) -> None:
        """Runs all programs; an answer is from here on {"program", "outcome"}."""
        check_of = CHECKS[self.config.metadata["program"]]
        answers = [(one.doc, answer) for one in self.instances for answer in one.resps]
        checks = [check_of(doc, answer) for doc, answer in answers]
        outcomes = run_checks(checks, unsafe=self.config.metadata.get("unsafe", False))
        statuses = iter([one.status for one in outcomes])
        for instance in self.instances:
            instance.filtered_resps["none"] = [
                {"program": answer, "outcome": next(statuses)} for answer in instance.resps
            ]

    def process_results(self, doc: Document, results: Sequence[Any]) -> Metrics:
        (answers,) = results
        num_passed = sum(one["outcome"] == "passed" for one in answers)
        found: Metrics = {
            f"pass@{k}": pass_at_k(len(answers), num_passed, k)
            for k in PASS_AT
            if k <= len(answers)
        }
        if "bleu" in self.config.metadata["metrics"]:
            found["bleu"] = (self._tokens(doc["code"]), self._tokens(answers[0]["program"]))
        return found

    def aggregation(self) -> dict[str, Callable[[Sequence[Any]], float]]:
        ours = {f"pass@{k}": mean for k in PASS_AT}
        return {**super().aggregation(), **ours, "bleu": metrics.bleu}

    def higher_is_better(self) -> dict[str, bool]:
        ours = {f"pass@{k}": True for k in PASS_AT}
        return {**super().higher_is_better(), **ours, "bleu": True}

    def _tokens(self, program: str) -> str:
        if self.encode is None:
            raise DataError(
                f"{self.config.task}: BLEU is over the model's tokens: set the task's `encode`, "
                "as codemix evaluate does"
            )
        return " ".join(map(str, self.encode(program)))
