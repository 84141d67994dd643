"""Ratios, goals and the table of a benchmark."""

import pytest

from megatron_codemix.bench.rows import TABLE_HEAD, Goal, Row, format_row


def row(**fields: object) -> Row:
    return Row(**({"name": "gather", "ours": 2.0, "peer": 50.0, "unit": "us"} | fields))


def test_a_cost_is_better_when_it_is_lower() -> None:
    assert row().ratio == 25


def test_a_rate_is_better_when_it_is_higher() -> None:
    assert row(is_rate=True).ratio == 2 / 50


@pytest.mark.parametrize("fields", [{"peer": None}, {"ours": 0.0}])
def test_there_is_no_ratio_to_nothing(fields) -> None:
    assert row(**fields).ratio is None


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (None, None),
        (Goal(ratio=25), True),
        (Goal(ratio=26), False),
        (Goal(at_most=2), True),
        (Goal(at_most=1.9), False),
        (Goal(ratio=25, at_most=1.9), False),
        (Goal(at_least=2, at_most=2), True),
        (Goal(at_least=2.1), False),
    ],
)
def test_a_goal_is_met_when_all_its_parts_are(goal, met) -> None:
    assert row(goal=goal).met is met


def test_a_goal_is_not_judged_on_other_sizes_than_its_own() -> None:
    for ours in (2.0, 200.0):
        small = row(ours=ours, goal=Goal(ratio=20)).unjudged()
        assert small.met is None
        assert format_row(small).endswith(">= 20x             not judged")
        assert small.as_dict()["goal"] == ">= 20x"


def test_a_ratio_is_never_met_without_a_peer() -> None:
    assert row(peer=None, goal=Goal(ratio=1)).met is False


def test_the_table_says_which_goal_is_missed() -> None:
    line = format_row(row(goal=Goal(ratio=1000, at_most=5), note="once"))
    assert line.split()[:5] == ["gather", "2.00", "50.0", "us", "25.0x"]
    assert line.endswith(">= 1,000x, <= 5 us MISSED     once")
    assert line.index("us") == TABLE_HEAD.index("unit")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (0.00123, "0.00123"), (4.567, "4.57"), (1234.5, "1,234")]
)
def test_figures_have_three_digits_that_count(value, text) -> None:
    assert format_row(row(ours=value, peer=None)).split()[1] == text
