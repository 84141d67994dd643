"""One measurement of `copies`: a process that forks the ranks, as `codemix evaluate` does."""

import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lm_eval.api.instance import Instance

from megatron_codemix.bench.evaluate.items import CHOICE_TASKS
from megatron_codemix.evaluation.engine.model import run_with_model
from megatron_codemix.evaluation.engine.requests import LanguageModel
from megatron_codemix.evaluation.harness.language_model import HarnessModel
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.evaluation.suites.prepare import prepare_tasks
from megatron_codemix.files import read_json, write_json
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.launch.ranks import run_ranks
from megatron_codemix.runs import RunDirectory


def measure(job: dict[str, Any]) -> int:  # Any: JSON values
    """Writes the seconds of each kind of work to `out`; exit code of the ranks."""
    options = {"until": [], "max_gen_toks": job["max_new_tokens"], "do_sample": False}
    prompts = [
        Instance("generate_until", doc={}, arguments=(prompt, options), idx=number)
        for number, prompt in enumerate(job["prompts"])
    ]
    questions = _choice_requests(Path(job["choices"]), job["num_items"])

    def body(model: LanguageModel) -> None:
        harness = HarnessModel(model)
        harness.loglikelihood(questions[:8])  # memory is taken, kernels are chosen
        harness.generate_until(prompts[:2])
        write_json(
            Path(job["out"]),
            {
                "multiple choice": _seconds(lambda: harness.loglikelihood(questions)),
                "generation": _seconds(lambda: harness.generate_until(prompts)),
            },
        )

    def rank_main(context: RankContext) -> int:
        warnings.simplefilter("ignore")  # megatron-core warns of its own defaults
        run_with_model(RunDirectory(Path(job["run"])), EvaluationLayout(), context, body)
        return 0

    return run_ranks(rank_main, job["num_copies"])


def _choice_requests(folder: Path, num_items: int) -> list[Instance]:
    requests: list[Instance] = []
    for prepared in prepare_tasks(CHOICE_TASKS, folder, num_items):
        prepared.task.set_config(key="num_fewshot", value=0)
        prepared.task.build_all_requests(rank=0, world_size=1)
        requests += prepared.task.instances
    return requests


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(measure(read_json(Path(sys.argv[1]))))
