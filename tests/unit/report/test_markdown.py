"""The Markdown of a report that has everything a report may have."""

import re

from megatron_codemix.report.render import render_markdown
from tests.helpers.report_examples import SIZES, VARIANTS, paper_size_report


def test_all_tables_are_whole() -> None:
    text = render_markdown(paper_size_report())
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) == 9
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table
        assert re.fullmatch(r"\|(?:-+:?\|)+", table.splitlines()[1]), table


def test_published_values_have_their_remarks() -> None:
    report = paper_size_report()
    [entry] = report["published"]
    for row in entry["rows"][:2]:
        row["paper"]["note"] = "its text has 48.9"
    entry["rows"][3] |= {"ours": None, "why": "no variant of this study is balanced"}
    text = render_markdown(report)
    assert (
        "\n\n- \\* text-only, natural-language reasoning: its text has 48.9\n"
        "- The size is not in the table's caption.\n"
        "- no variant of this study is balanced\n\n"
    ) in text
    assert "| text-only | 470m | 49.0\\* | 51.2 [49.0, 53.0] |" in text


def test_it_says_what_was_published_what_was_not_run_and_what_it_cost() -> None:
    text = render_markdown(paper_size_report())
    assert "| text-only | 470m | 49.0 | 51.2 [49.0, 53.0] |" in text
    assert (
        "| phase cooldown | 2.8b.seed3 | not started: its parent balanced has failed | balanced "
        "| 40,000,000,000 | 812 GPU |"
    ) in text
    assert "| text-only | 470m.seed1 | 440,000,000,000 | 10h00m | 320 GPU | 1 | 0 |" in text
    assert len(re.findall(r"320 GPU \| 1 \| 0 \|$", text, re.MULTILINE)) == (
        3 * len(SIZES) * len(VARIANTS) + 1
    )
