"""Which metrics the loss curves of a page are made of."""

from pathlib import Path

import pytest

from megatron_codemix.errors import RunError
from megatron_codemix.report.collect import collect
from megatron_codemix.report.page.losses import loss_charts, loss_curves
from megatron_codemix.report.tables import build_report
from tests.helpers.study_files import BRANCHED, STUDY, small_tree, write_all

NATS = {name: {"text": 2000.0} for name in ("text", "balanced", "balanced-then-text", "cooldown")}


def test_only_the_first_seeds_metrics_are_read(tmp_path: Path) -> None:
    """Those of all phases of a large study are more than a machine's memory."""
    tree = small_tree(tmp_path, STUDY + "matrix: {train.seed: [1, 2]}\n")
    out = tmp_path / "out"
    write_all(tree, out, NATS)
    damaged = {
        seed: tree.run_directory(out, tree.nodes[f"{seed}/text"]).metrics
        for seed in ("seed1", "seed2")
    }
    damaged["seed2"].write_text("no JSON\n")
    records = collect(tree, out)
    cells = build_report(records)["cells"]
    assert [chart.title for chart in loss_charts(records, cells)] == ["code, seed1", "text, seed1"]
    damaged["seed1"].write_text("no JSON\n")
    with pytest.raises(RunError, match=r"metrics\.jsonl:1: damaged"):
        loss_charts(records, cells)


def test_a_curve_has_of_a_phase_what_comes_before_the_next_one(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path, BRANCHED), tmp_path / "out"
    write_all(tree, out, NATS)
    curve = loss_curves(collect(tree, out), "single")["code"]["mixed"]
    assert curve.boundaries == [320]
    ends = [tokens for tokens, nats in zip(curve.tokens, curve.nats, strict=True) if nats == nats]
    assert ends == [*range(64, 321, 64), *range(384, 961, 64)]
