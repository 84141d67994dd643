"""Who prepares the batches decides nothing."""

from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.tiny import write_run

NUM_STEPS = 20


def test_a_run_with_dali_equals_one_without(tmp_path: Path) -> None:
    pytest.importorskip("nvidia.dali", reason="NVIDIA DALI (extra `dali`) is not installed")
    config = write_run(tmp_path / "data")
    runs = [RunDirectory(tmp_path / loader) for loader in ("own", "dali")]

    for run in runs:
        loader = f"data.loader={run.path.name}"
        done = codemix("train", config, loader, "--run-dir", run.path, "--nproc", "2")
        assert done.returncode == 0, done.stderr

    own, dali = (read_jsonl(run.metrics) for run in runs)
    assert [line["loss/train_nats"] for line in own] == [line["loss/train_nats"] for line in dali]
    assert all(line["time/data_wait_seconds"] >= 0 for line in own + dali)
    assert differing_tensors(*(run.checkpoint(NUM_STEPS) for run in runs)) == []
    assert runs[0].ledger.read_bytes() == runs[1].ledger.read_bytes()
