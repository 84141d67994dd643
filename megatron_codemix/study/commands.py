"""The commands that a study starts for its phases."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol, Self

from megatron_codemix.launch.loaded import LoadedServer
from megatron_codemix.launch.local import Process, Starter, start_program
from megatron_codemix.runs import EVALUATION, RunDirectory
from megatron_codemix.study.evaluation import EvaluationSpec
from megatron_codemix.study.store import Work


class Commands(Protocol):
    """What is started for a phase."""

    @property
    def start(self) -> Starter:
        """Makes a process of the words of the others."""
        ...

    def train(self, run: RunDirectory, world_size: int) -> list[str]:
        """Trains the phase whose configuration is in `run`."""
        ...

    def evaluate(self, run: RunDirectory, asked: EvaluationSpec) -> list[str]:
        """Evaluates its final checkpoint."""
        ...


@dataclass(frozen=True)
class CodemixCommands:
    """This project's own commands."""

    start: Starter

    @classmethod
    @contextlib.contextmanager
    def of(cls, *, needs_gpus: bool) -> Iterator[Self]:
        """For the block. On CPUs, where phases may be short, they are forked from one process that
        has imported what they need; on GPUs each imports for itself, as a GPU that was looked for
        before a fork cannot be used after it."""
        if needs_gpus:
            yield cls(_start_codemix)
            return
        with contextlib.closing(LoadedServer("megatron_codemix.cli.loaded")) as server:
            yield cls(server.start)

    def train(self, run: RunDirectory, world_size: int) -> list[str]:
        """Of `codemix`."""
        return train_words(run, world_size)

    def evaluate(self, run: RunDirectory, asked: EvaluationSpec) -> list[str]:
        """Of `codemix`."""
        return evaluate_words(run, asked)


def train_words(run: RunDirectory, world_size: int, config: Path | None = None) -> list[str]:
    """Words of `codemix`. Under srun, whose tasks are the ranks, `--nproc` has no effect.

    config: absent: that in the run directory.
    """
    words = ["train", str(config or run.config), "--run-dir", str(run.path)]
    return [*words, "--nproc", str(world_size)]


def evaluate_words(
    run: RunDirectory, asked: EvaluationSpec, config: Path | None = None
) -> list[str]:
    """Words of `codemix`.

    asked: `EvaluationSpec.by_processes`.
    config: of the phase that asks, where a run has several evaluations; absent: `asked_config`.
    """
    words = ["evaluate", str(run.path), *asked.arguments()]
    if run.results == EVALUATION:
        return words
    of_phase = ["--held-out-of", str(config or asked_config(run))]
    return [*words, "--out", str(run.evaluation), *of_phase]


def asked_config(run: RunDirectory) -> Path:
    """Configuration whose held-out documents are scored, where a run has several evaluations: that
    of the phase which asks, not of the one that trained it."""
    return run.evaluation / "asked.yaml"


def files_folder(run: RunDirectory, work: Work) -> Path:
    """Where the log of a training or an evaluation lies."""
    return run.path if work == "train" or run.results == EVALUATION else run.evaluation


def _start_codemix(
    words: Sequence[str],
    output: IO[bytes],
    pass_fds: Sequence[int],
    environment: Mapping[str, str],
) -> Process:
    program = [sys.executable, "-m", "megatron_codemix", *words]
    return start_program(program, output, pass_fds, environment)
