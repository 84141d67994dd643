"""Small runs of `codemix train`, and how far their losses are apart."""

import math
import runpy
import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from megatron_codemix.files import read_jsonl
from megatron_codemix.runs import RunDirectory
from tools.gpu_check.commands import ROOT, CommandError
from tools.gpu_check.place import Place
from tools.gpu_check.results import Check

_LOGS = "attempts/*/rank0.log"
SEQUENCE = 64
BATCH = 4
STEPS = 20
"""Of a run where nothing else is said; a checkpoint is saved half way."""
_MODEL = {"num_layers": 4, "hidden_size": 128, "ffn_hidden_size": 256}
"""Every width a multiple of 128, which FP8 by blocks asks for."""
_SCHEDULE = {"peak_lr": 1e-3, "min_lr": 1e-4, "warmup_tokens": 10 * BATCH * SEQUENCE}
"""Slow enough that rounding does not send 20 steps elsewhere by itself."""


def train(
    place: Place, name: str, *changes: str, device: str, steps: int = STEPS, microbatch: int = 4
) -> RunDirectory:
    """The finished run `name` of the place; where it is there, nothing is done. Raises
    CommandError."""
    run = RunDirectory(place.folder / "runs" / name)
    half = steps // 2 * BATCH * SEQUENCE
    place.codemix(
        "train",
        _config(place.folder / "data"),
        *changes,
        f"backend.device={device}",
        f"layout.microbatch_sequences={microbatch}",
        f"train.train_tokens={steps * BATCH * SEQUENCE}",
        f"checkpoint.save_every_tokens={half}",
        "--run-dir",
        run.path,
        hides_gpu=device == "cpu",
        log=name,
    )
    return run


def train_on(place: Place, run: RunDirectory, name: str, *, device: str) -> RunDirectory:
    """A copy of a finished run that goes on from its first checkpoint. Raises CommandError, also
    where it did not go on from there: a run that finds no checkpoint begins anew."""
    copy = place.folder / "runs" / name
    if not copy.exists():
        unfinished = copy.with_name(f"{name}.part")
        shutil.rmtree(unfinished, ignore_errors=True)  # of a copy that was killed
        shutil.copytree(run.path, unfinished)
        shutil.rmtree(RunDirectory(unfinished).checkpoint(STEPS))
        for log in unfinished.glob(_LOGS):
            log.unlink()  # what stands in them is of the first run
        unfinished.rename(copy)
    found = train(place, name, device=device)
    require_resumed(found, STEPS // 2)
    return found


def require_resumed(run: RunDirectory, step: int) -> None:
    """Raises CommandError where no start that has left its log went on from there."""
    require_said(run, f"resume after step {step} of this run", "it has begun anew")


def require_said(run: RunDirectory, wanted: str, otherwise: str) -> None:
    """Raises CommandError where no start that has left its log has said so.

    otherwise: what has happened then.
    """
    if not any(wanted in log.read_text(errors="replace") for log in run.path.glob(_LOGS)):
        raise CommandError(f"{otherwise}: no log of {run.path} has {wanted!r}", None)


def _config(folder: Path) -> Path:
    """The run's file, and the data that the tests' small runs have."""
    path = folder / "run.yaml"
    if not path.exists():
        write_run = runpy.run_path(str(ROOT / "tests" / "helpers" / "tiny.py"))["write_run"]
        write_run(
            folder,
            model=_MODEL,
            schedule=_SCHEDULE,
            data={"sequence_length": SEQUENCE},
            train={"global_batch_sequences": BATCH},
        )
    return path


def losses(run: RunDirectory) -> list[float]:
    """Of each step, in nats."""
    return [float(line["loss/train_nats"]) for line in read_jsonl(run.metrics)]


def largest_difference(one: Sequence[float], other: Sequence[float]) -> float:
    """Of numbers that belong together; infinite where one is no number."""
    found = [abs(a - b) for a, b in zip(one, other, strict=True)]
    return max(found) if all(map(math.isfinite, found)) else math.inf


def judged(name: str, value: float, bound: float, what: str) -> Check:
    """Passes where `value` is within the bound."""
    return Check(name, "passed" if value <= bound else "failed", what, value, bound)


def checked(name: str, measure: Callable[[], Check]) -> Check:
    """What `measure` finds; a failure where one of its commands fails, or anything else does: the
    checks that follow are other ones."""
    try:
        return measure()
    except CommandError as error:
        return Check(name, "failed", str(error))
    except Exception as error:
        return surprise(name, error)


def surprise(name: str, error: Exception) -> Check:
    """A failure that nobody thought of; where it came from goes to stderr."""
    traceback.print_exception(error)
    return Check(name, "failed", f"{type(error).__name__}: {error}")
