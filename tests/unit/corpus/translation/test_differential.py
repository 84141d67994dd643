"""Random programs of the restricted Python, run by CPython and, translated, by QuickJS."""

import ast
import json
import warnings
from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from megatron_codemix.corpus.synthesis.translation.engine import Engine, Failed, Program
from megatron_codemix.corpus.synthesis.translation.forms import ordered, to_json
from megatron_codemix.corpus.synthesis.translation.javascript import Case, program_of
from megatron_codemix.corpus.synthesis.translation.translate import Draft, Translation
from tests.helpers.subset_programs import Maker

NUM_PROGRAMS = 240
NUM_INPUTS = 5
EXPECTED_OF_ODD_INPUTS = (IndexError,)
"""What programs may raise: an index beyond a list. Such inputs are left out."""


@dataclass(frozen=True)
class Sample:
    """A program, its inputs that CPython takes, and what it gives."""

    seed: int
    source: str
    inputs: list[str]
    results: list[Any]


def sample(seed: int) -> Sample:
    maker = Maker(Random(seed))
    source = maker.source()
    names: dict[str, Any] = {"__name__": "sample"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)
        exec(compile(source, "<sample>", "exec"), names)
        inputs, results = [], []
        for _ in range(NUM_INPUTS):
            arguments = maker.arguments()
            try:
                result = eval(f"solve({arguments})", dict(names))
            except EXPECTED_OF_ODD_INPUTS:
                continue
            inputs.append(arguments)
            results.append(result)
    return Sample(seed, source, inputs, results)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    drawn = [sample(seed) for seed in range(NUM_PROGRAMS)]
    return [one for one in drawn if one.inputs]


@pytest.fixture(scope="module")
def drafts(samples: list[Sample]) -> list[Draft]:
    """Nothing that is drawn is refused."""
    return [Draft(one.source, "solve") for one in samples]


def assert_same(samples: list[Sample], translations: list[Translation], engine: Engine) -> None:
    programs = [
        program_of(translation, [Case(one, "") for one in each.inputs])
        for translation, each in zip(translations, samples, strict=True)
    ]
    problems = []
    for each, program, ran in zip(samples, programs, engine.run(programs), strict=True):
        if isinstance(ran, Failed):
            problems.append(f"seed {each.seed}: {ran.reason}\n{each.source}\n{program.text}")
            continue
        for given, result, expected in zip(each.inputs, ran.results, each.results, strict=True):
            if not is_same(program, result, expected):
                problems.append(f"seed {each.seed}: solve({given})\n{each.source}\n{program.text}")
    assert not problems, "\n\n".join(problems[:3])


def is_same(program: Program, result: Any, expected: Any) -> bool:
    form = program.returns
    one, other = ordered(form, result), ordered(form, to_json(form, expected))
    return json.dumps(one) == json.dumps(other)


def test_most_programs_run(samples: list[Sample]) -> None:
    assert len(samples) > 0.9 * NUM_PROGRAMS


def test_translations_give_what_python_gives(
    samples: list[Sample], drafts: list[Draft], javascript_engine: Engine
) -> None:
    """With care wherever a sign is not proved: no input can tell them from the Python."""
    assert_same(samples, [draft.finished() for draft in drafts], javascript_engine)


def test_checked_translations_give_the_same_and_no_integer_is_inexact(
    samples: list[Sample], drafts: list[Draft], javascript_engine: Engine
) -> None:
    assert_same(samples, [draft.checked for draft in drafts], javascript_engine)


CONSTRUCTS = {
    "FunctionDef", "If", "For", "While", "Return", "Assign", "AnnAssign", "AugAssign", "Delete",
    "Break", "Continue", "Pass", "ClassDef", "ListComp", "SetComp", "DictComp", "GeneratorExp",
    "Lambda", "IfExp", "BoolOp", "JoinedStr", "Slice", "Tuple", "List", "Set", "Dict", "FloorDiv",
    "Mod", "Pow", "In", "NotIn", "Is", "IsNot", "USub", "Not",
    "len", "sum", "min", "max", "sorted", "abs", "any", "all", "range", "enumerate", "zip",
    "reversed", "divmod", "str", "int", "list", "set", "dict", "map", "filter",
    "split", "join", "strip", "lower", "upper", "startswith", "endswith", "replace", "isdigit",
    "isalpha", "find", "count", "append", "pop", "sort", "extend", "insert", "reverse", "get",
    "items", "keys", "values", "setdefault", "add", "discard", "update",
    "key=", "reverse=", "default=", "start=",
}  # fmt: skip


def constructs_of(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        found.add(type(node).__name__)
        match node:
            case ast.Call(func=ast.Name(id=name)) | ast.Call(func=ast.Attribute(attr=name)):
                found.add(name)
            case ast.keyword(arg=str(name)):
                found.add(f"{name}=")
    return found


def test_every_construct_of_the_subset_is_drawn(samples: list[Sample]) -> None:
    counts = Counter(name for one in samples for name in constructs_of(one.source))
    rare = {name: counts[name] for name in CONSTRUCTS if counts[name] < 2}
    assert not rare
