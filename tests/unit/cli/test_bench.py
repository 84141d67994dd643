"""`codemix bench data`: what --check makes of the rows. The figures are not measured here."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from megatron_codemix.bench.rows import Goal, Row
from megatron_codemix.cli import bench


@pytest.mark.parametrize(("ours", "code"), [(1.0, 0), (3.0, 1)])
def test_check_fails_exactly_where_a_goal_is_missed(
    monkeypatch: pytest.MonkeyPatch, ours: float, code: int
):
    def rows(names: list[str], *arguments: Any, **options: Any) -> Iterator[Row]:
        yield Row(name="gather", ours=ours, peer=None, unit="us", goal=Goal(at_most=2))

    monkeypatch.setattr(bench, "run_sections", rows)
    assert CliRunner().invoke(bench.app, ["data", "--check"]).exit_code == code
