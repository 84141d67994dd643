"""`codemix bench data` at a thousandth of its size: the figures mean nothing, the form does."""

import json
from pathlib import Path

import pytest

from tests.helpers.commands import codemix

KEYS = {
    "name", "ours", "peer", "unit", "ratio", "goal", "met", "note",
    "ours_system_seconds", "peer_system_seconds",
}  # fmt: skip


def bench_data(folder: Path, *arguments: str):
    return codemix(
        "bench", "data", "--scale", "0.001", "--repeats", "1", "--folder", folder, *arguments
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of all sections that need no process of their own."""
    folder = tmp_path_factory.mktemp("bench")
    sections = [part for name in ("blend", "gather", "new-mixture") for part in ("--only", name)]
    result = bench_data(folder, "--json", *sections)
    assert not list(folder.iterdir()), "files are left behind"
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_report_has_the_documented_form(report) -> None:
    assert set(report) == {"bench", "commit", "machine", "scale", "rows"}
    assert report["bench"] == "data"
    assert {"processor", "cores", "memory_bytes", "system", "python"} == set(report["machine"])
    assert all(set(row) == KEYS for row in report["rows"])
    names = [row["name"] for row in report["rows"]]
    assert len(set(names)) == len(names) > 15


def test_ratios_follow_from_the_figures(report) -> None:
    for row in report["rows"]:
        if row["ratio"] is not None:
            is_rate = row["unit"] == "GB/s"
            quotient = row["ours"] / row["peer"] if is_rate else row["peer"] / row["ours"]
            assert row["ratio"] == pytest.approx(quotient)


def test_goals_are_for_full_size_and_not_judged_at_another(report, tmp_path) -> None:
    assert any(row["goal"] for row in report["rows"])
    assert all(row["met"] is None for row in report["rows"])
    refused = bench_data(tmp_path, "--check")
    assert refused.returncode == 2
    assert "the goals are for scale 1, not 0.001" in " ".join(refused.stderr.split())


def test_a_new_mixture_writes_nothing(report) -> None:
    (written,) = (row for row in report["rows"] if row["name"].endswith(": written"))
    assert written["ours"] == 0
    assert written["peer"] > 0


def test_a_section_that_is_not_there_is_named(tmp_path) -> None:
    result = bench_data(tmp_path, "--only", "gathr")
    assert result.returncode == 2
    assert "no section 'gathr'; there are start-up, order, blend, gather" in result.stderr


def test_the_checkpoint_benchmark_has_the_same_form(tmp_path) -> None:
    command = ["bench", "checkpoint", "--scale", "0.001", "--repeats", "1", "--folder", tmp_path]
    result = codemix(*command, "--json")
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.iterdir()), "files are left behind"
    report = json.loads(result.stdout)
    assert report["bench"] == "checkpoint"
    assert all(set(row) == KEYS for row in report["rows"])
    blocked = report["rows"][0]
    assert blocked["ratio"] == pytest.approx(blocked["peer"] / blocked["ours"])
    assert (blocked["goal"], blocked["met"]) == (">= 6.67x", None)


def test_the_training_benchmark_has_the_same_form_and_compares_equals(tmp_path) -> None:
    command = ["bench", "train", "--scale", "0.001", "--repeats", "1", "--folder", tmp_path]
    result = codemix(*command, "--json")
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.iterdir()), "files are left behind"
    report = json.loads(result.stdout)
    assert set(report) == {"bench", "commit", "machine", "scale", "rows"}
    assert report["bench"] == "train"
    assert all(set(row) == KEYS and row["met"] is None for row in report["rows"])
    rows = {row["name"]: row for row in report["rows"]}
    assert len(rows) == len(report["rows"]) == 12
    steps = [rows[name] for name in ("fp32: a step", "bf16: a step", "fp32: a step of the loop")]
    assert [row["goal"] for row in steps] == [">= 0.952x", ">= 0.909x", ">= 0.98x"]
    assert all(row["ratio"] == pytest.approx(row["peer"] / row["ours"]) for row in steps)
    limits = {name: row for name, row in rows.items() if row["unit"] == "1e-6 nats"}
    assert len(limits) == 3
    for name, row in limits.items():
        assert row["ours"] <= float(row["goal"].split()[1].replace(",", "")), name


def test_a_section_of_the_training_benchmark_that_is_not_there_is_named(tmp_path) -> None:
    result = codemix("bench", "train", "--only", "stop", "--folder", tmp_path)
    assert result.returncode == 2
    assert "no section 'stop'; there are step, loop, start" in result.stderr


def test_the_evaluation_benchmark_has_the_same_form_and_compares_equals(tmp_path) -> None:
    command = ["bench", "evaluate", "--scale", "0.001", "--repeats", "1", "--folder", tmp_path]
    result = codemix(*command, "--json")
    assert result.returncode == 0, result.stderr
    assert not list(tmp_path.iterdir()), "files are left behind"
    report = json.loads(result.stdout)
    assert set(report) == {"bench", "commit", "machine", "scale", "rows"}
    assert report["bench"] == "evaluate"
    assert all(set(row) == KEYS and row["met"] is None for row in report["rows"])
    rows = {row["name"]: row for row in report["rows"]}
    assert len(rows) == len(report["rows"]) == 15
    rates = [row for row in report["rows"] if row["unit"].endswith("/s")]
    assert len(rates) == 8
    assert all(row["ratio"] == pytest.approx(row["ours"] / row["peer"]) for row in rates)
    assert rows["multiple choice, all tasks"]["goal"] == ">= 1.3x"
    assert rows["multiple choice: log-likelihoods differ by at most"]["ours"] < 1e-3
    assert rows["multiple choice: items with another answer"]["ours"] == 0
    assert rows["whole texts: bits per byte differ by at most"]["ours"] < 10  # 1e-6 bits
    for name, row in rows.items():
        if name.endswith("equal texts"):
            assert row["ours"] == 100
        if name.startswith("2 copies beside 1"):
            assert row["goal"] == ">= 1.5x"
            assert row["ratio"] == pytest.approx(row["peer"] / row["ours"])


def test_a_benchmark_without_its_data_says_where_to_get_it(tmp_path) -> None:
    command = ["bench", "evaluate", "--scale", "0.001", "--only", "choices", "--folder", tmp_path]
    result = codemix(*command, "--data-dir", tmp_path)
    assert result.returncode == 2
    assert "arc_easy: no data below" in result.stderr
    assert not list(tmp_path.iterdir()), "files are left behind"
