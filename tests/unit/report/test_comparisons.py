"""Comparisons of a report, from files as evaluations leave them: the numbers by other means, and
what is said where something is missing."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy import stats

from megatron_codemix.files import write_json, write_text
from megatron_codemix.report.collect import collect
from megatron_codemix.report.render import print_report, write_report
from megatron_codemix.report.statistics.decisions import holm
from megatron_codemix.report.tables import build_report
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.tree import StudyTree
from tests.helpers.html_page import Page
from tests.helpers.study_files import STUDY, small_tree, write_evaluated, write_trained

LEVELS = {"text": 2.5, "balanced": 2.4, "balanced-then-text": 2.4, "cooldown": 2.55}
"""Phase -> bits per byte of an average document."""

NUM_DOCUMENTS = 40
MONTE_CARLO = 0.08
"""Of an interval's width: what 4000 draws leave of chance in its ends."""

TASKS = "  tasks: {names: [copa, boolq, nq_open, mbpp, mbpp_bpb], limit: 60}\n"


def seeds_study(*seeds: int) -> str:
    return STUDY.replace("phases:\n", f"matrix: {{train.seed: {list(seeds)}}}\nphases:\n")


def write_documents(tree: StudyTree, out: Path, node: PhaseNode, *, is_kept: bool = True) -> None:
    """An evaluation: documents of very different lengths, some hard for all; noise of the run."""
    run = write_trained(tree, out, node)
    of_documents, of_run = np.random.default_rng(1), np.random.default_rng(list(node.key.encode()))
    lines: list[dict[str, Any]] = []
    for source in ("code", "text"):
        sizes = of_documents.integers(100, 4000, NUM_DOCUMENTS)
        bits = LEVELS[node.name] + of_documents.normal(0, 0.5, NUM_DOCUMENTS)
        bits += of_run.normal(0, 0.02) + of_run.normal(0, 0.05, NUM_DOCUMENTS)
        lines += [
            {"source": source, "document": number, "id": f"{source}{number}", "tokens": 9}
            | {"bytes": int(size), "nats": float(size * one * math.log(2))}
            for number, (size, one) in enumerate(zip(sizes, bits, strict=True))
        ]
    totals = {
        source: (
            math.fsum(line["nats"] for line in lines if line["source"] == source),
            sum(line["bytes"] for line in lines if line["source"] == source),
        )
        for source in ("code", "text")
    }
    write_evaluated(tree, run, {source: nats for source, (nats, _) in totals.items()})
    summary = json.loads((run.evaluation / "heldout.summary.json").read_text())
    for source, (_, size) in totals.items():
        summary["sources"][source]["bytes"] = size
    write_json(run.evaluation / "heldout.summary.json", summary)
    if is_kept:
        write_text(run.evaluation / "heldout.jsonl", "".join(json.dumps(x) + "\n" for x in lines))


def write_tasks(tree: StudyTree, out: Path, node: PhaseNode) -> dict[str, np.ndarray]:
    """Answers to four benchmarks; boolq's are no better than guesses."""
    run, status = tree.run_directory(out, node), tree.plan(node).num_steps
    generator = np.random.default_rng(list(f"tasks {node.key}".encode()))
    shares = {"copa": 0.8, "boolq": 0.5, "nq_open": 0.3, "mbpp": LEVELS[node.name] - 2}
    asked = tree.spec.evaluation.tasks
    assert asked is not None
    metrics = {"nq_open": "exact_match/strict", "mbpp": "pass@1", "mbpp_bpb": "bits_per_byte"}
    answers = {name: generator.random(60) < share for name, share in shares.items()}
    scores = {name: right.astype(float) for name, right in answers.items()}
    scores["mbpp_bpb"] = LEVELS[node.name] + generator.normal(0, 0.03, 60)
    for name, values in scores.items():
        metric = metrics.get(name, "acc")
        score, _, way = metric.partition("/")
        lines = [{"item": n, score: float(one)} for n, one in enumerate(values)]
        if way:  # read in two ways, of which the study reports one
            lines = [line | {"filter": way} for line in lines]
            lines += [{"item": n, score: 1.0, "filter": "flexible"} for n in range(60)]
        stem = run.evaluation / f"{name}.first60"
        write_text(Path(f"{stem}.jsonl"), "".join(json.dumps(line) + "\n" for line in lines))
        value = {"value": float(values.mean()), "stderr": 0.05}
        summary = {"reported": metric, "metrics": {metric: value}, "items": 60}
        write_json(Path(f"{stem}.summary.json"), summary | {"above_random": name != "boolq"})
    done = {"step": status, "names": asked.names, "data_dir": None, "limit": 60}
    write_json(run.evaluation / "tasks.json", done | {"tasks": ["heldout", *scores]})
    return answers


def report_of(tree: StudyTree, out: Path) -> dict[str, Any]:
    return build_report(collect(tree, out))


def row_of(report: dict[str, Any], variant: str, metric: str) -> dict[str, Any]:
    [row] = [
        row for row in report["comparisons"] if (row["variant"], row["metric"]) == (variant, metric)
    ]
    return row


def run_values(report: dict[str, Any], source: str) -> np.ndarray:
    """[variants, seeds], in the report's order."""
    found: dict[str, list[float]] = {}
    for row in report["variants"]:
        found.setdefault(row["name"], []).append(row["heldout"][source]["bits_per_byte"])
    return np.array(list(found.values()))


def test_one_seed_tells_of_models_and_not_of_recipes(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    for node in tree.nodes.values():
        write_documents(tree, tmp_path / "out", node)
    report = report_of(tree, tmp_path / "out")
    assert len(report["comparisons"]) == 2 * 2
    assert report["statistics"]["tested"] == 0
    row = row_of(report, "mixed", "heldout/code")
    assert (row["cell"], row["baseline"], row["lower_is_better"]) == ("single", "text-only", True)
    values = run_values(report, "code")[:, 0]
    assert row["difference"] == pytest.approx(values[1] - values[0])
    assert row["relative"] == pytest.approx(values[1] / values[0] - 1)
    assert row["relative_low"] == pytest.approx(row["low"] / values[0])
    assert (row["method"], row["seeds"], row["items"]) == ("items", 1, NUM_DOCUMENTS)
    assert row["verdict"] == "cannot tell"
    assert row["reason"] == "one seed: what another seed would change is not known"
    assert [row[key] for key in ("floor", "p", "p_corrected", "runs_to_decide")] == [None] * 4
    assert row["models_verdict"] == "better"
    assert row_of(report, "cooled", "heldout/code")["models_verdict"] == "worse"


def test_intervals_over_documents_are_scipys(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    for node in tree.nodes.values():
        write_documents(tree, out, node)
    report = report_of(tree, out)
    nats, sizes = {}, np.array([])
    for name in ("text", "balanced-then-text"):
        run = tree.run_directory(out, tree.nodes[f"single/{name}"])
        lines = [json.loads(x) for x in (run.evaluation / "heldout.jsonl").read_text().splitlines()]
        code = [line for line in lines if line["source"] == "code"]
        nats[name] = np.array([line["nats"] for line in code])
        sizes = np.array([line["bytes"] for line in code])
    bits = {name: one / math.log(2) for name, one in nats.items()}

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        return a.sum(axis) / b.sum(axis)

    differences = bits["balanced-then-text"] - bits["text"]
    row = row_of(report, "mixed", "heldout/code")
    own = report["variants"][0]["heldout"]["code"]
    for values, found in ((differences, row), (bits["text"], own)):
        scipys = stats.bootstrap(
            (values, sizes), ratio, paired=True, n_resamples=9999, method="percentile", rng=0
        )
        low, high = scipys.confidence_interval
        # Ours is wider for 40 documents: by sqrt(40 / 39), and Student's quantile for the normal.
        widening = math.sqrt(40 / 39) * stats.t.ppf(0.975, 39) / stats.norm.ppf(0.975)
        middle = values.sum() / sizes.sum()
        expected = [middle + widening * (end - middle) for end in (low, high)]
        assert [found["low"], found["high"]] == pytest.approx(
            expected, abs=MONTE_CARLO * (high - low)
        )


def test_seeds_without_items_are_a_block_design(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, seeds_study(1, 2, 3))
    for node in tree.nodes.values():
        write_documents(tree, tmp_path / "out", node, is_kept=False)
    report = report_of(tree, tmp_path / "out")
    table = run_values(report, "text")
    left = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    error = math.sqrt(2 * (left**2).sum() / 4 / 3)
    row = row_of(report, "cooled", "heldout/text")
    difference = (table[2] - table[0]).mean()
    assert (row["method"], row["seeds"], row["items"]) == ("seeds", 3, None)
    assert row["p"] == pytest.approx(2 * stats.t.sf(abs(difference) / error, 4))
    edge = stats.t.ppf(0.975, 4)
    width = edge * error
    ends = [difference - width, difference + width]
    assert [row["low"], row["high"]] == pytest.approx(ends, abs=0.02 * width)
    assert row["floor"] == pytest.approx(edge * error * math.sqrt(3))
    assert report["variants"][0]["heldout"]["text"]["low"] is None
    assert row["models_p"] is None


def test_seeds_and_items_together_and_their_correction(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, seeds_study(1, 2, 3, 4))
    for node in tree.nodes.values():
        write_documents(tree, tmp_path / "out", node)
    report = report_of(tree, tmp_path / "out")
    rows = report["comparisons"]
    assert {row["method"] for row in rows} == {"items and seeds"}
    assert [row["p_corrected"] for row in rows] == pytest.approx(holm([row["p"] for row in rows]))
    assert report["statistics"]["tested"] == len(rows) == 4
    mixed, cooled = (row_of(report, name, "heldout/code") for name in ("mixed", "cooled"))
    assert (mixed["verdict"], mixed["reason"], mixed["runs_to_decide"]) == ("better", None, None)
    assert cooled["baseline_value"] == mixed["baseline_value"]
    for row in rows:
        assert (row["verdict"] == "cannot tell") == (row["p_corrected"] >= 0.05)
        assert (row["runs_to_decide"] is None) or row["runs_to_decide"] > 4
        assert row["low"] < row["difference"] < row["high"]


def test_a_model_that_has_diverged_is_compared_by_nothing(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, seeds_study(1, 2, 3))
    out = tmp_path / "out"
    for node in tree.nodes.values():
        write_documents(tree, out, node, is_kept=False)
    run = tree.run_directory(out, tree.nodes["seed2/cooldown"])
    write_evaluated(tree, run, {"code": math.nan, "text": 2500.0})
    written = write_report(tree, out)
    report = json.loads(written.json.read_text(), parse_constant=lambda name: pytest.fail(name))
    warning = "seed2/cooldown: has no finite loss on code, so it is not shown there"
    assert any(one.startswith(warning) for one in report["warnings"])
    assert row_of(report, "cooled", "heldout/code")["seeds"] == 2
    assert row_of(report, "cooled", "heldout/text")["seeds"] == 3
    assert row_of(report, "mixed", "heldout/code")["seeds"] == 3
    assert all(math.isfinite(row["p"]) for row in report["comparisons"])


def test_other_points_of_the_matrix_have_noise_of_their_own(tmp_path: Path) -> None:
    matrix = "matrix: {model.num_layers: [2, 4], train.seed: [1, 2]}\nphases:\n"
    tree = small_tree(tmp_path, STUDY.replace("phases:\n", matrix))
    for node in tree.nodes.values():
        write_documents(tree, tmp_path / "out", node)
    report = report_of(tree, tmp_path / "out")
    assert list(dict.fromkeys(row["cell"] for row in report["comparisons"])) == ["2", "4"]
    floors = {row["cell"]: row["floor"] for row in report["comparisons"]}
    assert floors["2"] != floors["4"]


def test_right_answers_are_compared_exactly_and_averages_by_their_weights(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, STUDY + TASKS)
    out = tmp_path / "out"
    answers = {}
    for node in tree.nodes.values():
        write_documents(tree, out, node)
        answers[node.name] = write_tasks(tree, out, node)
    report = report_of(tree, out)
    metrics = list(dict.fromkeys(row["metric"] for row in report["comparisons"]))
    assert metrics == [
        *("heldout/code", "heldout/text"),
        *("average/reasoning", "average/knowledge", "average/code", "average/nl", "average/total"),
        # boolq is not above random
        *("task/copa", "task/mbpp", "task/mbpp_bpb", "task/nq_open"),
    ]
    first, second = answers["balanced-then-text"], answers["text"]
    for name in ("copa", "nq_open", "mbpp"):
        row = row_of(report, "mixed", f"task/{name}")
        ours, theirs = first[name], second[name]
        only = [int((ours & ~theirs).sum()), int((theirs & ~ours).sum())]
        assert row["models_p"] == pytest.approx(stats.binomtest(only[0], sum(only)).pvalue)
        assert row["difference"] == pytest.approx((only[0] - only[1]) / 60)
        assert (row["items"], row["lower_is_better"]) == (60, False)
    nl = row_of(report, "mixed", "average/nl")
    differences = {name: first[name].astype(float) - second[name] for name in first}
    parts = [differences["copa"], differences["nq_open"]]
    assert nl["difference"] == pytest.approx(sum(one.mean() for one in parts) / 2)
    error = math.sqrt(sum(one.var(ddof=1) / 60 for one in parts)) / 2
    half = stats.t.ppf(0.975, 118) * error
    assert nl["high"] - nl["low"] == pytest.approx(2 * half, rel=MONTE_CARLO)
    assert nl["items"] == 120
    bits = row_of(report, "mixed", "task/mbpp_bpb")
    assert (bits["lower_is_better"], bits["models_verdict"]) == (True, "better")
    assert row_of(report, "mixed", "average/total")["items"] == 180


def test_validations_have_documents_too(tmp_path: Path) -> None:
    text = STUDY.replace(
        "  heldout: {world_size: 1, max_bytes_per_source: 1KiB}\n",
        "  heldout: {kind: validation}\n",
    ).replace(
        "phases:\n", "  validation: {every_tokens: 320M, max_bytes_per_source: 1KiB}\nphases:\n"
    )
    assert "kind: validation" in text
    evaluated = small_tree(tmp_path)
    tree = small_tree(tmp_path, text)
    reports = []
    for one, out in ((evaluated, tmp_path / "evaluated"), (tree, tmp_path / "validated")):
        for node in evaluated.nodes.values():
            write_documents(evaluated, tmp_path / "evaluated", node)
            if one is tree:
                run, step = (
                    write_trained(tree, out, tree.nodes[node.key]),
                    tree.plan(node).num_steps,
                )
                made = evaluated.run_directory(tmp_path / "evaluated", node).evaluation
                summary = json.loads((made / "heldout.summary.json").read_text())
                line = {"step": step, "sources": summary["sources"]}
                write_text(run.validation, json.dumps(line) + "\n")
                lines = (made / "heldout.jsonl").read_text()
                write_text(run.validation_documents, lines)
        reports.append(report_of(one, out)["comparisons"])
    assert reports[0] == reports[1]
    assert {row["method"] for row in reports[1]} == {"items"}


def test_items_that_do_not_add_up_are_not_used(tmp_path: Path) -> None:
    tree = small_tree(tmp_path)
    out = tmp_path / "out"
    for node in tree.nodes.values():
        write_documents(tree, out, node)
        path = tree.run_directory(out, node).evaluation / "heldout.jsonl"
        lines = path.read_text().splitlines()
        path.write_text("".join(f"{line}\n" for line in lines if '"code3"' not in line))
    report = report_of(tree, out)
    code, text = (row_of(report, "mixed", f"heldout/{source}") for source in ("code", "text"))
    assert (code["method"], code["low"], code["items"]) == ("none", None, None)
    assert (text["method"], text["items"]) == ("items", NUM_DOCUMENTS)


@pytest.mark.parametrize("seeds", [(1,), (1, 2, 3)])
def test_pages_and_the_terminal_say_the_verdicts(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    tree = small_tree(tmp_path, seeds_study(*seeds))
    for node in tree.nodes.values():
        write_documents(tree, tmp_path / "out", node)
    written = write_report(tree, tmp_path / "out")
    page = Page()
    page.feed(written.html.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    markdown = written.markdown.read_text(encoding="utf-8")
    for table in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
    console = Console(width=120, record=True, file=io.StringIO())
    print_report(written, console)
    terminal = console.export_text()
    row = row_of(written.report, "mixed", "heldout/code")
    for text in (page.text, markdown):
        assert "What can be told" in text
        assert f"{row['difference']:+.4f}" in text
        assert f"[{row['low']:+.4f}, {row['high']:+.4f}]" in text
        assert ("No seed is repeated" in text) == (len(seeds) == 1)
    undecided = [one for one in written.report["comparisons"] if one["runs_to_decide"] is not None]
    for one in undecided:
        assert f"({one['reason']}; {one['runs_to_decide']} seeds would decide)" in markdown
    assert ("against text-only, at 95%" in terminal) == (len(seeds) > 1)
    if len(seeds) > 1:
        assert row["verdict"] in terminal
        assert f"{row['floor']:.4f}" in markdown


def test_the_same_records_give_the_same_numbers(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, seeds_study(1, 2) + TASKS)
    for node in tree.nodes.values():
        write_documents(tree, tmp_path / "out", node)
        write_tasks(tree, tmp_path / "out", node)
    first = report_of(tree, tmp_path / "out")["comparisons"]
    assert report_of(tree, tmp_path / "out")["comparisons"] == first
