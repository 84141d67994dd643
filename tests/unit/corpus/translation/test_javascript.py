"""Solutions translated and tried on their cases; the same in Node where it is installed."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from megatron_codemix.corpus.synthesis.translation import inside
from megatron_codemix.corpus.synthesis.translation.engine import Engine, Program, Ran
from megatron_codemix.corpus.synthesis.translation.javascript import (
    Case,
    Task,
    Unlike,
    program_of,
    translate_all,
)
from megatron_codemix.corpus.synthesis.translation.translate import Draft, Translation
from tests.unit.corpus.translation.test_differential import sample


def task(source: str, *cases: tuple[str, str], **lows: int) -> Task:
    return Task(source, "solve", [Case(*one) for one in cases], lows)


def translated(engine: Engine, one: Task) -> Translation:
    [found] = translate_all([one], engine)
    assert isinstance(found, Translation), found
    return found


def failed(engine: Engine, one: Task) -> Unlike:
    [found] = translate_all([one], engine)
    assert isinstance(found, Unlike), found
    return found


RECORDS = """
from dataclasses import dataclass

@dataclass
class Place:
    row: int
    marks: dict[tuple[int, int], set[str]]

def solve(places: list[Place], step: int) -> list[Place]:
    for place in places:
        place.row += step
        for key in sorted(place.marks):
            place.marks[key].add("seen")
    return [place for place in places if place.row > 0]
"""


def test_values_of_all_kinds_come_in_and_go_out(javascript_engine: Engine) -> None:
    case = (
        "[Place(row=-5, marks={}), Place(row=1, marks={(2, 1): {'a'}, (1, 2): set()})], 2",
        "[Place(row=3, marks={(1, 2): {'seen'}, (2, 1): {'seen', 'a'}})]",
    )
    found = translated(javascript_engine, task(RECORDS, case))
    assert "class TupleMap extends Map" in found.text


def test_a_wrong_result_is_told_with_both(javascript_engine: Engine) -> None:
    source = "def solve(n: int) -> bool:\n    return n > 1\n"
    unlike = failed(javascript_engine, task(source, ("2", "True"), ("1", "True")))
    assert (unlike.reason, unlike.detail) == ("differs", "1: false, not True")
    assert failed(javascript_engine, task(source, ("2", "1"))).reason == "differs"


def test_order_in_a_list_matters_and_in_a_dictionary_does_not(javascript_engine: Engine) -> None:
    source = "def solve(n: int) -> dict[int, list[int]]:\n    return {2: [n], 1: [n, 0]}\n"
    translated(javascript_engine, task(source, ("7", "{1: [7, 0], 2: [7]}")))
    unlike = failed(javascript_engine, task(source, ("7", "{1: [0, 7], 2: [7]}")))
    assert unlike.reason == "differs"


@pytest.mark.parametrize(
    "source",
    [
        "def solve(n: int) -> int:\n    return (3 ** n) % 7\n",
        "def solve(n: int) -> int:\n    total = 1\n    for i in range(1, n):\n"
        "        total = total * i\n    return total % 7\n",
        "def solve(n: int) -> int:\n    return sum(4 ** i for i in range(n)) // n\n",
        "def solve(n: int) -> int:\n    xs = [2 ** 50]\n    xs[0] *= n\n    return xs[0] % 9\n",
    ],
)
def test_integers_on_the_way_have_to_be_exact(javascript_engine: Engine, source: str) -> None:
    """The result would be small, and wrong."""
    names: dict[str, object] = {}
    exec(source, names)
    cases = [(str(n), str(names["solve"](n))) for n in (3, 40)]  # type: ignore[operator]  # it is a function
    translated(javascript_engine, task(source, cases[0]))
    unlike = failed(javascript_engine, task(source, *cases))
    assert unlike.reason == "fails"
    assert "is no exact integer" in unlike.detail


LOOK = "def solve(xs: list[int], i: int) -> int:\n    return xs[i] + i % 3\n"


def looks(*places: int) -> list[tuple[str, str]]:
    values = [5, 6, 7]
    return [(f"[5, 6, 7], {i}", str(values[i] + i % 3)) for i in places]


def test_what_is_not_proved_is_plain_where_it_was_seen_often_enough(
    javascript_engine: Engine,
) -> None:
    def text(*places: int) -> str:
        return translated(javascript_engine, task(LOOK, *looks(*places))).text

    assert "return xs[i] + i % 3;" in text(*[0, 1, 2] * 3)
    assert "return xs.at(i) + mod(i, 3);" in text(0, 1, 2)
    assert "return xs.at(i) + mod(i, 3);" in text(*[0, 1, 2] * 3, -1)


def test_each_task_has_its_own_answer(javascript_engine: Engine) -> None:
    good = task("def solve(n: int) -> int:\n    return n\n", ("1", "1"))
    odd = task("def solve(n: int) -> float:\n    return n / 2\n", ("1", "0.5"))
    endless = task("def solve(n: int) -> int:\n    while True:\n        n = 1\n", ("1", "1"))
    misfit = task("def solve(n: int) -> int:\n    return n\n", ("'a'", "1"))
    found = translate_all([good, odd, endless, misfit, good], javascript_engine)
    assert [one.reason if isinstance(one, Unlike) else "good" for one in found] == [
        "good", "not translatable", "fails", "case", "good",
    ]  # fmt: skip


def test_node_gives_the_same_as_quickjs(javascript_engine: Engine, tmp_path: Path) -> None:
    """On random programs, with Node's own `at` and sort."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed")
    samples = [one for one in map(sample, range(1000, 1040)) if one.inputs]
    programs = [
        program_of(Draft(one.source, "solve").finished(), [Case(given, "") for given in one.inputs])
        for one in samples
    ]
    ran = javascript_engine.run(programs)
    (tmp_path / "all.js").write_text(node_script(programs), encoding="utf-8")
    done = subprocess.run([node, tmp_path / "all.js"], capture_output=True, text=True, check=True)
    for program, ours, line in zip(programs, ran, done.stdout.splitlines(), strict=True):
        assert isinstance(ours, Ran)
        assert json.loads(line)["results"] == ours.results, program.text


def node_script(programs: list[Program]) -> str:
    lines = [inside.HARNESS]
    for one in programs:
        job = json.dumps({**one.record(), "text": ""})
        made = f"(() => {{ 'use strict';\n{one.text}\nreturn {{ {', '.join(one.exports)} }}; }})()"
        lines.append(f"console.log($run({made}, {json.dumps(job)}));")
    return "\n".join(lines)
