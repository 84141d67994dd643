"""kill -9 at random moments of a run that saves after every step: of the launcher, of a rank, of a
process that writes. What counts as complete is whole, and the same command comes to the same
end."""

import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from megatron_codemix.bench.chaos.compare import differing_tensors
from megatron_codemix.checkpoints import changed_files, files_of, read_marker
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import codemix, start_codemix
from tests.helpers.tiny import SEQUENCE, write_run

EVERY_STEP = f"checkpoint.save_every_tokens={8 * SEQUENCE}"
LAST = 20


def victims(launcher: psutil.Process, kind: str) -> list[psutil.Process]:
    """Processes of this kind that run now: each rank is a child of the launcher, each writer one of
    a rank."""
    if kind == "launcher":
        return [launcher]
    ranks = launcher.children()
    if kind == "rank":
        return ranks
    return [writer for rank in ranks for writer in rank.children()]


def kill_one(
    arguments: list[str | Path], run: RunDirectory, kind: str, choice: random.Random
) -> int:
    """Starts the command and kills one process after a few more saves; its exit code."""
    wanted = max(run.complete_steps(), default=0) + choice.randint(1, 4)
    process = start_codemix(arguments)
    try:
        launcher = psutil.Process(process.pid)
        while max(run.complete_steps(), default=0) < wanted:
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        time.sleep(choice.random() * 0.05)
        while process.poll() is None:
            try:
                found = victims(launcher, kind)
                if found:
                    choice.choice(found).send_signal(signal.SIGKILL)
                    break
            except psutil.NoSuchProcess:  # it has ended meanwhile
                continue
        process.communicate(timeout=120)
        return process.returncode
    finally:
        process.kill()


def require_whole(run: RunDirectory) -> None:
    """Every checkpoint that has a marker is what was written."""
    for step in run.complete_steps():
        folder = run.checkpoint(step)
        assert changed_files(folder, files_of(read_marker(folder))) == []


@pytest.mark.parametrize("layout", [[], ["layout.pipeline=2"]], ids=["dp2", "pp2"])
def test_no_kill_leaves_what_is_taken_for_whole_or_blocks_the_next_start(
    layout: list[str], tmp_path: Path
) -> None:
    config = write_run(tmp_path / "data")
    whole, run = RunDirectory(tmp_path / "whole"), RunDirectory(tmp_path / "run")

    def arguments(target: RunDirectory) -> list[str | Path]:
        return ["train", config, EVERY_STEP, *layout, "--run-dir", target.path, "--nproc", "2"]

    done = codemix(*arguments(whole))
    assert done.returncode == 0, done.stderr
    choice = random.Random(len(layout))
    assert kill_one(arguments(run), run, "launcher", choice) == -signal.SIGKILL
    require_whole(run)
    assert kill_one(arguments(run), run, "rank", choice) == 75
    require_whole(run)
    assert kill_one(arguments(run), run, "writer", choice) == 0, "a writer is not the run"
    require_whole(run)
    assert codemix(*arguments(run)).returncode == 0
    assert differing_tensors(whole.checkpoint(LAST), run.checkpoint(LAST)) == []
    # A save that failed leaves no line; the lines that there are, are the same.
    lines = run.ledger.read_text().splitlines()
    assert set(lines) <= set(whole.ledger.read_text().splitlines())
    assert len(lines) >= LAST - 1
