"""Every family: what it draws is right, said in full, and written as a careful engineer writes."""

import ast
import copy
import re
from itertools import islice
from random import Random
from typing import Any

import pytest

from megatron_codemix.corpus.synthesis.blocks import chosen_families
from megatron_codemix.corpus.synthesis.families.registry import FAMILIES
from megatron_codemix.corpus.synthesis.grammar.drawing import NothingDrawn
from megatron_codemix.corpus.synthesis.problem import Family, Problem
from megatron_codemix.corpus.synthesis.values import literal, same
from megatron_codemix.corpus.synthesis.writing.source import WIDTH
from megatron_codemix.errors import DataError

NUM_PROBLEMS = 40
NUM_INPUTS = 20
families = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def drawn(family: Family, count: int = NUM_PROBLEMS) -> list[Problem]:
    problems: list[Problem] = []
    seed = 0
    while len(problems) < count:
        try:
            problem = family.draw(Random(f"{family.name}/{seed}"))
        except NothingDrawn:
            problem = None
        if problem is not None:
            problems.append(problem)
        seed += 1
        assert seed < 10 * count, "most draws lead nowhere"
    return problems


@families
def test_solutions_agree_with_the_oracle(family: Family) -> None:
    """Here in plain Python, without the harness that counts ticks."""
    for problem in drawn(family):
        inputs = list(islice(problem.inputs(Random(1)), NUM_INPUTS))
        for solution in problem.solutions:
            names: dict[str, Any] = {"__name__": "solution"}
            exec(solution.source, names)
            for arguments in inputs:
                given = eval(f"({''.join(f'{literal(one)},' for one in arguments)})", names)
                expected = problem.oracle(*copy.deepcopy(arguments))
                result = names[problem.name](*given)
                wanted = eval(literal(expected), names)
                assert same(result, wanted), (solution.source, arguments)


@families
def test_oracles_leave_their_arguments_alone(family: Family) -> None:
    for problem in drawn(family, 15):
        for arguments in islice(problem.inputs(Random(2)), 8):
            before = literal(tuple(arguments))
            problem.oracle(*arguments)
            assert literal(tuple(arguments)) == before


@families
def test_there_are_several_styles_and_each_is_another_program(family: Family) -> None:
    for problem in drawn(family):
        assert len(problem.solutions) >= 2
        assert len({one.style for one in problem.solutions}) == len(problem.solutions)
        for solution in problem.solutions:
            assert problem.signature().split("(")[0] in solution.source


@families
def test_a_seed_decides_problem_statement_and_inputs(family: Family) -> None:
    for seed in range(12):
        try:
            one, other = (family.draw(Random(seed)) for _ in range(2))
        except NothingDrawn:
            continue
        assert one is not None
        assert other is not None
        assert one.spec == other.spec
        assert one.solutions == other.solutions
        assert one.statement(Random(5)) == other.statement(Random(5))
        pair = [list(islice(each.inputs(Random(3)), 12)) for each in (one, other)]
        assert pair[0] == pair[1]


@families
def test_statements_name_function_and_parameters_and_have_no_leftovers(family: Family) -> None:
    for problem in drawn(family):
        for seed in range(3):
            statement = problem.statement(Random(seed))
            assert problem.name in statement
            for parameter in problem.parameters:
                assert f"`{parameter.name}`" in statement or f"{parameter.name}," in statement
            prose = re.sub(r"`[^`]*`", "code", statement)
            for wrong in ("{", "}", "<", ">", "  ", " ,", "..", ".,", "None", "Code(", " they's"):
                assert wrong not in prose.replace("\n", " \n"), statement
            assert not re.search(r"\b(a) [aeio]", prose.replace("a one", "")), statement
            for sentence in re.split(r"(?<=\.)\s+", statement):
                assert sentence[0] in "`-(" or not sentence[0].islower(), statement


@families
def test_statements_are_phrased_anew(family: Family) -> None:
    changed = [
        len({problem.statement(Random(seed)) for seed in range(6)}) > 1
        for problem in drawn(family, 15)
    ]
    assert all(changed)


@families
def test_solutions_read_like_written_by_hand(family: Family) -> None:
    for problem in drawn(family):
        for solution in problem.solutions:
            for line in solution.source.split("\n"):
                assert len(line) <= WIDTH, line
                assert line == line.rstrip()
                for wrong in (" + 0", " - 0 ", "* 1 ", "not not", "((len(", " + -", " - -", "_2 "):
                    assert wrong not in f"{line} ", line
            tree = ast.parse(solution.source)
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef):
                    assert node.returns is not None, solution.source
                    own = [one for one in node.args.args if one.arg != "self"]
                    assert all(one.annotation is not None for one in own)
            assert not unused_names(tree), solution.source
            helpers = {one.name for one in tree.body if isinstance(one, ast.FunctionDef)}
            read = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
            assert helpers - read - {problem.name} == set(), solution.source


def unused_names(tree: ast.Module) -> set[str]:
    """Names that are assigned and never read; loop variables too, but for the underscore. Fields of
    classes are left out."""
    bodies = [one.body for one in tree.body if isinstance(one, ast.ClassDef)]
    fields = {id(one.target) for body in bodies for one in body if isinstance(one, ast.AnnAssign)}
    names = [
        node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in fields
    ]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return {node.id for node in names if not isinstance(node.ctx, ast.Load)} - read - {"_"}


STATEMENTS = (
    ast.FunctionDef, ast.ClassDef, ast.Return, ast.Assign, ast.AugAssign, ast.For, ast.While,
    ast.If, ast.Expr, ast.Break, ast.Continue, ast.AnnAssign, ast.ImportFrom,
)  # fmt: skip
BUILTINS = {
    "len", "sum", "min", "max", "sorted", "abs", "any", "all", "range", "enumerate", "zip",
    "reversed", "divmod", "str", "int", "list", "set", "dict", "bool", "tuple",
}  # fmt: skip
METHODS = {
    "append", "extend", "pop", "insert", "sort", "add", "get", "items", "keys", "values",
    "setdefault", "update", "split", "join", "strip", "lower", "upper", "startswith", "endswith",
    "replace", "isdigit", "isalpha", "isupper", "islower", "swapcase", "find", "count", "remove",
}  # fmt: skip


@families
def test_solutions_keep_to_the_python_that_can_be_translated(family: Family) -> None:
    import builtins

    for problem in drawn(family):
        for solution in problem.solutions:
            tree = ast.parse(solution.source)
            has_classes = any(isinstance(node, ast.ClassDef) for node in ast.walk(tree))
            for node in ast.walk(tree):
                if isinstance(node, ast.stmt):
                    assert isinstance(node, STATEMENTS), ast.unparse(node)
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                    name = node.func.id
                    assert name in BUILTINS or not hasattr(builtins, name), name
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    assert node.func.attr in METHODS or has_classes, node.func.attr


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"'poetry'.*lists"):
        chosen_families(["lists", "poetry"])
