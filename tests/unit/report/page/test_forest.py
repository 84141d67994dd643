"""Differences as marks: where they stand, and what decides how they look."""

import pytest

from megatron_codemix.report.page.forest import forests
from tests.helpers.report_examples import comparison, paper_size_report


def test_places_are_those_of_the_relative_changes() -> None:
    rows = [
        comparison("single", "code", "heldout/code", 1.8, 2.0),
        comparison("single", "balanced", "heldout/code", 2.02, 2.0),
    ]
    [forest] = forests(rows, ["heldout/code"])
    # From -12% to 3%, and 5% of that at both ends: 16.5 points are the width.
    first, second = forest.groups[0].rows
    assert forest.zero == pytest.approx(100 * (12 + 0.75) / 16.5, abs=0.1)
    assert first.place == pytest.approx(100 * (2 + 0.75) / 16.5, abs=0.1)
    assert (first.low, first.high) == pytest.approx((100 * 0.75 / 16.5, 100 * 4.75 / 16.5), abs=0.1)
    assert second.place == pytest.approx(forest.zero + 100 / 16.5, abs=0.1)
    assert [word for _, word in forest.ticks] == ["\u221210%", "\u22125%", "0%"]
    assert forest.better_side == "left"
    assert (first.change, first.difference) == ("\u221210.0%", "-0.2000")


def test_the_floor_stays_on_the_axis() -> None:
    row = comparison("single", "code", "heldout/code", 1.99, 2.0) | {"floor": 5.0}
    [forest] = forests([row], ["heldout/code"])
    assert forest.groups[0].rows[0].floor == (0.0, 100.0)
    row["floor"] = 0.002
    [forest] = forests([row], ["heldout/code"])
    floor = forest.groups[0].rows[0].floor
    assert floor is not None
    assert (floor[0] + floor[1]) / 2 == pytest.approx(forest.zero, abs=0.1)


def test_a_baseline_of_zero_is_compared_by_differences() -> None:
    row = comparison("single", "code", "average/code", 0.05, 0.0)
    row |= {
        "relative": None,
        "relative_low": None,
        "relative_high": None,
        "low": None,
        "high": None,
    }
    [forest] = forests([row], ["average/code"])
    assert forest.unit == "difference from text-only"
    assert forest.groups[0].rows[0].low is None
    assert forest.better_side == "right"


def test_cells_of_a_measure_stand_together() -> None:
    metrics = ["average/total", "heldout/text", "heldout/of nothing"]
    found = forests(paper_size_report()["comparisons"], metrics)
    assert [forest.metric for forest in found] == metrics[:2]
    assert [forest.better_side for forest in found] == ["right", "left"]
    for forest in found:
        assert [group.cell for group in forest.groups] == ["470m", "2.8b"]
        assert [len(group.rows) for group in forest.groups] == [9, 9]
        assert {group.over for group in forest.groups} == {"3 seeds, 11,000 items"}
