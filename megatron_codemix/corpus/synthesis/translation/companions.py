"""Verified problems in JavaScript, each beside the Python that it comes from."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from random import Random
from typing import Any, Self

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.documents.parts import title
from megatron_codemix.corpus.synthesis.problem import Problem, Solution
from megatron_codemix.corpus.synthesis.translation.documents import Exercise, write_document
from megatron_codemix.corpus.synthesis.translation.engine import Engine
from megatron_codemix.corpus.synthesis.translation.forms import read_literal, to_json
from megatron_codemix.corpus.synthesis.translation.javascript import (
    Case,
    Task,
    Unlike,
    arguments_of,
    translate_all,
)
from megatron_codemix.corpus.synthesis.translation.translate import Translation
from megatron_codemix.corpus.synthesis.translation.wording import in_javascript
from megatron_codemix.corpus.synthesis.values import Int, copied, literal
from megatron_codemix.corpus.synthesis.verification.batch import NUM_INPUTS, Verified

SOURCE = "synthetic_javascript"
METHOD = "translation"
LANGUAGE = "javascript"


class Translator:
    """Translates problems and tries the translations. Close it, or use it in a `with` statement."""

    def __init__(self) -> None:
        self._engine = Engine()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._engine.close()

    def companions(
        self, problems: Sequence[tuple[Verified, Document, str]]
    ) -> list[Document | Unlike]:
        """For each problem, given with its Python document and a seed, one in JavaScript; of its
        solutions the first, in an order that the seed draws, that can be translated."""
        orders = [_in_order(verified, seed) for verified, _, seed in problems]
        found: list[Document | Unlike] = [Unlike("no solution", "") for _ in problems]
        waiting = list(range(len(problems)))
        for turn in range(max(map(len, orders), default=0)):
            now = [place for place in waiting if turn < len(orders[place])]
            tasks = [_task(*problems[place], orders[place][turn]) for place in now]
            outcomes = translate_all(tasks, self._engine)
            for place, task, outcome in zip(now, tasks, outcomes, strict=True):
                if isinstance(outcome, Unlike):
                    found[place] = outcome
                else:
                    solution = orders[place][turn]
                    found[place] = _document(*problems[place], solution, task, outcome)
            waiting = [place for place in waiting if isinstance(found[place], Unlike)]
        return found


def _in_order(verified: Verified, seed: str) -> list[Solution]:
    solutions = list(verified.problem.solutions)
    Random(f"{seed}/translation").shuffle(solutions)
    return solutions


def _task(verified: Verified, document: Document, seed: str, solution: Solution) -> Task:
    """With the tests that the problem keeps, and as many inputs as its verification began with."""
    cases = [Case(one.arguments, one.expected) for one in verified.tests]
    return Task(
        solution.source,
        verified.problem.name,
        list(dict.fromkeys([*cases, *_more_cases(verified.problem, seed)])),
        {
            one.name: one.type.low
            for one in verified.problem.parameters
            if isinstance(one.type, Int)
        },
    )


def _more_cases(problem: Problem, seed: str) -> list[Case]:
    return [
        Case(
            ", ".join(map(literal, arguments)),
            literal(problem.oracle(*copied(arguments))),
        )
        for arguments in islice(problem.inputs(Random(seed)), NUM_INPUTS)
    ]


def _document(
    verified: Verified,
    document: Document,
    seed: str,
    solution: Solution,
    task: Task,
    translation: Translation,
) -> Document:
    python = document.metadata
    parameters = zip(verified.problem.parameters, translation.parameters, strict=True)
    maps = {one.name for one, form in parameters if form[0] == "dict"}
    statement = in_javascript(python["statement"], translation.name_of, maps)
    tests = [
        (
            arguments_of(translation.parameters, one.arguments),
            to_json(translation.returns, read_literal(one.expected)),
        )
        for one in verified.tests
    ]
    exercise = Exercise(
        title=title(task.entry),
        statement=statement,
        python_statement=python["statement"],
        python_solution=solution.source,
        translation=translation,
        tests=tests,
    )
    shape, text = write_document(exercise, Random(f"{seed}/javascript document"))
    metadata: dict[str, Any] = {
        **python,
        "method": METHOD,
        "language": LANGUAGE,
        "shape": shape,
        "statement": statement,
        "solutions": [{"style": solution.style, "source": translation.text}],
        "tests": [asdict(one) for one in verified.tests],
        "translation_of": {"document": document.id, "source": solution.source},
        "interface": {
            "entry": translation.entry,
            "exports": list(translation.exports),
            "parameters": list(translation.parameters),
            "returns": translation.returns,
        },
    }
    name = hashlib.blake2b(f"{document.id}\0{text}".encode(), digest_size=8).hexdigest()
    identity = f"{SOURCE}/{python['family']}/{name}"
    return Document(identity, SOURCE, identity, document.origin, document.licence, text, metadata)
