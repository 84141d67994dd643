"""Problems in the sandbox: right ones pass, wrong and idle ones are named, none harms another."""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from megatron_codemix.corpus.synthesis.problem import (
    Arguments,
    Parameter,
    Problem,
    Property,
    Solution,
)
from megatron_codemix.corpus.synthesis.values import Int, ListOf
from megatron_codemix.corpus.synthesis.verification.batch import (
    NUM_EDGE_CASES,
    NUM_INPUTS,
    Rejected,
    Verified,
    Verifier,
    new_sandbox,
    run_batch,
)

COUNT = """def count_small(values: list[int]) -> int:
    return sum(1 for value in values if value < 10)
"""
LOOP = """def count_small(values: list[int]) -> int:
    count = 0
    for value in values:
        if value < 10:
            count += 1
    return count
"""


def inputs(rng: Random) -> Iterator[Arguments]:
    yield ([],)
    yield ([10],)
    while True:
        yield ([rng.randint(0, 20) for _ in range(rng.randint(1, 8))],)


def problem(*sources: str, **changes: Any) -> Problem:
    values: dict[str, Any] = {
        "family": "tests",
        "spec": ["count small"],
        "name": "count_small",
        "parameters": (Parameter("values", ListOf(Int())),),
        "returns": Int(),
        "statement": lambda rng: "Write `count_small(values)`.",
        "solutions": tuple(Solution(f"way {i}", source) for i, source in enumerate(sources)),
        "oracle": lambda values: len([one for one in values if one <= 9]),
        "properties": (),
        "inputs": inputs,
    }
    return Problem(**{**values, **changes})


@pytest.fixture(scope="module")
def verifier(isolation: None) -> Iterator[Verifier]:
    with Verifier() as one:
        yield one


def outcome(verifier: Verifier, one: Problem) -> Verified | Rejected:
    (result,) = verifier.verify([(one, "seed")])
    return result


def test_a_right_problem_is_verified_with_tests_that_kill(verifier: Verifier) -> None:
    result = outcome(verifier, problem(COUNT, LOOP))
    assert isinstance(result, Verified)
    assert result.mutation.killed == result.mutation.mutants == 7
    assert result.mutation.score == 1.0
    assert [one.arguments for one in result.tests[:NUM_EDGE_CASES]] == ["[]", "[10]"]
    for test in result.tests:
        names: dict[str, Any] = {}
        exec(COUNT, names)
        assert eval(f"count_small({test.arguments})", names) == eval(test.expected)


def test_a_style_that_differs_from_the_oracle_is_named(verifier: Verifier) -> None:
    result = outcome(verifier, problem(COUNT, LOOP.replace("< 10", "<= 10")))
    assert isinstance(result, Rejected)
    assert result.reason == "solution"
    assert "solution 1, case 1" in result.detail


def test_a_rare_input_finds_a_mutant_and_becomes_a_test(verifier: Verifier) -> None:
    """10 itself comes up only behind the first inputs."""

    def rarely_ten(rng: Random) -> Iterator[Arguments]:
        for place in range(10**6):
            if place == NUM_INPUTS + 5:
                yield ([10, 10, 3],)
            else:
                yield ([rng.choice([1, 2, 5, 8, 12, 15, 19]) for _ in range(1 + place % 9)],)

    result = outcome(verifier, problem(COUNT, LOOP, inputs=rarely_ten))
    assert isinstance(result, Verified)
    assert result.mutation.killed > result.mutation.killed_at_first
    assert "[10, 10, 3]" in [one.arguments for one in result.tests]


def test_a_mutant_that_nothing_tells_apart_counts_as_equivalent(verifier: Verifier) -> None:
    def never_ten(rng: Random) -> Iterator[Arguments]:
        while True:
            yield ([rng.choice([1, 2, 5, 8, 13, 15, 19]) for _ in range(rng.randint(0, 9))],)

    result = outcome(verifier, problem(COUNT, LOOP, inputs=never_ten))
    assert isinstance(result, Verified)
    assert result.mutation.equivalent > 0
    assert result.mutation.killed + result.mutation.equivalent == result.mutation.mutants
    assert result.mutation.score < 1.0


def test_a_condition_that_decides_nothing_rejects_the_problem(verifier: Verifier) -> None:
    idle = COUNT.replace("value < 10", "value < 10 and value < 99")
    assert isinstance(outcome(verifier, problem(idle, LOOP)), Verified)  # part of a condition
    idle = COUNT.replace("for value in values", "for value in values if len(values) < 99")
    result = outcome(verifier, problem(idle, LOOP))
    assert isinstance(result, Rejected)
    assert result.reason == "idle condition"


def test_a_result_that_never_changes_rejects_the_problem(verifier: Verifier) -> None:
    zero = "def count_small(values: list[int]) -> int:\n    return 0\n"
    result = outcome(verifier, problem(zero, zero, oracle=lambda values: 0))
    assert result == Rejected("constant", "0")


def test_a_property_that_fails_rejects_the_problem(verifier: Verifier) -> None:
    wrong = Property("There are at most two.", lambda arguments, result: result <= 2)
    result = outcome(verifier, problem(COUNT, LOOP, properties=(wrong,)))
    assert isinstance(result, Rejected)
    assert result.reason == "property"


def test_large_integers_reject_the_problem(verifier: Verifier) -> None:
    result = outcome(verifier, problem(COUNT, LOOP, oracle=lambda values: 2**53 + len(values)))
    assert result == Rejected("large integer")


def test_the_same_problems_and_seeds_give_the_same_outcomes(verifier: Verifier) -> None:
    problems = [(problem(COUNT, LOOP), f"seed {number}") for number in range(5)]
    first = verifier.verify(problems)
    assert [one.tests for one in first if isinstance(one, Verified)] == [
        one.tests for one in verifier.verify(problems) if isinstance(one, Verified)
    ]
    alone = [verifier.verify([one])[0] for one in problems]
    for one, other in zip(first, alone, strict=True):
        assert isinstance(one, Verified)
        assert isinstance(other, Verified)
        assert (one.tests, one.mutation) == (other.tests, other.mutation)


ATTACKS = {
    "memory": "keep = []\nwhile True:\n    keep.append(bytearray(1 << 24))\n",
    "exit": "import os\nos._exit(0)\n",
    "crash": "import ctypes\nctypes.string_at(0)\n",
    "files": "open('/etc/passwd').read()\nopen('/tmp/x', 'w').write('x')\nraise SystemExit(3)\n",
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_program_that_ends_the_process_is_the_only_one_blamed(
    verifier: Verifier, attack: str
) -> None:
    evil = problem(ATTACKS[attack] + COUNT, LOOP)
    good = problem(COUNT, LOOP)
    results = verifier.verify([(good, "a"), (evil, "b"), (good, "c")])
    assert [type(one) for one in results] == [Verified, Rejected, Verified]


@pytest.mark.usefixtures("isolation")
def test_what_a_process_says_of_a_verdict_is_not_believed_if_it_is_no_verdict() -> None:
    """A program that prints is heard by nobody: standard output is the harness's own."""
    talks = "print('[{\"error\": null}]')\n" + COUNT
    job = {
        "name": "count_small",
        "solutions": [talks],
        "cases": "[lambda: (([1],), 5)]",
        "num_cases": 1,
        "seed": 1,
        "mutants": 0,
    }
    with new_sandbox() as sandbox:
        (verdict,) = run_batch(sandbox, "harness", [job])
    assert verdict["error"] == "solution 0, case 0: gives 1, not 5"
