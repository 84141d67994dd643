"""Sentences about verdicts: that they say what the comparisons say, and no more."""

from typing import Any

from megatron_codemix.report.page.findings import find
from megatron_codemix.report.page.html import render_html
from megatron_codemix.report.page.summary import summary_rows
from megatron_codemix.report.page.verdicts import change_words, size_words
from megatron_codemix.report.render import render_markdown
from tests.helpers.report_examples import BASELINE, comparison, paper_size_report


def report_with(comparisons: list[dict[str, Any]], *, tested: int) -> dict[str, Any]:
    report = paper_size_report()
    report["comparisons"] = comparisons
    report["statistics"]["tested"] = tested
    return report


def test_changes_are_named_by_size_within_their_verdict() -> None:
    values = {"code": 1.20, "balanced": 1.10, "code->text": 0.90, "balanced-only": 1.01}
    rows = [comparison("470m", name, "average/code", value, 1.0) for name, value in values.items()]
    report = report_with(rows, tested=4)
    found = find(report, summary_rows(report))
    [point] = found.points
    assert point.title == "code"
    assert [(one.variant, one.size) for one in point.better] == [
        ("code", "20.0% (interval 18.0 to 22.0%)"),
        ("balanced", "10.0% (interval 8.0 to 12.0%)"),
    ]
    assert [one.variant for one in point.worse] == ["code->text"]
    assert point.open == ["balanced-only (12 seeds would decide)"]
    [lead] = found.lead
    assert lead.startswith(
        f"Of 4 differences from {BASELINE}, 2 are for the better and 1 for the worse; "
        "of the other 1 nothing can be told."
    )


def test_of_one_seed_only_models_are_spoken() -> None:
    rows = [comparison("470m", "code", "average/code", 1.2, 1.0, num_seeds=1)]
    assert rows[0]["verdict"] == "cannot tell"
    report = report_with(rows, tested=0)
    found = find(report, summary_rows(report))
    assert found.lead[0].startswith("Which recipe is better cannot be told")
    assert [one.variant for one in found.points[0].better] == ["code"]


def test_seeds_that_one_variant_alone_has_are_too_few() -> None:
    report = paper_size_report(("1", "2"))
    report["variants"] = [
        row
        for row in report["variants"]
        if row["name"] == BASELINE or (row["name"], row["cell"]) == ("code", "470m.seed1")
    ]
    report["comparisons"] = [comparison("470m", "code", "heldout/code", 1.2, 1.0, num_seeds=1)]
    report["statistics"]["tested"] = 0
    report["seeds"] = [{"cell": "470m", "name": BASELINE, "num_seeds": 2, "heldout": {}}]
    [lead] = find(report, summary_rows(report)).lead
    assert "too few variants were trained a second time with another seed" in lead
    for text in (render_html(report, []), render_markdown(report)):
        assert "Too few seeds are repeated" in text
        assert "No seed is repeated" not in text


def test_a_baseline_that_is_not_finished_is_nothing_to_compare_with() -> None:
    report = report_with([], tested=0)
    assert f"compared with one of them, <strong>{BASELINE}" in render_html(report, [])
    report["variants"] = [row for row in report["variants"] if row["name"] != BASELINE]
    html = render_html(report, [])
    assert (
        "9 ways of training a language model, called variants here, are to be compared with "
        f"another, <strong>{BASELINE}</strong>, which is not finished" in html
    )
    assert "compared with one of them" not in html


def test_no_more_than_a_few_are_named() -> None:
    report = paper_size_report()
    points = find(report, summary_rows(report)).points
    assert {point.cell for point in points} == {"470m", "2.8b"}
    for point in points:
        named = len(point.better) + len(point.worse) + len(point.open)
        assert named + point.more_better + point.more_worse == 9
        assert max(len(point.better), len(point.worse)) <= 2
    assert len(points) == 4 * 2


def test_held_out_text_answers_where_no_average_is_compared() -> None:
    report = paper_size_report()
    for row in list(report["comparisons"]):
        # As where one variant has no score in a task that the others have.
        if row["cell"] == "2.8b" and row["metric"].startswith("average/"):
            report["comparisons"].remove(row)
    points = find(report, summary_rows(report)).points
    titles = {cell: [one.title for one in points if one.cell == cell] for cell in ("470m", "2.8b")}
    assert titles == {
        "470m": ["reasoning", "world knowledge", "code", "total average"],
        "2.8b": ["held-out code", "held-out markup", "held-out text"],
    }


def test_differences_are_counted_where_no_sentence_tells_any() -> None:
    report = report_with([comparison("470m", "code", "average/nl", 1.2, 1.0)], tested=1)
    assert find(report, summary_rows(report)).points == []
    found = render_html(report, []).split('<section id="found"')[1].split("</section>")[0]
    assert "<p>1 difference, by other measures, is for the better or worse" in found


def test_verdicts_that_no_sentence_tells_are_counted() -> None:
    report = paper_size_report()
    found = find(report, summary_rows(report))
    told = {f"average/{name}" for name in ("reasoning", "knowledge", "code", "total")}
    others = [row["verdict"] for row in report["comparisons"] if row["metric"] not in told]
    assert found.num_others == len(others) - others.count("cannot tell") > 0


def test_nothing_to_compare_is_said() -> None:
    report = report_with([], tested=0)
    rows = summary_rows(report)
    assert find(report, []).lead == ["No variant is finished yet, so there is nothing to compare."]
    only = [row for row in rows if row.is_baseline]
    assert "is the only variant that is finished" in find(report, only).lead[0]
    others = [row for row in rows if not row.is_baseline]
    assert "is not finished beside the others" in find(report, others).lead[0]


def test_a_baseline_of_zero_has_no_relative_changes() -> None:
    row = comparison("470m", "code", "task/mbpp", 0.05, 0.0)
    row |= {
        "relative": None,
        "relative_low": None,
        "relative_high": None,
        "low": 0.01,
        "high": 0.09,
    }
    assert change_words(row) == "+0.050"
    assert size_words(row) == "0.050 (interval 0.010 to 0.090)"


def test_an_interval_across_zero_keeps_its_signs() -> None:
    row = comparison("470m", "code", "heldout/code", 0.99, 1.0)
    assert size_words(row) == "1.0% (interval \u22121.0 to 3.0%)"
