"""Costs over seeds, and their tables."""

import re

import pytest

from megatron_codemix.report.page.costs import variant_costs
from megatron_codemix.report.page.html import render_html
from tests.helpers.report_examples import SIZES, VARIANTS, paper_size_report


def test_seeds_are_added_and_what_is_unknown_stays_so() -> None:
    report = paper_size_report()
    report["cost"]["variants"][0] |= {"gpu_hours": None, "is_complete": False, "failures": 2}
    found = variant_costs(report["cost"], report["cells"])
    assert [(one["cell"], one["variant"]) for one in found] == [
        (size, variant) for size in SIZES for variant in VARIANTS
    ]
    first, second = found[:2]
    assert (first["runs"], first["gpu_hours"], first["is_complete"]) == (3, None, False)
    assert (first["failures"], first["restarts"]) == (2, 3)
    assert (second["gpu_hours"], second["seconds"], second["is_complete"]) == (960, 108_000, True)
    assert second["tokens"] == 3 * 440_000_000_000


def section(html: str) -> str:
    return html.split('<section id="cost"')[1].split("</section>")[0]


@pytest.mark.parametrize("seeds", [("1",), ("1", "2")])
def test_all_rows_are_as_wide_as_the_head(seeds: tuple[str, ...]) -> None:
    table = section(render_html(paper_size_report(seeds), [])).split("</table>")[0]
    widths = {
        sum(int(span or 1) for span in re.findall(r'<t[hd](?: colspan="(\d+)")?[ >]', row))
        for row in table.split("<tr")[1:]
    }
    assert widths == {6 if len(seeds) == 1 else 7}


def test_of_many_phases_that_share_a_training_a_few_are_named() -> None:
    report = paper_size_report()
    first, second = report["cost"]["phases"][:2]
    first["shared_with"] = [f"seed{number}/base" for number in range(1, 11)]
    second["shared_with"] = first["shared_with"][:3]
    html = section(render_html(report, []))
    words = re.findall("the same training as ([^<]*)<", html)
    shared = "seed1/base, seed2/base, seed3/base"
    assert words == [f"{shared} and 7 more", shared]
