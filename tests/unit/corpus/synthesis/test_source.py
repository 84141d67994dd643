"""Lines are broken so that the program stays the same, and reads as formatters leave it."""

import ast

import pytest

from megatron_codemix.corpus.synthesis.writing.source import WIDTH, Block, module, wrapped

LONG = [
    "kept = [reading * reading for reading in readings if reading % 7 == 0 and reading > 12 or "
    "not a]",
    "return max((station_number * 5 for station_number in range(number_of_stations) if ok), "
    "default=-1)",
    "return first_quantity + second_quantity if first_quantity > second_quantity else "
    "second_quantity",
    "assert count_everything([(0, 1, 2), (3, 4, 5), (6, 7, 8), (9, 10, 11), (12, 13, 14)], 5, 7) "
    "== 12",
    "table[key] = table.get(key, 0) + (first_value_of_the_table if is_first else "
    "second_value_of_table)",
    "values = [left if left > right else right for left, right in zip(all_left_values, "
    "all_right_values)]",
    'text = "a string (with, brackets) for all" + another_name_that_is_long + yet_another_name_now',
    "matching = "
    "{group_key: sum(members) for group_key, members in groups.items() if len(members) > 12}",
]


@pytest.mark.parametrize("line", LONG)
def test_a_long_line_is_broken_without_changing_the_program(line: str) -> None:
    assert len(line) > WIDTH
    lines = wrapped(line).split("\n")
    assert max(map(len, lines)) <= WIDTH
    assert ast.dump(ast.parse(wrap(lines))) == ast.dump(ast.parse(wrap([line])))


def wrap(lines: list[str]) -> str:
    """In a function, where a `return` may stand."""
    return "def f():\n" + "\n".join(f"    {line}" for line in lines)


def test_short_lines_stay_as_they_are() -> None:
    assert wrapped("x = [a for a in b if c]") == "x = [a for a in b if c]"


def test_a_comprehension_is_broken_at_its_clauses() -> None:
    rows = "for one_reading in all_readings if one_reading % 7 == 0 and one_reading > 5"
    assert wrapped(f"kept = [one_reading * 2 {rows}]").split("\n") == [
        "kept = [",
        "    one_reading * 2",
        "    for one_reading in all_readings",
        "    if one_reading % 7 == 0 and one_reading > 5",
        "]",
    ]


def test_names_of_a_block_are_used_once() -> None:
    block = Block({"total"})
    assert [block.name("total", "sum_of"), block.name("total"), block.name("sum_of")] == [
        "sum_of",
        "total_2",
        "sum_of_2",
    ]


def test_a_module_separates_its_parts_by_two_lines() -> None:
    assert module(["def f():\n    pass\n", "def g():\n    f()"], ["import re"]) == (
        "import re\n\n\ndef f():\n    pass\n\n\ndef g():\n    f()\n"
    )


def test_functions_that_nothing_names_are_left_out_of_a_module() -> None:
    unused = ["def a():\n    pass", "def b():\n    a()", "def c():\n    pass"]
    used = ["def d():\n    pass", "def main():\n    return [d(), 'abc']"]
    assert module([*unused, *used]) == "\n\n\n".join(used) + "\n"


@pytest.mark.parametrize(
    ("line", "written"),
    [
        ("    return size + -second", "    return size - second"),
        ("    f(a + -3)", "    f(a - 3)"),
        ("    return a + -b % 5", "    return a + -b % 5"),
        ("    return a + -b * c", "    return a + -b * c"),
    ],
)
def test_a_negative_is_subtracted_where_that_is_the_same(line: str, written: str) -> None:
    assert module([f"def f():\n{line}"]).split("\n")[1] == written
