"""Line charts: places, breaks and what stays within the plot."""

import math

import pytest

from megatron_codemix.report.page.chart import Point, Series, draw


def line(*values: float, has_marks: bool = False) -> Series:
    points = [Point(x=float(x), y=y) for x, y in enumerate(values, start=1)]
    return Series(name="a", number=0, points=points, has_marks=has_marks)


def places(points: str) -> list[tuple[float, float]]:
    pairs = [pair.split(",") for pair in points.split()]
    return [(float(x), float(y)) for x, y in pairs]


def test_a_line_is_where_its_values_are() -> None:
    chart = draw([line(1.0, 3.0, 2.0)], title="t", x_label="x", y_label="y")
    [points] = chart.series[0].lines
    first, second, third = places(points)
    # 4% and 5% of the width of the values at each end.
    assert first == pytest.approx((100 * 0.04 / 1.08, 100 * 1.05 / 1.1), abs=0.06)
    assert second == pytest.approx((50, 100 * 0.05 / 1.1), abs=0.06)
    assert third == pytest.approx((100 * 1.04 / 1.08, 50), abs=0.06)


def test_a_missing_value_breaks_the_line_and_a_lone_one_is_a_dot() -> None:
    chart = draw(
        [line(1.0, 2.0, math.nan, 3.0, math.nan, 2.0, 1.0)], title="t", x_label="x", y_label="y"
    )
    [drawn] = chart.series
    assert [len(places(points)) for points in drawn.lines] == [2, 2]
    assert len(drawn.scattered) == 1
    assert drawn.marks == []


def test_words_of_ticks_do_not_lie_on_one_another() -> None:
    ticks = [(float(share), f"code{share:02}") for share in range(0, 101, 10)]
    series = Series(name="a", number=0, points=[Point(x=x, y=1.0) for x, _ in ticks])
    chart = draw([series], title="t", x_label="x", y_label="y", x_ticks=ticks[::-1])
    # Steps of ten are 9.3% of the width; six letters in 229 pixels are 17%.
    assert [word for _, word in chart.x_ticks] == ["code10", "code40", "code70", "code100"]
    assert chart.x_ticks[-1][0] == pytest.approx(100 * 1.04 / 1.08, abs=0.06)
    words = ["470m", "1.4b", "2.8b"]
    sizes = list(zip((470e6, 1.4e9, 2.8e9), words, strict=True))
    points = [Point(x=x, y=1.0) for x, _ in sizes]
    series = Series(name="a", number=0, points=points)
    chart = draw([series], title="t", x_label="x", y_label="y", x_ticks=sizes, is_log_x=True)
    assert [word for _, word in chart.x_ticks] == words


def test_given_ticks_are_within_the_plot() -> None:
    chart = draw([line(5.0)], title="t", x_label="x", y_label="y", x_ticks=[(0.0, "0"), (4.0, "4")])
    assert all(0 < place < 100 for place, _ in chart.x_ticks)
    assert all(0 <= place <= 100 for place, _ in chart.y_ticks)
    assert chart.x_ticks[0][0] < chart.series[0].scattered[0].x < chart.x_ticks[1][0]
