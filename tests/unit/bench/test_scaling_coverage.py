"""Coverage of intervals: a small seeded draw of what `codemix bench scaling` measures."""

import json

import pytest
from typer.testing import CliRunner

from megatron_codemix.bench.rows import Row
from megatron_codemix.bench.scaling import coverage as module
from megatron_codemix.bench.scaling.coverage import coverage, overtraining_ladder
from megatron_codemix.cli import bench


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Of 25 draws at 90% between 18 and 25 hold it, but for one case in 100."""
    held = coverage(overtraining_ladder(), draws=25, seed=1)
    assert set(held) == {"E", "a", "b", "eta", "loss of 2.8B on 400B tokens"}
    for name, share in held.items():
        assert 18 / 25 <= share <= 1, name


def test_intervals_of_half_the_level_hold_it_half_as_often() -> None:
    """Between 5 and 18 of 25."""
    for name, share in coverage(overtraining_ladder(), draws=25, seed=1, level=0.45).items():
        assert 5 / 25 <= share <= 18 / 25, name


def test_few_draws_are_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "coverage", lambda truth, **options: {"E": 0.5})
    result = CliRunner().invoke(bench.app, ["scaling", "--draws", "3", "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["rows"]
    assert [(row["ours"], row["met"]) for row in rows] == [(50.0, None)] * len(module.LADDERS)
    assert rows[0]["goal"] == ">= 85 %, <= 95 %"
    assert CliRunner().invoke(bench.app, ["scaling", "--draws", "3", "--check"]).exit_code == 2


@pytest.mark.parametrize(("share", "code"), [(0.9, 0), (0.5, 1), (0.99, 1)])
def test_check_fails_outside_of_85_to_95_percent(
    monkeypatch: pytest.MonkeyPatch, share: float, code: int
) -> None:
    monkeypatch.setattr(module, "coverage", lambda truth, **options: {"E": share})
    rows: list[Row] = list(module.coverage_rows())
    assert rows[0].met is (code == 0)
    assert CliRunner().invoke(bench.app, ["scaling", "--check"]).exit_code == code
