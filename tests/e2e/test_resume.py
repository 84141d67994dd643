"""A run that was stopped ends like one that was not, bit for bit at the same layout."""

import json
import signal
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.data.tokenizer_training import FILL_IN_THE_MIDDLE
from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, codemix_stopped
from tests.helpers.tiny import SEQUENCE, VOCABULARY, write_run

NUM_STEPS = 20
SAVE_EVERY = f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}"


def train_arguments(config: Path, run: Path, layout: list[str]) -> list[str | Path]:
    return ["train", config, SAVE_EVERY, *layout, "--run-dir", run, "--nproc", "2"]


def comparable_metrics(run: RunDirectory) -> list[dict[str, float]]:
    """The metrics without those that measure time."""
    return [
        {key: value for key, value in line.items() if not key.startswith(("time/", "throughput/"))}
        for line in read_jsonl(run.metrics)
    ]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.mark.parametrize(
    "layout",
    [
        ["layout.tensor=2", "precision.kind=bf16"],
        ["layout.pipeline=2"],
        [],
        ["layout.pipeline=2", "layout.virtual_pipeline=2", "model.num_layers=4"],
        ["layout.context=2", "precision.kind=bf16"],
        [
            "layout.tensor=2",
            "precision={kind: fp8, recipe: emulated, rule: delayed, amax_history_length: 8}",
        ],
        [
            "layout.expert=2",
            "layout.overlap_grad_reduce=true",
            "layout.overlap_param_gather=true",
            "model.moe={num_experts: 4, top_k: 2, balance_coefficient: 0.01}",
        ],
    ],
    ids=["tp2-bf16", "pp2", "dp2", "pp2-vp2", "cp2-bf16", "tp2-fp8", "ep2-overlap"],
)
def test_stopped_and_killed_run_equals_undisturbed_run(
    config: Path, layout: list[str], tmp_path: Path
) -> None:
    whole, stopped = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped")
    done = codemix(*train_arguments(config, whole.path, layout))
    assert done.returncode == 0, done.stderr
    arguments = train_arguments(config, stopped.path, layout)
    by_term = codemix_stopped(arguments, metrics=stopped.metrics, after_lines=3, by=signal.SIGTERM)
    assert by_term == 75
    assert stopped.read_status().state == "pending"
    by_kill = codemix_stopped(arguments, metrics=stopped.metrics, after_lines=12, by=signal.SIGKILL)
    assert by_kill == -signal.SIGKILL
    done = codemix(*arguments)
    assert done.returncode == 0, done.stderr
    assert "resume after step" in done.stderr
    last = [run.checkpoint(NUM_STEPS) for run in (whole, stopped)]
    assert differing_tensors(*last) == []
    assert stopped.ledger.read_bytes() == whole.ledger.read_bytes()
    assert comparable_metrics(stopped) == comparable_metrics(whole)
    status = stopped.read_status()
    assert (status.state, status.attempts, status.failures) == ("done", 3, 0)
    audited = codemix("data", "ledger", stopped.path)
    assert "4 lines of 1 runs agree with the recorded plans" in audited.stdout
    traced = json.loads(codemix("data", "trace", stopped.path, "--step", "3", "--json").stdout)
    assert [sample["sample"] for sample in traced["samples"]] == list(range(16, 24))


def test_masked_packed_and_cut_documents_are_the_same_after_a_kill(tmp_path: Path) -> None:
    model = {"vocabulary_size": VOCABULARY + len(FILL_IN_THE_MIDDLE)}
    config = write_run(tmp_path / "data", special_tokens=FILL_IN_THE_MIDDLE, model=model)
    options = [
        "layout.pipeline=2",
        "data.document_mask=true",
        "data.sources.text.packing=best_fit",
        "data.sources.code.fill_in_the_middle={rate: 0.9, spm_rate: 0.5}",
    ]
    whole, stopped = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "stopped")
    done = codemix(*train_arguments(config, whole.path, options))
    assert done.returncode == 0, done.stderr
    arguments = train_arguments(config, stopped.path, options)
    codemix_stopped(arguments, metrics=stopped.metrics, after_lines=8, by=signal.SIGKILL)
    assert codemix(*arguments).returncode == 0
    last = [run.checkpoint(NUM_STEPS) for run in (whole, stopped)]
    assert differing_tensors(*last) == []
    assert stopped.ledger.read_bytes() == whole.ledger.read_bytes()
    assert comparable_metrics(stopped) == comparable_metrics(whole)
    sources = read_jsonl(whole.ledger)[-1]["sources"]
    assert sources["code"]["consumed_samples"] == 96
    for source in sources.values():  # some labels are padding
        assert 0.5 < source["loss_tokens"] / source["consumed_tokens"] < 1


def test_finished_run_is_left_alone(config: Path, tmp_path: Path) -> None:
    arguments = ["train", config, "--run-dir", tmp_path / "run"]
    assert codemix(*arguments).returncode == 0
    before = (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns
    again = codemix(*arguments)
    assert again.returncode == 0
    assert "already done" in again.stdout
    assert (tmp_path / "run" / "metrics.jsonl").stat().st_mtime_ns == before


def test_another_layout_goes_on_with_the_same_samples(config: Path, tmp_path: Path) -> None:
    """Stopped with two tensor-parallel ranks, finished by one process: rounding alone differs."""
    whole, moved = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "moved")
    assert codemix(*train_arguments(config, whole.path, ["layout.tensor=2"])).returncode == 0
    codemix_stopped(
        train_arguments(config, moved.path, ["layout.tensor=2"]),
        metrics=moved.metrics,
        after_lines=7,
        by=signal.SIGTERM,
    )
    done = codemix("train", config, SAVE_EVERY, "--run-dir", moved.path)
    assert done.returncode == 0, done.stderr
    for one, other in zip(comparable_metrics(whole), comparable_metrics(moved), strict=True):
        assert one["loss/train_nats"] == pytest.approx(other["loss/train_nats"], abs=1e-5)
    sources = [read_jsonl(run.ledger)[-1]["sources"] for run in (whole, moved)]
    assert {name: source["cursor"] for name, source in sources[0].items()} == {
        name: source["cursor"] for name, source in sources[1].items()
    }
