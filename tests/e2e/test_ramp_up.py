"""A batch that grows while a run trains: the same samples, in other batches."""

import json
import signal
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, codemix_stopped
from tests.helpers.tiny import SEQUENCE, write_run

RAMP_UP = (
    "train.ramp_up={start_sequences: 2, increment_sequences: 2, "
    f"over_tokens: {3 * 24 * SEQUENCE}}}"
)
SIZES = [2] * 12 + [4] * 6 + [6] * 4 + [8] * 11
"""24 samples of each size below the full batch; 88 of the 160 are left for that."""
FIRST_SAMPLES = [sum(SIZES[:step]) for step in range(len(SIZES) + 1)]
OPTIONS = [RAMP_UP, "layout.microbatch_sequences=1", "data.prefetch_steps=3"]
SAVE_EVERY = f"checkpoint.save_every_tokens={24 * SEQUENCE}"
KEEP_EVERY = f"checkpoint.keep_every_tokens={48 * SEQUENCE}"


def train(config: Path, run: Path, *options: str, nproc: int = 1) -> list[str | Path]:
    return ["train", config, *OPTIONS, *options, "--run-dir", run, "--nproc", str(nproc)]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def ramped(config: Path, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """The run on one process."""
    run = RunDirectory(tmp_path_factory.mktemp("run") / "ramped")
    done = codemix(*train(config, run.path, SAVE_EVERY, KEEP_EVERY))
    assert done.returncode == 0, done.stderr
    assert "33 steps of 64 to 256 tokens (all 8 sequences from step 23 on)" in done.stdout
    assert "batch 6  lr" in done.stderr
    return run


def test_steps_take_the_samples_in_their_order(ramped: RunDirectory) -> None:
    lines = read_jsonl(ramped.metrics)
    assert [line["batch/sequences"] for line in lines] == SIZES
    assert [line["tokens"] for line in lines] == [first * SEQUENCE for first in FIRST_SAMPLES[1:]]
    assert ramped.complete_steps()[-1] == len(SIZES) == ramped.read_status().num_steps
    for step in (1, 12, 13, 22, 33):
        done = codemix("data", "trace", ramped.path, "--step", str(step), "--json")
        found = [sample["sample"] for sample in json.loads(done.stdout)["samples"]]
        assert found == list(range(FIRST_SAMPLES[step - 1], FIRST_SAMPLES[step]))
    audited = codemix("data", "ledger", ramped.path)
    assert audited.returncode == 0, audited.stderr
    assert [line["samples"] for line in read_jsonl(ramped.ledger)] == [*range(24, 160, 24), 160]


def test_the_same_samples_as_without(config: Path, ramped: RunDirectory, tmp_path: Path) -> None:
    """The mixture over every prefix, and where the sources stand after it."""
    plain = RunDirectory(tmp_path / "plain")
    options = [SAVE_EVERY, "train.ramp_up=null"]
    assert codemix(*train(config, plain.path, *options)).returncode == 0
    one, other = (
        {
            line["samples"]: {n: (s["cursor"], s["consumed_samples"]) for n, s in sources.items()}
            for line in read_jsonl(run.ledger)
            for sources in [line["sources"]]
        }
        for run in (plain, ramped)
    )
    assert one == other
    assert one[160].keys() == {"code", "text"}


def test_stopped_in_its_middle_it_goes_on_bit_for_bit(
    config: Path, ramped: RunDirectory, tmp_path: Path
) -> None:
    stopped = RunDirectory(tmp_path / "stopped")
    arguments = train(config, stopped.path, SAVE_EVERY)
    for after_lines, by in ((5, signal.SIGTERM), (19, signal.SIGKILL)):
        codemix_stopped(arguments, metrics=stopped.metrics, after_lines=after_lines, by=by)
    assert codemix(*arguments).returncode == 0
    assert differences(ramped, stopped, len(SIZES)) == []


@pytest.mark.parametrize(
    ("nproc", "layout"),
    [(2, []), (2, ["layout.pipeline=2", "data.loader=dali"])],
    ids=["dp2", "pp2-dali"],
)
def test_the_layout_changes_rounding_alone(
    nproc: int, layout: list[str], config: Path, ramped: RunDirectory, tmp_path: Path
) -> None:
    run = RunDirectory(tmp_path / "run")
    done = codemix(*train(config, run.path, SAVE_EVERY, *layout, nproc=nproc))
    assert done.returncode == 0, done.stderr
    for one, other in zip(read_jsonl(ramped.metrics), read_jsonl(run.metrics), strict=True):
        for name in ("tokens", "optimizer/lr"):
            assert one[name] == other[name]
        assert one["loss/train_nats"] == pytest.approx(other["loss/train_nats"], abs=1e-5)


def test_a_cooldown_branches_from_the_middle_of_a_ramp_up(
    config: Path, ramped: RunDirectory, tmp_path: Path
) -> None:
    child = RunDirectory(tmp_path / "child")
    origin = f"{{run: {ramped.path}, load: weights+optimizer, at_tokens: {48 * SEQUENCE}}}"
    cooldown = ["schedule={kind: linear, final_lr: 0}", f"train.train_tokens={16 * SEQUENCE}"]
    options = [f"init_from={origin}", *cooldown, "train.ramp_up=null"]
    done = codemix(*train(config, child.path, *options))
    assert done.returncode == 0, done.stderr
    last = read_jsonl(child.ledger)[-1]["sources"]
    assert sum(source["cursor"] for source in last.values()) == 48 + 16
    parent = {line["step"]: line for line in read_jsonl(ramped.metrics)}
    assert read_jsonl(child.metrics)[0]["optimizer/lr"] == parent[18]["optimizer/lr"] / 2
