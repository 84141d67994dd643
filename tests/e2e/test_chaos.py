"""`codemix bench chaos`, shortened, and that its comparison finds what differs."""

import json
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.distributed.checkpoint.state_dict_saver import save

from megatron_codemix.bench.chaos.compare import differences, differences_of_layouts
from megatron_codemix.bench.chaos.faults import KINDS, plan_faults
from megatron_codemix.bench.chaos.study import plan as study_faults
from megatron_codemix.bench.chaos.study.disk import unmount
from megatron_codemix.files import read_jsonl, rewrite_jsonl
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, start_codemix


def test_a_run_that_is_killed_again_and_again_ends_like_one_left_alone(tmp_path: Path) -> None:
    size = ["--kills", "3", "--rounds", "1", "--moves", "2", "--steps", "40"]
    arguments = [*size, "--seed", "3", "layout.tensor=2"]
    done = codemix("bench", "chaos", *arguments, "--folder", tmp_path, "--json", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["bench"] == "chaos"
    assert (report["identical"], report["differences"]) == (True, [])
    assert [fault["run"] for fault in report["faults"]] == ["round 1"] * 3 + ["moved"] * 2
    apart = report["rows"][-1]
    assert apart["name"] == "losses after 2 changes of the layout: apart"
    assert 0 < apart["ours"] < 1e-5
    assert not list(tmp_path.iterdir())


def test_faults_are_spread_over_the_run_and_of_all_kinds() -> None:
    plans = plan_faults(30, 200, seed=5)
    assert [plan.kind for plan in plans] != [plan.kind for plan in plan_faults(30, 200, seed=6)]
    assert {plan.kind for plan in plans} == set(KINDS)
    for number, plan in enumerate(plans):
        assert 200 * number // 30 <= plan.at_step <= 200 * (number + 1) / 30
    assert plans == plan_faults(30, 200, seed=5)


def make_run(path: Path, weight: float, loss: float, consumed: int) -> RunDirectory:
    run = RunDirectory(path)
    tensors = {"weight": torch.full((3,), weight), "moment": torch.zeros(2)}
    save(tensors, checkpoint_id=run.checkpoint(2), no_dist=True)
    rewrite_jsonl(run.ledger, [{"step": 2, "consumed": consumed}])
    line = {"step": 1, "loss/train_nats": loss, "time/step_seconds": float(hash(path) % 7)}
    rewrite_jsonl(run.metrics, [line])
    return run


@pytest.mark.filterwarnings("ignore::UserWarning")  # of saving in one process
@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"weight": 1.0000001}, ["tensor weight"]),
        ({"loss": 2.5000000000000004}, ["metrics.jsonl, line 1"]),
        ({"consumed": 9}, ["ledger.jsonl"]),
    ],
)
def test_the_smallest_difference_is_named(
    tmp_path: Path, changed: dict[str, float], found: list[str]
) -> None:
    usual = {"weight": 1.0, "loss": 2.5, "consumed": 8}
    first = make_run(tmp_path / "first", **usual)
    second = make_run(tmp_path / "second", **{**usual, **changed})
    assert differences(first, second, 2) == found


def make_moved(path: Path, loss: float = 2.5, cursor: int = 8, nats: float = 1.0) -> RunDirectory:
    run = RunDirectory(path)
    source = {"cursor": cursor, "nats": nats, "loss_nats": nats / 64}
    rewrite_jsonl(run.ledger, [{"step": 2, "sources": {"a": source}}])
    lines = [{"step": step, "tokens": 64 * step, "loss/train_nats": loss} for step in (1, 2)]
    rewrite_jsonl(run.metrics, lines)
    return run


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"loss": 2.5 + 9e-6, "nats": 1.001}, []),
        ({"loss": 2.5 + 2e-5}, ["losses are 2.0e-05 nats apart"]),
        ({"cursor": 9}, ["ledger.jsonl, line 1"]),
    ],
)
def test_another_layout_may_round_and_not_read_otherwise(
    tmp_path: Path, changed: dict[str, float], found: list[str]
) -> None:
    first, second = make_moved(tmp_path / "first"), make_moved(tmp_path / "second", **changed)
    assert differences_of_layouts(first, second) == found


STRUCK = (
    study_faults.STOP_RANK,
    study_faults.KILL_EVALUATION,
    study_faults.CUT_SAVE,
    study_faults.NODE_DEATH,
    study_faults.FULL_DISK,
    study_faults.FLIP,
)
"""Of each way to strike one; the benchmark has more of the same."""


@pytest.fixture
def work(tmp_path: Path) -> Iterator[Path]:
    """A folder for the benchmark, whose small disk goes in any case."""
    yield tmp_path / "work"
    unmount(tmp_path / "work" / "disk")


@pytest.mark.timeout(900)  # two studies, and starts again: a minute or two of two cores by itself
def test_a_study_that_is_struck_again_and_again_ends_like_one_left_alone(work: Path) -> None:
    """The benchmark itself is killed too, and given again."""
    arguments = ["bench", "chaos", "--study", "--faults", str(len(STRUCK)), "--steps", "48"]
    arguments += ["--seed", "2", "--work", str(work), "--json"]
    arguments += [word for kind in STRUCK for word in ("--only", kind)]
    interrupted = start_codemix(arguments)
    struck = work / "disk" / "faults.jsonl"
    try:
        deadline = time.monotonic() + 300
        while not any(line["fault"] for line in read_jsonl(struck)):
            assert interrupted.poll() is None, interrupted.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        interrupted.send_signal(signal.SIGKILL)
        interrupted.communicate(timeout=60)
    finally:
        interrupted.end()
    done = codemix(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "where an earlier call was interrupted" in done.stderr
    report = json.loads(done.stdout)
    assert (report["bench"], report["identical"], report["differences"]) == ("chaos", True, [])
    assert report["faults"] == dict.fromkeys(STRUCK, 1)
    assert len(report["struck"]) == len(STRUCK)
    assert (report["lost_samples"], report["repeated_samples"]) == (0, 0)
    assert report["compared"]["tensors"] > 6 * 20
    set_aside = report["set_aside"]
    assert set_aside["*/status.json"]["differed"] > 0, "attempts at least"
    assert "*/ledger.jsonl" not in set_aside
    assert report["left"]["incomplete_checkpoints"] == 0
    evidence = {fault["kind"]: fault["evidence"] for fault in report["struck"]}
    met = r"hangs: (step|validation|saving) .*more than the limit"
    assert re.search(met, evidence[study_faults.STOP_RANK])
    assert "is left with" in evidence[study_faults.CUT_SAVE]
    assert not work.exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--study", "--kills", "3"], "--kills"),
        (["--study", "layout.tensor=2"], "changes to a run go without --study"),
        (["--faults", "3"], "it goes with --study"),
        (["--study", "--only", "rain"], "no fault 'rain'; there are: SIGKILL of a rank"),
    ],
)
def test_options_of_the_other_kind_of_chaos_are_refused(arguments: list[str], named: str) -> None:
    done = codemix("bench", "chaos", *arguments)
    assert done.returncode == 2
    assert named in " ".join(done.stderr.replace("\u2502", " ").split())
