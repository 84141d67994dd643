"""A training that is asked to stop while it still imports saves after its first step, and the same
command goes on from there: nothing has failed, nothing is lost."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from megatron_codemix.bench.chaos.compare import differences
from megatron_codemix.errors import EXIT_DONE, EXIT_RETRY
from megatron_codemix.runs import RunDirectory
from tests.helpers.commands import ENVIRONMENT, codemix
from tests.helpers.process_signals import catches, has_loaded_torch
from tests.helpers.srun_tasks import slurm_variables
from tests.helpers.tiny import write_run

NUM_STEPS = 20
PATIENCE_SECONDS = 200


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def undisturbed(config: Path) -> RunDirectory:
    run = config.parent / "undisturbed"
    done = codemix("train", config, "--run-dir", run, "--nproc", "2")
    assert done.returncode == EXIT_DONE, done.stderr
    return RunDirectory(run)


@pytest.fixture
def started() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that a test has started; they end with it."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def start(config: Path, run: RunDirectory, *options: str, **more: str) -> "subprocess.Popen[bytes]":
    """`codemix train`, by an interpreter of its own."""
    words = ["train", str(config), "--run-dir", str(run.path), *options]
    return subprocess.Popen(
        [sys.executable, "-m", "megatron_codemix", *words], env={**ENVIRONMENT, **more}
    )


def tell(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """As soon as the process would not die of it, which is long before torch is imported."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not catches(process.pid, number):
        assert process.poll() is None, "it has ended"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    assert not has_loaded_torch(process.pid)
    process.send_signal(number)


def assert_stopped_in_order(run: RunDirectory) -> None:
    status = run.require_status()
    assert (status.state, status.step, status.failures) == ("pending", 1, 0)
    assert run.complete_steps() == [1]


def test_tasks_of_srun_that_are_told_by_either_signal(
    config: Path,
    undisturbed: RunDirectory,
    tmp_path: Path,
    started: list["subprocess.Popen[bytes]"],
) -> None:
    run = RunDirectory(tmp_path / "run")
    started.extend(start(config, run, **slurm_variables(rank, 2)) for rank in range(2))
    for process, number in zip(started, (signal.SIGTERM, signal.SIGUSR1), strict=True):
        tell(process, number)
    codes = [process.wait(PATIENCE_SECONDS) for process in started]

    assert codes == [EXIT_RETRY, EXIT_RETRY]
    assert_stopped_in_order(run)
    done = codemix("train", config, "--run-dir", run.path, "--nproc", "2")
    assert done.returncode == EXIT_DONE, done.stderr
    assert differences(run, undisturbed, NUM_STEPS) == []


def test_ranks_of_our_own_whose_launcher_is_told(
    config: Path,
    undisturbed: RunDirectory,
    tmp_path: Path,
    started: list["subprocess.Popen[bytes]"],
) -> None:
    run = RunDirectory(tmp_path / "run")
    started.append(start(config, run, "--nproc", "2"))
    tell(started[0], signal.SIGUSR1)

    assert started[0].wait(PATIENCE_SECONDS) == EXIT_RETRY
    assert_stopped_in_order(run)
    done = codemix("train", config, "--run-dir", run.path, "--nproc", "2")
    assert done.returncode == EXIT_DONE, done.stderr
    assert differences(run, undisturbed, NUM_STEPS) == []
