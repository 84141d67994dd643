"""A run with the options of the model and another optimizer: trained, resumed, evaluated."""

import json
from pathlib import Path

import pytest

from tests.helpers.commands import codemix
from tests.helpers.tiny import write_run

STEP = 8 * 32
COHERE = {
    "block": "parallel",
    "normalization": "layernorm_no_bias",
    "rope_interleaved": True,
    "qk_norm": True,
    "logit_scale": 0.5,
    "z_loss": 1e-3,
    "mup": {"base_hidden_size": 16},
}


def test_a_model_with_everything_set(tmp_path: Path) -> None:
    config = write_run(
        tmp_path,
        model=COHERE,
        layout={"tensor": 2, "sequence_parallel": True, "microbatch_sequences": 2},
        checkpoint={"save_every_tokens": 10 * STEP},
    )
    run = tmp_path / "run"
    done = codemix("train", config, "--run-dir", run, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 20
    assert lines[-1]["loss/train_nats"] < lines[0]["loss/train_nats"] - 0.05
    # Logits near 0 at step 0: the normaliser is the logarithm of the 1,024 rows of the table.
    assert lines[0]["loss/z_nats"] == pytest.approx(1e-3 * 6.9315**2, rel=0.01)
    done = codemix("evaluate", run, "--nproc", "1")
    assert done.returncode == 0, done.stderr
    scores = json.loads((run / "evaluation" / "heldout.summary.json").read_text())["sources"]
    assert all(0 < score["bits_per_byte"] < 12 for score in scores.values())


def test_muon_is_trained_and_its_state_is_not_adamws(tmp_path: Path) -> None:
    config = write_run(
        tmp_path,
        optimizer={"kind": "muon"},
        layout={"distributed_optimizer": False, "microbatch_sequences": 2},
    )
    done = codemix("train", config, "--run-dir", tmp_path / "run", "--nproc", "2")
    assert done.returncode == 0, done.stderr
    child = f"init_from={{run: {tmp_path / 'run'}, load: weights+optimizer}}"
    done = codemix(
        "train", config, child, "optimizer.kind=adamw", "--run-dir", tmp_path / "b", "--dry-run"
    )
    assert done.returncode == 2
    assert "optimizer.kind: adamw, but the state of the parent" in done.stderr
    done = codemix("train", config, child, "--run-dir", tmp_path / "b", "--dry-run")
    assert done.returncode == 0, done.stderr
