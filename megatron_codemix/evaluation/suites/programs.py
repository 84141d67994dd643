"""Programs that a model has written for HumanEval and MBPP, and the tests that they have to pass.

They run in this project's sandbox, where neither files nor network of the user's are.
"""

import ast
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from megatron_codemix.sandbox.limits import Outcome
from megatron_codemix.sandbox.sandbox import Check, Sandbox

Document = Mapping[str, Any]


def run_checks(checks: Sequence[Check], *, unsafe: bool) -> list[Outcome]:
    """In the order of the checks; as many at a time as there are processors. Raises
    UnavailableError where programs cannot be isolated and `unsafe` does not waive it."""
    with Sandbox(unsafe=unsafe) as sandbox:
        return sandbox.check_many(checks, workers=len(os.sched_getaffinity(0)))


def human_eval_check(document: Document, answer: str) -> Check:
    """The answer goes on where the prompt ends."""
    name = document["entry_point"]
    return Check(
        candidate=document["prompt"] + answer,
        test=f"{document['test']}\ncheck({name})",
        entry_point=name,
        prompt=document["prompt"],
    )


def mbpp_check(document: Document, answer: str) -> Check:
    """The answer is the whole program."""
    test = "\n".join([document["test_setup_code"], *document["test_list"]])
    return Check(candidate=answer, test=test, entry_point=_tested(document["code"], test))


CHECKS: dict[str, Callable[[Document, str], Check]] = {
    "humaneval": human_eval_check,
    "mbpp": mbpp_check,
}


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """Probability that at least one of k drawn samples passes (unbiased; Chen et al. 2021, eq. 1).

    Raises ValueError if k > num_samples: the estimator is undefined there.
    """
    if not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} of {num_samples} samples is undefined")
    return 1 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def _tested(code: str, test: str) -> str | None:
    """The last function of the reference that the test names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some patterns of MBPP are not raw strings
        tree = ast.parse(code)
        defined = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        used = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    return next((name for name in reversed(defined) if name in used), None)
