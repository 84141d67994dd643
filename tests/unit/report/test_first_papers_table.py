"""The first paper's Table 2 (arXiv 2408.10914) by our averages, and what its text says of it by our
relative change, the two places included in which the paper contradicts itself."""

from typing import NamedTuple

import pytest

from megatron_codemix.report.tables import relative_change
from megatron_codemix.report.tasks import averages


class Row(NamedTuple):
    reasoning: float
    knowledge: float
    nl: float
    code: float
    total: float


TABLE_2 = {
    "text-only": Row(49.0, 9.5, 29.2, 0.4, 19.6),
    "text-only, cooldown": Row(54.1, 11.1, 32.6, 4.4, 23.2),
    "balanced-only": Row(51.8, 8.1, 30.0, 9.0, 23.0),
    "balanced-only, cooldown": Row(53.2, 11.1, 32.1, 8.4, 24.2),
    "balanced->text, start": Row(52.0, 7.4, 29.6, 7.8, 22.4),
    "balanced->text": Row(53.0, 9.9, 31.5, 4.8, 22.6),
    "balanced->text, cooldown": Row(54.9, 10.9, 32.9, 5.8, 23.9),
    "code->text, start": Row(44.7, 1.5, 23.1, 15.5, 20.6),
    "code->text": Row(53.3, 9.5, 31.4, 4.1, 22.3),
    "code->text, cooldown": Row(52.1, 10.3, 31.2, 7.5, 23.3),
}
ROUNDING = 0.1 + 1e-6
"""One digit stands behind the point, of the means and of what they are of."""

STATED = 0.1 + 0.05
"""Of a change in percent: what rounding 53.0 and 49.0 may do to it, and its own digit."""


def tasks_of(row: Row) -> dict[str, dict[str, object]]:
    """Two tasks of reasoning and one of each other category, whose means are the row's."""
    values = {
        "boolq": row.reasoning - 3,
        "copa": row.reasoning + 3,
        "nq_open": row.knowledge,
        "mbpp": row.code,
    }
    return {name: {"value": value, "stderr": 1.0} for name, value in values.items()}


@pytest.mark.parametrize("name", TABLE_2)
def test_our_averages_are_those_of_the_table(name: str) -> None:
    row = TABLE_2[name]
    found = averages(tasks_of(row), {})
    assert found["reasoning"]["value"] == pytest.approx(row.reasoning)
    assert found["reasoning"]["tasks"] == ["boolq", "copa"]
    assert found["nl"]["value"] == pytest.approx(row.nl, abs=ROUNDING)
    assert found["total"]["value"] == pytest.approx(row.total, abs=ROUNDING)


def test_the_total_is_no_mean_of_tasks() -> None:
    # 15 benchmarks of equal weight would let reasoning alone count for 11: 37.2 in place of 19.6.
    row = TABLE_2["text-only"]
    assert averages(tasks_of(row), {})["total"]["value"] == pytest.approx(row.total, abs=ROUNDING)
    assert (11 * row.reasoning + 2 * row.knowledge + 2 * row.code) / 15 == pytest.approx(
        37.25, abs=0.01
    )


@pytest.mark.parametrize(
    ("variant", "baseline", "column", "stated_percent"),
    [
        ("code->text", "text-only", "reasoning", 8.8),
        ("balanced->text", "text-only", "reasoning", 8.2),
        ("balanced->text", "text-only", "knowledge", 4.2),
        ("code->text", "balanced-only", "reasoning", 2.9),
        ("balanced->text", "balanced-only", "reasoning", 2.3),
        ("code->text", "balanced-only", "knowledge", 17.3),
        ("balanced->text", "balanced-only", "knowledge", 22.2),
        ("balanced->text, cooldown", "balanced->text", "reasoning", 3.6),
        ("balanced->text, cooldown", "balanced->text", "knowledge", 10.1),
    ],
)
def test_what_the_text_says_is_our_relative_change(
    variant: str, baseline: str, column: str, stated_percent: float
) -> None:
    values = [getattr(TABLE_2[name], column) for name in (variant, baseline)]
    assert 100 * relative_change(*values) == pytest.approx(stated_percent, abs=STATED)


@pytest.mark.parametrize(
    ("variant", "baseline", "column", "stated_percent", "by_the_table"),
    [
        ("balanced-only", "text-only", "reasoning", 3.2, 5.71),
        ("balanced->text", "code->text", "knowledge", 21, 4.21),
    ],
)
def test_the_two_places_in_which_the_paper_contradicts_its_table(
    variant: str, baseline: str, column: str, stated_percent: float, by_the_table: float
) -> None:
    values = [getattr(TABLE_2[name], column) for name in (variant, baseline)]
    found = 100 * relative_change(*values)
    assert found == pytest.approx(by_the_table, abs=0.01)
    # No rounding of the table's digits leads to what the text says.
    highest = 100 * relative_change(values[0] + 0.05, values[1] - 0.05)
    lowest = 100 * relative_change(values[0] - 0.05, values[1] + 0.05)
    assert not lowest <= stated_percent <= highest


def test_changes_of_code_are_stated_in_other_ways() -> None:
    code = {name: row.code for name, row in TABLE_2.items()}
    # "12x": a ratio.
    assert code["balanced->text"] / code["text-only"] == pytest.approx(12)
    # "+46.7%" and "+54.5%" of balanced-only are what the others lack of it: gains would be 87.5%
    # and 119.5%.
    for other, stated, gain in (("balanced->text", 46.7, 87.5), ("code->text", 54.5, 119.5)):
        assert -100 * relative_change(code[other], code["balanced-only"]) == pytest.approx(
            stated, abs=0.1
        )
        assert 100 * relative_change(code["balanced-only"], code[other]) == pytest.approx(
            gain, abs=0.1
        )
    # "20%" and "55%" over the recipes with cooldown are those of balanced-only without one.
    for other, stated in (("code->text, cooldown", 20), ("balanced->text, cooldown", 55)):
        assert 100 * relative_change(code["balanced-only"], code[other]) == pytest.approx(
            stated, abs=0.5
        )
        own = relative_change(code["balanced-only, cooldown"], code[other])
        assert abs(100 * own - stated) > 5
    # "20%" by the cooldown.
    gain = relative_change(code["balanced->text, cooldown"], code["balanced->text"])
    assert 100 * gain == pytest.approx(20.8, abs=0.1)
