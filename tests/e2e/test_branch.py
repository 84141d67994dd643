"""A cooldown that branches from the middle of a stable phase, against one run that decays there."""

import shutil
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix
from tests.helpers.tiny import SEQUENCE, write_run

STEP = 8 * SEQUENCE
STABLE = f"schedule={{kind: constant, lr: 3e-3, warmup_tokens: {2 * STEP}}}"
WHOLE = (
    f"schedule={{kind: wsd, peak_lr: 3e-3, final_lr: 1e-5, warmup_tokens: {2 * STEP}, "
    f"decay_tokens: {8 * STEP}, decay: linear}}"
)
COOLDOWN = "schedule={kind: linear, final_lr: 1e-5}"


def train(config: Path, run: RunDirectory, *options: str) -> None:
    """One source, so that both ways read the same samples in the same order."""
    done = codemix(
        "train", config, "data.mixture.weights={text: 1}", *options, "--run-dir", run.path
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


def test_a_cooldown_from_a_kept_checkpoint_equals_one_run(config: Path, tmp_path: Path) -> None:
    whole, stable, cooled = (RunDirectory(tmp_path / name) for name in ("a", "b", "c"))
    train(config, whole, WHOLE)
    keep = f"checkpoint.keep_every_tokens={6 * STEP}"
    train(config, stable, STABLE, keep, "checkpoint.keep_last=1")
    assert stable.complete_steps() == [6, 12, 18, 20]
    branch = f"init_from={{run: {stable.path}, load: weights+optimizer, at_tokens: {12 * STEP}}}"
    cooldown = (COOLDOWN, branch, f"train.train_tokens={8 * STEP}", "checkpoint.keep_last=2")
    cooldown += (f"checkpoint.save_every_tokens={5 * STEP}",)
    train(config, cooled, *cooldown)
    assert differing_tensors(whole.checkpoint(20), cooled.checkpoint(8)) == []
    rates = [[line["optimizer/lr"] for line in read_jsonl(run.metrics)] for run in (whole, cooled)]
    assert rates[0][12:] == rates[1]
    shutil.rmtree(stable.checkpoints)
    shutil.rmtree(cooled.checkpoint(8))
    train(config, cooled, *cooldown)  # from its own at step 5
    assert differing_tensors(whole.checkpoint(20), cooled.checkpoint(8)) == []
    audited = codemix("data", "ledger", cooled.path)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    source = read_jsonl(cooled.ledger)[-1]["sources"]["text"]
    assert source["cursor"] == read_jsonl(whole.ledger)[-1]["sources"]["text"]["cursor"]


def test_a_branch_where_nothing_is_kept_is_refused(config: Path, tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "stable")
    train(config, run, STABLE)
    branch = f"init_from={{run: {run.path}, load: weights, at_tokens: {7 * STEP}}}"
    refused = codemix("train", config, COOLDOWN, branch, "--run-dir", tmp_path / "x")
    assert refused.returncode == 2
    assert "no complete checkpoint at init_from.at_tokens (step 7)" in refused.stderr
    assert f"{20 * STEP:,}" in refused.stderr
    assert not (tmp_path / "x").exists()
