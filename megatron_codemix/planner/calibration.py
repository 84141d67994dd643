"""The time model's constants fitted to runs that were measured on the user's own cluster."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.problems import suggestion
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.files import read_json, read_jsonl
from megatron_codemix.planner.estimate import full_layout_text
from megatron_codemix.planner.hardware import GPU_OF_DEVICE, make_cluster
from megatron_codemix.planner.job import Job
from megatron_codemix.planner.time import Constants, check_timed, estimate_time, load_constants
from megatron_codemix.planner.time.constants import is_possible, possible_values
from megatron_codemix.planner.time.fit import Measurement, changed, fit_constants
from megatron_codemix.runs import RunDirectory

WARM_UP_STEPS = 10
"""First steps of a run, which allocate memory and choose kernels; not looked at."""
LEAST_LINES = 5
"""Of metrics, after those."""


@dataclass(frozen=True, kw_only=True)
class ClusterChoice:
    """What the command line says of the cluster that runs were made on."""

    gpu: str | None
    """Absent: as the runs have recorded it."""
    gpus_per_node: int
    network: str | None


@dataclass(frozen=True, kw_only=True)
class MeasuredRun:
    """A run, and how long its steps took."""

    run: Path
    measurement: Measurement
    lines: int
    """Lines of metrics that the time is the median of."""


@dataclass(frozen=True, kw_only=True)
class CalibratedRun:
    """A measured step beside what was predicted, before and after the fit."""

    run: Path
    layout: str
    gpus: int
    measured_seconds: float
    before_seconds: float
    after_seconds: float

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return {
            "run": str(self.run),
            "layout": self.layout,
            "gpus": self.gpus,
            "measured_seconds": self.measured_seconds,
            "before_seconds": self.before_seconds,
            "after_seconds": self.after_seconds,
        }


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Constants, and how well they tell the times that they were fitted to."""

    constants: Constants
    runs: tuple[CalibratedRun, ...]
    changed: Mapping[str, tuple[float, float]]
    """Constants that the runs have moved: before, after."""

    def mean_error(self, *, after: bool) -> float:
        """Relative, of the predicted step times."""
        return statistics.fmean(
            abs((run.after_seconds if after else run.before_seconds) / run.measured_seconds - 1)
            for run in self.runs
        )

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """For --json."""
        return {
            "constants": self.constants.as_dict(),
            "runs": [run.as_dict() for run in self.runs],
            "mean_error_before": self.mean_error(after=False),
            "mean_error_after": self.mean_error(after=True),
        }

    def text(self) -> str:
        """The constants as a file that `load_constants_file` reads."""
        lines = [
            "# Fitted by 'codemix plan --calibrate' to the step times of",
            *(f"#   {run.run}" for run in self.runs),
            f"# Mean error of their step times: {self.mean_error(after=False):.1%} before, "
            f"{self.mean_error(after=True):.1%} after.",
        ]
        return "\n".join([*lines, yaml.safe_dump(self.constants.as_dict(), sort_keys=False)])


def calibrate(runs: Sequence[Path], choice: ClusterChoice) -> Calibration:
    """Fits the constants to what the runs have measured. Raises RunError or ConfigError with all
    runs that cannot be used, and why."""
    measured, problems = [], []
    for run in runs:
        try:
            measured.append(measure(run, choice))
        except (ConfigError, RunError) as error:
            problems += str(error).splitlines()
    if problems:
        raise ConfigError(problems)
    start = load_constants()
    fitted = fit_constants([entry.measurement for entry in measured], start)
    return Calibration(
        constants=fitted,
        changed=changed(start, fitted),
        runs=tuple(_calibrated(entry, start, fitted) for entry in measured),
    )


def measure(run: Path, choice: ClusterChoice) -> MeasuredRun:
    """The median time of the full batch's steps of a run. Raises RunError or ConfigError."""
    directory = RunDirectory(run)
    if not directory.config.is_file():
        raise RunError(f"{run}: no run here (config.yaml is missing); give the directory of a run")
    config = load_run_config(directory.config)
    if problems := check_timed(config.precision):
        raise RunError(f"{run}: {problems[0].partition(';')[0]}; leave this run out")
    plan, provenance = _last_attempt(directory)
    gpu = _gpu_of(run, provenance, choice.gpu)
    job = Job.of_config(config, int(plan["world_size"]))
    seconds = _step_seconds(directory, config.train.global_batch_sequences)
    cluster = make_cluster(gpu, choice.gpus_per_node, choice.network)
    return MeasuredRun(
        run=run,
        measurement=Measurement(job=job, cluster=cluster, step_seconds=statistics.median(seconds)),
        lines=len(seconds),
    )


def load_constants_file(path: Path) -> Constants:
    """Constants that the file names, the others as they come with the planner. Raises
    ConfigError."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError([f"{path}: no readable file of constants ({reason})"]) from error
    if not isinstance(content, dict):
        raise ConfigError([f"{path}: expected lines of 'name: number'"])
    known = load_constants().as_dict()
    problems = []
    for name, value in content.items():
        if name not in known:
            problems.append(f"{path}: {name}: no such constant{suggestion(str(name), [*known])}")
        elif (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not is_possible(name, value)
        ):
            problems.append(f"{path}: {name}: expected {possible_values(name)}, got {value!r}")
    if problems:
        raise ConfigError(problems)
    return load_constants().with_(**{name: float(value) for name, value in content.items()})


def _last_attempt(run: RunDirectory) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """(plan, provenance) of the last attempt; Any: JSON values.

    Raises RunError where attempts differ in how the model was spread: a line of metrics does not
    say which attempt wrote it.
    """
    status = run.read_status()
    plans, provenances = [], []
    for number in range(1, (status.attempts if status else 0) + 1):
        folder = run.attempt(number)
        if (folder / "plan.json").is_file() and (folder / "provenance.json").is_file():
            plans.append(_read_object(folder / "plan.json", "world_size"))
            provenances.append(_read_object(folder / "provenance.json", "backend"))
    if not plans:
        raise RunError(
            f"{run.path}: no attempt has left plan.json and provenance.json; it has not trained yet"
        )
    spread = [[plan.get(key) for key in ("world_size", "layout")] for plan in plans]
    devices = [record.get("device") for record in provenances]
    if any(one != spread[0] for one in spread) or len(set(devices)) > 1:
        raise RunError(
            f"{run.path}: its attempts had different layouts or GPUs, and its metrics do not say "
            "which step was whose; calibrate on a run that had one"
        )
    return plans[-1], provenances[-1]


def _read_object(path: Path, wanted: str) -> Mapping[str, Any]:  # Any: JSON values
    """A JSON object that has the key `wanted`."""
    try:
        value = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); leave this run out") from error
    if not isinstance(value, dict) or wanted not in value:
        raise RunError(f"{path}: has no {wanted!r}; leave this run out")
    return value


def _gpu_of(run: Path, provenance: Mapping[str, Any], asked: str | None) -> str:
    if provenance.get("backend") == "cpu":
        raise RunError(
            f"{run}: ran on a CPU, and the constants are those of GPUs; calibrate on a run on a GPU"
        )
    device = provenance.get("device")
    recorded = GPU_OF_DEVICE.get(str(device))
    if asked is None and recorded is None:
        raise RunError(
            f"{run}: ran on {device or 'a GPU that it has not recorded'}; say which of "
            "the planner's GPUs that is: --gpu NAME"
        )
    if asked is not None and recorded not in (None, asked):
        raise RunError(
            f"{run}: ran on {device}, which is '{recorded}', not '{asked}'; leave out --gpu"
        )
    return asked or str(recorded)


def _step_seconds(run: RunDirectory, full_batch: int) -> list[float]:
    try:
        seconds = [
            float(line["time/step_seconds"])
            for line in read_jsonl(run.metrics)
            if line["step"] > WARM_UP_STEPS
            and line.get("batch/sequences", full_batch) == full_batch
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.metrics}: a line without a step or its time ({error!r}); leave this run out"
        ) from error
    if len(seconds) < LEAST_LINES:
        raise RunError(
            f"{run.metrics}: {len(seconds)} lines of the full batch after step {WARM_UP_STEPS}; "
            f"at least {LEAST_LINES} are needed for a median that means something"
        )
    return seconds


def _calibrated(entry: MeasuredRun, start: Constants, fitted: Constants) -> CalibratedRun:
    measurement = entry.measurement
    job, cluster = measurement.job, measurement.cluster
    return CalibratedRun(
        run=entry.run,
        layout=full_layout_text(job.layout, job.data_parallel),
        gpus=job.world_size,
        measured_seconds=measurement.step_seconds,
        before_seconds=estimate_time(job, cluster, start).step_seconds,
        after_seconds=estimate_time(job, cluster, fitted).step_seconds,
    )
