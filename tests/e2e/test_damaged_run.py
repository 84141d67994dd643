"""Damaged run directories: refused by name with what to do, or gone around with a word."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.checkpoints import changed_files, files_of, read_marker
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, count_lines
from tests.helpers.tiny import SEQUENCE, write_run

SAVE_EVERY = f"checkpoint.save_every_tokens={5 * 8 * SEQUENCE}"


@pytest.fixture
def unfinished(tmp_path: Path) -> tuple[Path, RunDirectory]:
    """A run that was killed, as its files tell, after step 17 of 20: complete at 10 and 15."""
    config = write_run(tmp_path / "data")
    run = RunDirectory(tmp_path / "run")
    done = codemix("train", config, SAVE_EVERY, "checkpoint.keep_last=3", "--run-dir", run.path)
    assert done.returncode == 0, done.stderr
    run.checkpoint(20).rename(tmp_path / "whole")
    status = run.read_status()
    run.write_status(type(status)(**{**vars(status), "state": "running", "step": 17}))
    return config, run


def empty_a_shard(run: RunDirectory) -> None:
    next(run.checkpoint(15).glob("*.distcp")).write_bytes(b"")


def damage_marker(run: RunDirectory) -> None:
    (run.checkpoint(15) / "complete.json").write_bytes(b"\xff\x00garbage")


def shorten(folder: Path) -> None:
    next(folder.glob("*.distcp")).write_bytes(b"")


def flip_a_bit(run: RunDirectory, step: int = 15) -> None:
    shard = next(run.checkpoint(step).glob("*.distcp"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)


def damage_metrics(run: RunDirectory) -> None:
    run.metrics.write_bytes(b"\xff\xfe\x00 not lines\n" + run.metrics.read_bytes())


def damage_status(run: RunDirectory) -> None:
    run.status.write_text("{")


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (damage_metrics, "metrics.jsonl"),
        (damage_status, "status.json"),
    ],
)
def test_damage_is_refused_by_name(
    damage: Callable[[RunDirectory], None], named: str, unfinished: tuple[Path, RunDirectory]
) -> None:
    config, run = unfinished
    damage(run)
    done = codemix("train", config, SAVE_EVERY, "--run-dir", run.path)
    assert done.returncode == 2, done.stderr
    assert named in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (empty_a_shard, ".distcp: 0 bytes, not the"),
        (flip_a_bit, ".distcp: its content is not what was written"),
        (damage_marker, "complete.json: not the record of a checkpoint"),
    ],
)
def test_damaged_checkpoint_is_named_and_the_one_before_it_taken(
    damage: Callable[[RunDirectory], None],
    named: str,
    unfinished: tuple[Path, RunDirectory],
    tmp_path: Path,
) -> None:
    config, run = unfinished
    damage(run)
    done = codemix("train", config, SAVE_EVERY, "--run-dir", run.path, "--nproc", "2")
    assert done.returncode == 0, done.stderr
    assert "iter_0000015 is damaged; going on from the one before it" in done.stderr
    assert named in done.stderr
    assert "resume after step 10" in done.stderr
    assert run.complete_steps() == [15, 20], "the damaged one was replaced"
    assert changed_files(run.checkpoint(15), files_of(read_marker(run.checkpoint(15)))) == []
    assert count_lines(run.metrics) == 20


def test_run_without_a_whole_checkpoint_is_not_begun_anew(
    unfinished: tuple[Path, RunDirectory],
) -> None:
    config, run = unfinished
    for step in run.complete_steps():
        next(run.checkpoint(step).glob("*.distcp")).write_bytes(b"")
    done = codemix("train", config, SAVE_EVERY, "--run-dir", run.path)
    assert done.returncode == 2, done.stderr
    assert "all complete checkpoints are damaged" in done.stderr


def test_checkpoint_without_marker_is_left_out_with_a_word(
    unfinished: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    config, run = unfinished
    (run.checkpoint(15) / "complete.json").unlink()
    done = codemix("train", config, SAVE_EVERY, "--run-dir", run.path)
    assert done.returncode == 0, done.stderr
    assert "iter_0000015 is not complete and is left out" in done.stderr
    assert "resume after step 10" in done.stderr
    assert differing_tensors(tmp_path / "whole", run.checkpoint(20)) == []
    assert count_lines(run.metrics) == 20


@pytest.mark.parametrize(
    "damage", [lambda folder: (folder / "complete.json").unlink(), shutil.rmtree, shorten]
)
def test_a_finished_run_whose_end_is_damaged_makes_it_again(
    damage: Callable[[Path], None], unfinished: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    config, run = unfinished
    assert codemix("train", config, SAVE_EVERY, "--run-dir", run.path).returncode == 0
    before = run.ledger.read_bytes()
    damage(run.checkpoint(20))
    run.ledger.write_bytes(b"".join(before.splitlines(keepends=True)[:2]))  # the checkpoints' lines
    run.config.unlink()
    again = codemix("train", config, SAVE_EVERY, "--run-dir", run.path)
    assert again.returncode == 0, again.stderr
    assert "its last checkpoint is not whole" in again.stdout
    assert "resume after step 15" in again.stderr
    assert differing_tensors(tmp_path / "whole", run.checkpoint(20)) == []
    assert run.ledger.read_bytes() == before
    run.config.unlink()
    shutil.rmtree(run.checkpoints)  # to make room: nothing is trained again
    done = codemix("train", config, SAVE_EVERY, "--run-dir", run.path)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, f"already done: {run.path}")
    assert run.config.exists()


def test_a_finished_run_gets_its_ledger_back(unfinished: tuple[Path, RunDirectory]) -> None:
    config, run = unfinished
    assert codemix("train", config, SAVE_EVERY, "--run-dir", run.path).returncode == 0
    lines = run.ledger.read_bytes().splitlines()
    run.ledger.unlink()
    refused = codemix("data", "ledger", run.path)
    assert refused.returncode == 2
    assert f"{run.ledger} is missing, and the run is done at step 20" in refused.stderr
    done = codemix("train", config, SAVE_EVERY, "--run-dir", run.path)
    assert done.returncode == 0, done.stderr
    assert "put back from its checkpoints: the lines of step 15, 20" in done.stdout
    assert run.ledger.read_bytes().splitlines() == lines[-2:]
    holes = codemix("data", "ledger", run.path)
    assert holes.returncode == 2, "two of four checkpoints were kept"
    assert "lacks the lines of step 5, 10: they were cut out or lost" in holes.stderr


def test_who_needs_a_damaged_checkpoint_is_told_what_to_do(
    unfinished: tuple[Path, RunDirectory],
) -> None:
    config, run = unfinished
    assert codemix("train", config, SAVE_EVERY, "--run-dir", run.path).returncode == 0
    flip_a_bit(run, 20)
    done = codemix("evaluate", run.path)
    assert done.returncode == 2, done.stderr
    assert "iter_0000020: restore these files, or delete the folder and give" in done.stderr


def test_a_folder_of_something_else_is_no_run_directory(
    unfinished: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    config, _ = unfinished
    place = tmp_path / "texts"
    place.mkdir()
    (place / "slurm-7.out").write_text("a job's log")
    assert codemix("train", config, "--run-dir", place, "--dry-run").returncode == 0
    (place / "a.jsonl").write_text("{}")
    done = codemix("train", config, "--run-dir", place)
    assert done.returncode == 2
    assert f"{place}: holds 'a.jsonl', and no run" in done.stderr
    assert not (place / "config.yaml").exists()


@pytest.mark.parametrize("place", ["data/run.yaml", "data/run.yaml/below"])
def test_run_directory_that_is_a_file(
    place: str, unfinished: tuple[Path, RunDirectory], tmp_path: Path
) -> None:
    config, _ = unfinished
    done = codemix("train", config, "--run-dir", tmp_path / place)
    assert done.returncode == 2, done.stderr
    assert "run.yaml" in done.stderr
    assert "a file is there, and a folder is wanted" in done.stderr
    assert "Traceback" not in done.stderr
