"""Our tasks ask what the harness's own tasks ask: the same requests, stops and right answers."""

from pathlib import Path
from typing import Any

import lm_eval
import pytest
from datasets import Dataset
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml

from megatron_codemix.evaluation.suites.prepare import prepare_tasks
from tests.helpers.task_records import HUB, write_all

HARNESS_TASKS = Path(lm_eval.__file__).parent / "tasks"
FILES = {
    "boolq": "super_glue/boolq/default.yaml",
    "piqa": "piqa/piqa.yaml",
    "sciq": "sciq/sciq.yaml",
    "social_iqa": "siqa/siqa.yaml",
    "cb": "super_glue/cb/default.yaml",
    "copa": "super_glue/copa/default.yaml",
    "storycloze_2016": "storycloze/storycloze_2016.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml",
    "arc_easy": "arc/arc_easy.yaml",
    "triviaqa": "triviaqa/default.yaml",
    "nq_open": "nq_open/nq_open.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
    "humaneval": "humaneval/humaneval.yaml",
    "mbpp": "mbpp/mbpp.yaml",
}
RUN_BY_EVALUATE = ("humaneval", "mbpp")
"""Their functions are of a package that downloads its code when it is imported."""
ANSWERS = {
    "triviaqa": ["water", " The SEA", "a bird!", "sand", ""],
    "nq_open": ["the may 5", "May 5", "5th of May", "Sue", "kim."],
    "gsm8k": ["so 1,002\n#### 1,002", "#### 1002.", "It is 1.", "$1,002", "#### 2", "", "one"],
}
CHOICES = [name for name in FILES if name not in ANSWERS and name not in RUN_BY_EVALUATE]


def harness_task(name: str) -> ConfigurableTask:
    """The harness's task as it defines it, on our records in place of the hub's."""
    config = load_yaml(HARNESS_TASKS / FILES[name], resolve_func=name not in RUN_BY_EVALUATE)
    if name in RUN_BY_EVALUATE:
        for key in ("metric_list", "filter_list", "fewshot_config", "unsafe_code"):
            config.pop(key, None)
    for key in ("tag", "training_split", "validation_split", "fewshot_split", "dataset_kwargs"):
        config.pop(key, None)

    class OnOurRecords(ConfigurableTask):
        def download(self, *_: object, **__: object) -> None:
            self.dataset = {"test": Dataset.from_list(HUB[name])}

    return OnOurRecords(config={**config, "test_split": "test", "num_fewshot": 0})


def requests_of(task: Any) -> list[list[tuple[Any, ...]]]:
    """What is asked of the model for each item."""
    found = []
    for doc in task.eval_docs:
        made = task.construct_requests(
            doc=doc, ctx=task.fewshot_context(doc, 0), metadata=("", 0, 1)
        )
        found.append([one.args for one in (made if isinstance(made, list) else [made])])
    return found


@pytest.mark.parametrize("name", FILES)
def test_requests_are_those_of_the_harness(name: str, tmp_path: Path) -> None:
    (ours,) = prepare_tasks([name], write_all(tmp_path, [name]))
    theirs = harness_task(name)

    assert requests_of(ours.task) == requests_of(theirs)


@pytest.mark.parametrize("name", CHOICES)
def test_the_right_answer_is_that_of_the_harness(name: str, tmp_path: Path) -> None:
    """By the metrics of a model that prefers one choice: the same for each choice in turn."""
    (ours,) = prepare_tasks([name], write_all(tmp_path, [name]))
    theirs = harness_task(name)

    for doc, original in zip(ours.task.eval_docs, theirs.eval_docs, strict=True):
        count = len(ours.task.doc_to_choice(doc))
        for preferred in range(count):
            results = [(0.0 if one == preferred else -50.0, False) for one in range(count)]
            found = ours.task.process_results(doc, results)
            expected = theirs.process_results(original, results)
            shared = {name: expected[name] for name in expected if name != "f1"}
            assert {name: found[name] for name in shared} == shared


@pytest.mark.parametrize("name", ANSWERS)
def test_answers_are_read_and_scored_as_by_the_harness(name: str, tmp_path: Path) -> None:
    """Through the filters: what they leave of an answer is what is scored."""
    (ours,) = prepare_tasks([name], write_all(tmp_path, [name]))
    found, expected = scores_of(ours.task, name), scores_of(harness_task(name), name)

    assert found == expected
    assert {0.0, 1.0} <= {score for scores in found for score in scores}


def scores_of(task: Any, name: str) -> list[list[float]]:
    """For each answer to each item: its exact match in every way to read it."""
    found = []
    for answer in ANSWERS[name]:
        task.build_all_requests()
        for one in task.instances:
            one.resps = [answer]
        task.apply_filters()
        for one in task.instances:
            results = [
                task.process_results(one.doc, [kept]) for kept in one.filtered_resps.values()
            ]
            found.append([float(one["exact_match"]) for one in results])
    return found
