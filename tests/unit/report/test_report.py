"""The report: hand-computed numbers, warnings, and pages that stand alone."""

import io
import json
import math
import re
from pathlib import Path

import pytest
from rich.console import Console

from megatron_codemix.errors import RunError
from megatron_codemix.files import read_json, write_json
from megatron_codemix.report.collect import collect
from megatron_codemix.report.environment import linked, short_count, with_code
from megatron_codemix.report.figures import tick_words
from megatron_codemix.report.page.losses import loss_charts, loss_curves
from megatron_codemix.report.render import print_report, write_report
from megatron_codemix.report.tables import (
    bits_per_byte,
    build_report,
    relative_change,
    seed_statistics,
)
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.record import StudyRecord, write_record
from megatron_codemix.study.tree import expand, identify
from tests.helpers.html_page import Page
from tests.helpers.study_files import (
    STUDY,
    small_tree,
    write_all,
    write_evaluated,
    write_study,
    write_trained,
)

LN2 = math.log(2)
# Bits over 1000 bytes, so bits per byte are these divided by 1000.
NATS = {
    "text": {"text": 2000 * LN2, "code": 4000 * LN2},
    "balanced": {"text": 2500 * LN2, "code": 2000 * LN2},
    "balanced-then-text": {"text": 2100 * LN2, "code": 3000 * LN2},
    "cooldown": {"text": 1900 * LN2, "code": 3200 * LN2},
}


def test_relative_change_is_against_the_baseline() -> None:
    # Two of the recomputed changes of the paper's Table 2: reasoning 53.3 and 53.0 against 49.0.
    assert relative_change(53.3, 49.0) == pytest.approx(0.0878, abs=5e-5)
    assert relative_change(53.0, 49.0) == pytest.approx(0.0816, abs=5e-5)
    assert relative_change(8.0, 10.0) == -0.2


def test_bits_per_byte() -> None:
    # A uniform guess over 256 bytes costs 8 bits a byte.
    assert bits_per_byte(100 * math.log(256), 100) == pytest.approx(8.0)


def test_report_json_has_the_agreed_shape_and_numbers(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)
    write_record(tmp_path / "out", StudyRecord(name="small", wall_seconds=12.5))
    report = read_json(write_report(tree, tmp_path / "out").json)
    assert report["study"] == "small"
    assert report["baseline"] == "text-only"
    assert report["wall_seconds"] == 12.5
    assert report["ledger_max_error_samples"] == 0.25
    assert [row["name"] for row in report["variants"]] == ["text-only", "mixed", "cooled"]
    mixed = report["variants"][1]
    assert mixed["phases"] == ["balanced", "balanced-then-text"]
    assert mixed["tokens"] == 1280
    assert mixed["layout"]["tensor"] == 2
    assert mixed["tasks"] == {}
    unknown = {"low": None, "high": None}  # no documents were kept
    assert mixed["heldout"] == {
        "code": {"bits_per_byte": pytest.approx(3.0), "relative": pytest.approx(-0.25)} | unknown,
        "text": {"bits_per_byte": pytest.approx(2.1), "relative": pytest.approx(0.05)} | unknown,
    }
    baseline = report["variants"][0]["heldout"]
    assert {value["relative"] for value in baseline.values()} == {0.0}
    assert report["commit"] == "0123abc"
    assert report["versions"]["torch"] == "2.13.0"


def test_seeds_are_averaged_within_their_group() -> None:
    def row(cell: str, value: float, relative: float) -> dict[str, object]:
        heldout = {"text": {"bits_per_byte": value, "relative": relative}}
        return {"cell": cell, "name": "a", "heldout": heldout}

    rows = [row("s.1", 1.0, 0.1), row("s.2", 3.0, 0.2), row("s.3", 2.0, 0.3), row("w.1", 9.0, 0.0)]
    groups = {"s.1": "s", "s.2": "s", "s.3": "s", "w.1": "w"}
    assert seed_statistics(rows, groups) == [
        {
            "cell": "s",
            "name": "a",
            "num_seeds": 3,
            "heldout": {
                "text": {
                    "bits_per_byte_mean": pytest.approx(2.0),
                    "bits_per_byte_deviation": pytest.approx(1.0),
                    "relative_mean": pytest.approx(0.2),
                    "relative_deviation": pytest.approx(0.1),
                }
            },
        }
    ]


def test_relative_changes_stay_within_a_cell(tmp_path: Path) -> None:
    text = STUDY.replace("phases:\n", "matrix: {train.seed: [1, 2]}\nphases:\n")
    tree = small_tree(tmp_path, text)
    for node in tree.nodes.values():
        run = write_trained(tree, tmp_path / "out", node)
        factor = 2 if node.cell == "seed2" else 1
        write_evaluated(tree, run, {k: factor * v for k, v in NATS[node.name].items()})
    report = build_report(collect(tree, tmp_path / "out"))
    mixed = [row for row in report["variants"] if row["name"] == "mixed"]
    assert [row["cell"] for row in mixed] == ["seed1", "seed2"]
    assert [row["heldout"]["code"]["relative"] for row in mixed] == pytest.approx([-0.25, -0.25])
    [seeds] = [row for row in report["seeds"] if row["name"] == "mixed"]
    assert seeds["num_seeds"] == 2
    assert seeds["heldout"]["code"]["bits_per_byte_mean"] == pytest.approx(4.5)
    assert not any("one seed" in warning for warning in report["warnings"])
    write_report(tree, tmp_path / "out")
    assert "Means over 2 seeds" in (tmp_path / "out/report.html").read_text()
    assert "Over seeds" in (tmp_path / "out/report.md").read_text()
    assert "| variant | seeds | code | text |" in (tmp_path / "out/report.md").read_text()


def test_the_page_stands_alone(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)
    html = write_report(tree, tmp_path / "out").html.read_text(encoding="utf-8")
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    assert page.fetched == []
    assert "url(" not in html
    assert "@import" not in html
    assert page.links[0] == "#found"
    assert {link.removeprefix("#") for link in page.links} == set(page.places)
    assert html.count("<polyline") > 4
    for words in (
        "text-only",
        "\u221225.0%",
        "+5.0%",
        "TP2 x PP1 x DP1",
        "0123abc",
        "torch 2.13.0",
    ):
        assert words in page.text


def test_markdown_tables_are_whole(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)
    text = write_report(tree, tmp_path / "out").markdown.read_text(encoding="utf-8")
    tables = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    assert len(tables) >= 5
    for table in tables:
        widths = {line.count("|") for line in table.splitlines()}
        assert len(widths) == 1, table
    mixed = "| mixed | balanced, balanced-then-text | 1,280 | 3.0000 (-25.0%) | 2.1000 (+5.0%) |"
    assert mixed in text
    assert "- commit 0123abc\n- python 3.11.0, torch 2.13.0\n" in text


def test_attempts_and_times_change_only_what_is_named_so(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "once", NATS)
    write_all(tree, tmp_path / "twice", NATS)
    write_trained(tree, tmp_path / "twice", tree.nodes["single/text"], attempts=2)
    write_record(tmp_path / "twice", StudyRecord(name="small", wall_seconds=99.0, starts=2))
    reports = [read_json(write_report(tree, tmp_path / name).json) for name in ("once", "twice")]
    assert reports[0] != reports[1]
    for report in reports:
        del report["wall_seconds"], report["timing"], report["cost"]
    assert reports[0] == reports[1]


def test_the_same_records_give_the_same_page(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)
    first = write_report(tree, tmp_path / "out").html.read_bytes()
    assert write_report(tree, tmp_path / "out").html.read_bytes() == first


def test_unfinished_variants_are_left_out_and_named(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    for name in ("text", "balanced", "balanced-then-text"):
        run = write_trained(tree, tmp_path / "out", tree.nodes[f"single/{name}"])
        if name != "balanced-then-text":
            write_evaluated(tree, run, NATS[name])
    report = write_report(tree, tmp_path / "out").report
    assert [row["name"] for row in report["variants"]] == ["text-only"]
    assert report["warnings"][0] == "not finished, so not in the table: mixed, cooled"


def test_a_page_without_a_finished_variant_says_so(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_trained(tree, tmp_path / "out", tree.nodes["single/balanced"])
    page = Page()
    page.feed(write_report(tree, tmp_path / "out").html.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    assert "none of them is finished" in page.text
    assert "No variant is finished yet, so there is nothing to compare." in page.text
    assert {link.removeprefix("#") for link in page.links} == set(page.places)


def test_warnings_name_what_a_reader_must_know(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    write_all(tree, out, NATS)
    write_evaluated(
        tree, write_trained(tree, out, tree.nodes["single/balanced"], epochs=6.25), NATS["balanced"]
    )
    run = tree.run_directory(out, tree.nodes["single/cooldown"])
    run.config.write_text(run.config.read_text().replace("tensor: 2", "tensor: 1"))
    plan_path = run.attempt(1) / "plan.json"
    write_json(plan_path, read_json(plan_path) | {"data_parallel": 2})
    warnings = "\n".join(build_report(collect(tree, out))["warnings"])
    assert "one seed: no noise floor" in warnings
    assert (
        "differ in layout (TP1 x PP1 x DP2, microbatch 2; TP2 x PP1 x DP1, microbatch 2)"
        in warnings
    )
    assert "text-only 640, mixed 1,280, cooled 1,472" in warnings
    assert "balanced: source code was read 6.2 times" in warnings
    assert "by at most 8 tokens, 4% (phase cooldown)" in warnings


def test_a_report_needs_no_data_once_the_study_has_run(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    write_all(tree, out, NATS)
    runs = {k: str(tree.run_directory(out, n).path.relative_to(out)) for k, n in tree.nodes.items()}
    write_record(out, StudyRecord(name="small", runs=runs))
    spec = load_study(write_study(tmp_path), data_root=tmp_path / "moved away")
    without_data = identify(expand(spec))
    with_data = write_report(tree, out).json.read_text()
    assert write_report(without_data, out).json.read_text() == with_data


def test_nothing_to_report_is_said(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no phase of the study 'small' was started"):
        write_report(small_tree(tmp_path), tmp_path / "out")


def test_loss_curves_go_on_where_the_parent_ended(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)
    curves = loss_curves(collect(tree, tmp_path / "out"), "single")
    assert list(curves) == ["text", "code"]
    cooled = curves["text"]["cooled"]
    assert cooled.boundaries == [640, 1280]
    ends = [tokens for tokens, nats in zip(cooled.tokens, cooled.nats, strict=True) if nats == nats]
    assert ends == [*range(64, 641, 64), *range(704, 1281, 64), *range(1344, 1473, 64)]
    assert cooled.nats[0] == pytest.approx(3.99)
    assert cooled.nats[1] == pytest.approx((3.99 + 3.98) / 2)


def test_starts_of_phases_end_with_the_curves_of_a_source(tmp_path: Path) -> None:
    code = "data.mixture.weights: {code: 1}"
    text = STUDY.replace("data.mixture.weights: {text: 0.75, code: 0.25}", code)
    tree = small_tree(tmp_path, text.replace("train.train_tokens: 200M", code))
    write_all(tree, tmp_path / "out", NATS)
    records = collect(tree, tmp_path / "out")
    of_code, of_text = loss_charts(records, build_report(records)["cells"])
    assert (of_code.title, of_text.title) == ("code", "text")
    assert [len(line.starts) for line in of_code.series] == [1, 2]
    assert [len(line.starts) for line in of_text.series] == [0, 1, 1], "first phases alone read it"
    for line in (*of_code.series, *of_text.series):
        assert all(0 < start < 100 for start in line.starts)


def test_long_loss_curves_are_thinned_and_keep_their_ends(tmp_path: Path) -> None:
    text = STUDY.replace("train_tokens: 640M", "train_tokens: 64000M")
    tree = small_tree(tmp_path, text)
    write_all(tree, tmp_path / "out", NATS)
    records = collect(tree, tmp_path / "out")
    curve = loss_curves(records, "single")["text"]["text-only"]
    assert len(curve.tokens) == 160
    assert (curve.tokens[0], curve.tokens[-1]) == (64, 64_000)
    chart = loss_charts(records, build_report(records)["cells"])[-1]
    assert chart.title == "text"
    first, middle, last = chart.x_ticks
    assert middle[0] == pytest.approx((first[0] + last[0]) / 2, abs=0.1)


def test_the_terminal_shows_the_table(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)
    console = Console(width=100, record=True, file=io.StringIO())
    print_report(write_report(tree, tmp_path / "out"), console)
    text = console.export_text()
    assert "3.000 (-25.0%)" in text
    assert str(tmp_path / "out/report.html") in text


def test_report_json_is_strict_json(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    json.loads(write_report(tree, tmp_path / "out").json.read_text(), parse_constant=refuse)


def test_an_evaluation_that_nobody_asked_for_is_left_out_and_named(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    write_all(tree, tmp_path / "out", NATS)
    run = tree.run_directory(tmp_path / "out", tree.nodes["single/cooldown"])
    path = run.evaluation / "heldout.summary.json"
    write_json(path, read_json(path) | {"max_bytes_per_source": 3000})
    report = write_report(tree, tmp_path / "out").report
    assert [row["name"] for row in report["variants"]] == ["text-only", "mixed"]
    [row] = [row for row in report["phases"] if row["name"] == "cooldown"]
    assert row["heldout"] == {}
    assert report["warnings"][0] == "not finished, so not in the table: cooled"
    assert report["warnings"][1].startswith("cooldown: left out, because its evaluation is not")
    assert "3000 bytes of each source" in report["warnings"][1]
    assert "1024 bytes of each source" in report["warnings"][1]


def test_names_with_markup_are_shown_as_they_are(tmp_path: Path) -> None:
    text = STUDY.replace("  mixed:", '  "[red]a|b[/red]":')
    tree = small_tree(tmp_path, text)
    write_all(tree, tmp_path / "out", NATS)
    written = write_report(tree, tmp_path / "out")
    console = Console(width=120, file=io.StringIO(), record=True)
    print_report(written, console)
    assert "[red]a|b[/red]" in console.export_text()
    markdown = written.markdown.read_text(encoding="utf-8")
    assert "| [red]a\\|b[/red] | balanced, " in markdown
    for table in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_names_with_tags_are_text(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, STUDY.replace("  mixed:", '  "<img src=x>&":'))
    write_all(tree, tmp_path / "out", NATS)
    page = Page()
    page.feed(write_report(tree, tmp_path / "out").html.read_text(encoding="utf-8"))
    page.close()
    assert page.fetched == []
    assert page.open == []
    assert "<img src=x>&" in page.text


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("add `a: [1, 2]`", "add <code>a: [1, 2]</code>"),
        ("`<b>` & <i>", "<code>&lt;b&gt;</code> &amp; &lt;i&gt;"),
        ("a lone ` and <b>", "a lone ` and &lt;b&gt;"),
    ],
)
def test_commands_in_warnings_look_like_code(text: str, html: str) -> None:
    assert with_code(text) == html


def test_articles_are_links() -> None:
    address = "https://arxiv.org/abs/2408.10914"
    assert linked("<To Code> (arXiv 2408.10914), Table 2") == (
        f'&lt;To Code&gt; (<a href="{address}">arXiv 2408.10914</a>), Table 2'
    )
    assert linked("arXiv 24") == "arXiv 24"


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (999, "999"), (81_920, "81.9K"), (999_999, "1M"), (440e9, "440B"), (None, "-")],
)
def test_counts_of_three_digits(number: float | None, words: str) -> None:
    assert short_count(number) == words


def test_ticks_of_one_axis_have_one_unit() -> None:
    ticks = [tick_words(tokens, 12_000) for tokens in (0, 2500, 5000, 7500, 10_000)]
    assert ticks == ["0K", "2.5K", "5K", "7.5K", "10K"]
    assert tick_words(500, 640) == "500"
    assert tick_words(200_000, 1_480_000) == "0.2M"
