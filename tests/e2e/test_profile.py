"""`codemix train --profile` and what a run shows of itself."""

import gzip
import json
from pathlib import Path

import pytest

from megatron_codemix.files import read_json, read_jsonl
from tests.helpers.commands import codemix
from tests.helpers.tiny import SEQUENCE, write_run


def test_a_profile_holds_the_operators_of_every_rank(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ["logging.tensorboard=true", "logging.every_steps=4", "--profile", "--nproc", "2"]
    pytest.importorskip("tensorboard")
    done = codemix("train", write_run(tmp_path / "data"), *options, "--run-dir", run)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        folder = run / "attempts" / "1" / "profile"
        trace = json.loads(gzip.decompress((folder / f"rank{rank}.trace.json.gz").read_bytes()))
        names = {event.get("name") for event in trace["traceEvents"]}
        assert {"aten::mm", "gloo:all_reduce"} <= names
        assert "aten::mm" in (folder / f"rank{rank}.txt").read_text()
    attempt = run / "attempts" / "1"
    assert read_json(attempt / "provenance.json")["device"] == "CPU"
    assert read_json(attempt / "plan.json")["layout"]["tensor"] == 1
    lines = read_jsonl(run / "metrics.jsonl")
    assert [line["step"] for line in lines] == [4, 8, 12, 16, 20]
    for line in lines:
        assert 0 < line["throughput/model_flops_utilisation"] < 2  # of a measured peak
        rate = line["throughput/tokens_per_second"]
        assert line["time/step_seconds"] == pytest.approx(8 * SEQUENCE / rate)
        assert line["throughput/peak_memory_bytes"] > 1e7
    assert list((run / "tensorboard").iterdir())
    shown = [text for text in done.stderr.splitlines() if "  loss " in text]
    assert len(shown) == 5
    assert all(word in shown[0] for word in ("step 4/20", "(code ", "MFU ", "MiB", " left"))
