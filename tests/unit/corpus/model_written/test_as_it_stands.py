"""Documents around a model's code: what they claim has to hold, whatever their code says of it."""

import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.synthesis.model_written.as_it_stands import (
    Claim,
    claims_in,
    document_problem,
)
from megatron_codemix.corpus.synthesis.model_written.exercise import Exercise
from megatron_codemix.corpus.synthesis.model_written.trial import LIMITS, try_exercise
from megatron_codemix.corpus.synthesis.verification.batch import Rejected
from megatron_codemix.corpus.synthesis.verification.batch import Test as ProblemTest
from megatron_codemix.corpus.synthesis.verify import verify_corpus
from megatron_codemix.corpus.writer import write_documents
from megatron_codemix.sandbox.limits import MIB
from megatron_codemix.sandbox.sandbox import Sandbox

GOOD = "def add(a, b):\n    return a + b\n"
WRONG = "def add(a, b):\n    return a - b\n"
TESTS = [ProblemTest("1, 2", "3"), ProblemTest("0, 0", "0")]
CHECK = "\n\nassert add(1, 2) == 3\n"


@pytest.fixture(scope="module")
def sandbox(isolation: None) -> Iterator[Sandbox]:
    limits = replace(LIMITS, wall_seconds=30.0, cpu_seconds=2, memory_bytes=256 * MIB)
    with Sandbox(limits) as one:
        yield one


def forged(answer: str) -> str:
    return (
        f"import typing\n\ns = typing.sys\ns.__stdout__.write({answer!r})\ns.__stdout__.flush()\n"
        's.modules["os"]._exit(0)\n\n\n'
    )


def by_the_call(answer: str) -> str:
    """Writes it when it is asked for a result, not when it is loaded."""
    return (
        f"import sys\nimport os\n\n\ndef add(a, b):\n    sys.__stdout__.write({answer!r})\n"
        "    sys.__stdout__.flush()\n    os._exit(0)\n"
    )


DOCUMENTS = {
    "a wrong result": (WRONG + CHECK, "AssertionError"),
    "a verdict of its own": (forged('[{"error": null}]') + WRONG + CHECK, "no answer"),
    "an empty verdict": (forged("[{}]") + WRONG + CHECK, "no answer"),
    "no verdict": (forged("") + WRONG + CHECK, "no answer"),
    "a verdict by the call": (by_the_call('[{"error": null}]') + CHECK, "no answer"),
    "another's assertion": (
        f"{GOOD}\n\ndef test_add() -> None:\n    assert add(1, 2) == 4\n", "AssertionError",
    ),
    "no Python": ("def add(a, b) return\n", "SyntaxError"),
    "an assertion that is caught": (
        f"{GOOD}\n\ntry:\n    assert add(2, 2) == 5\nexcept AssertionError:\n    pass\n",
        r"add\(2, 2\) gives 4, and 5 is said",
    ),
    "a loop without ticks": (f"{GOOD}\nwhile True:\n    pass\n", "timeout"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_does_not_hold_is_said(sandbox: Sandbox, name: str) -> None:
    text, said = DOCUMENTS[name]
    wrong = document_problem(sandbox, text, "add", TESTS)
    assert wrong is not None
    assert re.search(said, wrong), wrong


def test_what_holds_is_nothing_to_complain_of(sandbox: Sandbox) -> None:
    assert document_problem(sandbox, GOOD + CHECK, "add", TESTS) is None


def test_claims_are_read_in_all_forms_of_documents() -> None:
    code = (
        'def f(x):\n    """It.\n\n    >>> f("a")\n    \'A\'\n    >>> f(None)\n    """\n'
        "    return x and x.upper()\n\n\ndef test_f() -> None:\n    result = f('b')\n"
        "    assert result == 'B'\n    assert f_again('c') == 'C'\n    assert g(1) == 2\n"
    )
    fenced = f"Text\n\n```python\n{code}```\n\n- `f('d')` returns `'D'`\n"
    assert {(one.function, one.arguments, one.expected) for one in claims_in(fenced, "f")} == {
        ("f", "'a'", "'A'"), ("f", "None", "None"), ("f", "'b'", "'B'"), ("f_again", "'c'", "'C'"),
        ("f", "'d'", "'D'"),
    }  # fmt: skip
    [printed] = claims_in("print(f('e'))  # E\n", "f")
    assert printed == Claim("f", "'e'", "E", is_printed=True)
    assert printed.holds((True, "'E'"))
    assert not printed.holds((True, "'e'"))


def test_a_corpus_whose_documents_answer_for_themselves_does_not_verify(
    isolation: None, tmp_path: Path
) -> None:
    def document(number: int, text: str, solution: str) -> Document:
        metadata = {
            "name": "add", "statement": f"Add. {number}", "family": "model-written",
            "shape": "module", "solutions": [{"style": "a", "source": solution}],
            "tests": [asdict(one) for one in TESTS], "mutation": {"score": 1.0},
        }  # fmt: skip
        return Document(f"d{number}", "synthetic_model", "d", "d", None, text, metadata)

    bad = forged('[{"error": null}]') + WRONG
    documents = [
        document(0, GOOD + CHECK, GOOD), document(1, bad + CHECK, GOOD),
        document(2, forged("[{}]") + GOOD + CHECK, GOOD), document(3, GOOD + CHECK, bad),
    ]  # fmt: skip
    write_documents(tmp_path, "synthetic_model.jsonl.zst", iter(documents))
    found = verify_corpus(tmp_path)
    assert (found.documents, found.failed) == (4, 3), found.first_failures


def test_a_program_that_tells_its_mutants_by_their_process_has_no_better_score(
    sandbox: Sandbox,
) -> None:
    """It counts how often it was loaded; most of the function is for lists that do not occur."""
    body = (
        "    if len(v) > 50:\n        return (b * 3 + 7) // 2 - len(v) * 5 + min(b, 4) + b % 9\n"
        "    return len(v)\n"
    )
    sly = (
        "import sys\n\nsys.loads = getattr(sys, 'loads', 0) + 1\n\n\ndef f(v, b):\n"
        f"    if sys.loads > 1:\n        return None\n{body}"
    )
    inputs = tuple(f"{[9] * number}, 1" for number in range(6))
    second = "def f(v, b):\n    return len(v)\n"
    tried = try_exercise(Exercise("f", "A statement.", sly, inputs), second, sandbox, "seed")
    assert isinstance(tried, Rejected), tried
    assert tried.reason == "mutation score"
