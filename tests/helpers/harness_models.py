"""Language models of lm-evaluation-harness whose scores are known in advance."""

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from megatron_codemix.evaluation.suites.prepare import PreparedTask

Key = tuple[str | None, int | None, int]  # task, item, choice
SMALL = -1e4  # nats: what a model thinks of a wrong answer


def results_of(model: LM, tasks: Sequence[PreparedTask]) -> dict[str, dict[str, Any]]:
    """Metrics by task and name (`acc`, `acc_stderr`), of the harness's own loop. Not of
    `simple_evaluate`, which then asks pip and the compilers for their versions, 1 s each time."""
    from lm_eval.evaluator import evaluate

    for one in tasks:
        one.task.set_config(key="num_fewshot", value=0)
        one.task.set_fewshot_seed(seed=1234)
    found = evaluate(
        lm=model,
        task_dict={"tasks": {one.name: one.task for one in tasks}, "groups": {}},
        bootstrap_iters=1,
        log_samples=False,
    )
    return {
        task: {name.partition(",")[0]: value for name, value in metrics.items()}
        for task, metrics in found["results"].items()
    }


class UniformModel(LM):
    """Every byte has the probability 1/256; says nothing.

    Spaces at the end of a context are scored with what follows, as by the harness's own models.
    """

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(self._nats(_scored(*one.args)), False) for one in requests]

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        return [self._nats(one.args[0]) for one in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [""] * len(requests)

    def _nats(self, text: str) -> float:
        return -len(text.encode()) * math.log(256)


class RandomModel(UniformModel):
    """Scores that have nothing to do with the text: draws from one generator."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.generator = random.Random(seed)

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(-100 * self.generator.random(), False) for _ in requests]


class MemorisedModel(UniformModel):
    """Knows the right answer of every item of some tasks, and thinks little of any other.

    answers: what to generate for an item, by task; elsewhere its (first) target.
    """

    def __init__(
        self,
        tasks: Sequence[PreparedTask],
        answers: Mapping[str, Callable[[Mapping[str, Any]], str]] | None = None,
    ) -> None:
        super().__init__()
        self.answers: dict[Key, str] = {}
        for prepared in tasks:
            task = prepared.task
            for number, doc in enumerate(task.eval_docs):
                if task.OUTPUT_TYPE == "multiple_choice":
                    self.answers[prepared.name, number, task.gold(doc)] = ""
                else:
                    answer = (answers or {}).get(prepared.name, task.doc_to_target)(doc)
                    self.answers[prepared.name, number, 0] = (
                        answer[0] if isinstance(answer, list) else answer
                    )

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        return [(0.0, True) if _key(one) in self.answers else (SMALL, False) for one in requests]

    def generate_until(self, requests: list[Instance]) -> list[str]:
        return [self.answers[_key(one)] for one in requests]


def _scored(context: str, continuation: str) -> str:
    return context[len(context.rstrip()) :] + continuation


def _key(request: Instance) -> Key:
    return request.task_name, request.doc_id, request.idx
