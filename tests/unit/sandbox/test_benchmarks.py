"""HumanEval and MBPP, whole: the published solutions pass their tests; emptied ones do not."""

import ast
import gzip
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.sandbox.limits import Limits
from megatron_codemix.sandbox.sandbox import Check, Sandbox

DATA = Path(__file__).parents[4] / "shared/data/eval"
HUMANEVAL = DATA / "humaneval/HumanEval.jsonl.gz"
MBPP = DATA / "mbpp/mbpp.jsonl"
pytestmark = pytest.mark.slow  # about a minute for all four on two busy cores
MBPP_TEST_SPLIT = range(11, 511)

Problem = dict[str, Any]  # a line of the file


@pytest.fixture(scope="module")
def sandbox(isolation: None) -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_seconds=60, cpu_seconds=30)) as one:
        yield one


def lines_of(path: Path) -> list[Problem]:
    if not path.is_file():
        pytest.skip(f"{path.name} is not beside this checkout")
    data = path.read_bytes()
    text = gzip.decompress(data) if path.suffix == ".gz" else data
    return [json.loads(line) for line in text.splitlines()]


def human_eval_check(problem: Problem, body: str) -> Check:
    name = problem["entry_point"]
    return Check(
        candidate=problem["prompt"] + body,
        test=f"{problem['test']}\ncheck({name})",
        entry_point=name,
        prompt=problem["prompt"],
    )


def mbpp_check(problem: Problem, code: str) -> Check:
    test = "\n".join([problem["test_setup_code"], *problem["test_list"]])
    used = {node.id for node in ast.walk(ast.parse(test)) if isinstance(node, ast.Name)}
    defined = [node.name for node in functions_of(problem["code"]) if node.name in used]
    return Check(candidate=code, test=test, entry_point=defined[-1])


def parsed(code: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some patterns of MBPP are not raw strings
        return ast.parse(code)


def functions_of(code: str) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(parsed(code)) if isinstance(node, ast.FunctionDef)]


def emptied(code: str) -> str:
    tree = parsed(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.body = [ast.Pass()]
    return ast.unparse(tree)


def assert_all(sandbox: Sandbox, checks: list[Check], status: str) -> None:
    outcomes = sandbox.check_many(checks, 2)
    wrong = [(index, one) for index, one in enumerate(outcomes) if one.status != status]
    assert wrong == []


def test_humaneval_solutions_pass(sandbox: Sandbox) -> None:
    problems = lines_of(HUMANEVAL)
    assert len(problems) == 164
    checks = [human_eval_check(one, one["canonical_solution"]) for one in problems]
    assert_all(sandbox, checks, "passed")


def test_humaneval_without_solutions_fails(sandbox: Sandbox) -> None:
    assert_all(
        sandbox, [human_eval_check(one, "    pass\n") for one in lines_of(HUMANEVAL)], "failed"
    )


def test_mbpp_solutions_pass(sandbox: Sandbox) -> None:
    problems = [one for one in lines_of(MBPP) if one["task_id"] in MBPP_TEST_SPLIT]
    assert len(problems) == 500
    assert_all(sandbox, [mbpp_check(one, one["code"]) for one in problems], "passed")


def test_every_fifth_of_mbpp_fails_without_its_solution(sandbox: Sandbox) -> None:
    problems = [one for one in lines_of(MBPP) if one["task_id"] in MBPP_TEST_SPLIT][::5]
    assert_all(sandbox, [mbpp_check(one, emptied(one["code"])) for one in problems], "failed")
