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
    """Of all sections that need no process of their own, run with --check."""
    folder = tmp_path_factory.mktemp("bench")
    sections = [part for name in ("blend", "gather", "new-mixture") for part in ("--only", name)]
    result = bench_data(folder, "--json", "--check", *sections)
    assert not list(folder.iterdir()), "files are left behind"
    return result.returncode, json.loads(result.stdout)


def test_the_report_has_the_documented_form(report) -> None:
    _, found = report
    assert set(found) == {"bench", "commit", "machine", "scale", "rows"}
    assert found["bench"] == "data"
    assert {"processor", "cores", "memory_bytes", "system", "python"} == set(found["machine"])
    assert all(set(row) == KEYS for row in found["rows"])
    names = [row["name"] for row in found["rows"]]
    assert len(set(names)) == len(names) > 15


def test_ratios_follow_from_the_figures(report) -> None:
    _, found = report
    for row in found["rows"]:
        if row["ratio"] is not None:
            is_rate = row["unit"] == "GB/s"
            quotient = row["ours"] / row["peer"] if is_rate else row["peer"] / row["ours"]
            assert row["ratio"] == pytest.approx(quotient)


def test_check_fails_exactly_where_a_goal_is_missed(report) -> None:
    code, found = report
    assert code == int(any(row["met"] is False for row in found["rows"]))


def test_a_new_mixture_writes_nothing(report) -> None:
    _, found = report
    (written,) = (row for row in found["rows"] if row["name"].endswith(": written"))
    assert (written["ours"], written["met"]) == (0, True)
    assert written["peer"] > 0


def test_a_section_that_is_not_there_is_named(tmp_path) -> None:
    result = bench_data(tmp_path, "--only", "gathr")
    assert result.returncode == 2
    assert "no section 'gathr'; there are start-up, order, blend, gather" in result.stderr
