"""What a study measures after each phase, and whether that has been done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, PositiveInt

from megatron_codemix.config.schema.fields import Section
from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, read_json
from megatron_codemix.runs import EVALUATED_TASKS, HELDOUT, RunDirectory, Status, result_stem
from megatron_codemix.units import parse_bytes


def _read_bytes(value: Json) -> Json:
    return parse_bytes(value) if isinstance(value, str) else value


class HeldoutSpec(Section):
    """Bits per byte on held-out documents, after each phase."""

    world_size: PositiveInt
    """Processes; what `tensor` and `pipeline` leave of them is data-parallel."""
    max_bytes_per_source: Annotated[int, BeforeValidator(_read_bytes), Field(gt=0)]
    """Held-out text that is scored of each source, such as 256KiB."""


class TasksSpec(Section):
    """Benchmarks, after each phase, by the processes of `heldout`."""

    names: Annotated[list[str], Field(min_length=1)]
    """Suites and tasks, as `codemix evaluate --tasks` takes them."""
    data_dir: Path | None = None
    """Folder with their data, relative to the study file."""
    limit: PositiveInt | None = None
    """Only the first items of each task."""


class EvaluationSpec(Section):
    """What is measured on the checkpoints."""

    heldout: HeldoutSpec
    """Held-out loss."""
    tasks: TasksSpec | None = None
    """Benchmarks; absent: none."""
    tensor: PositiveInt = 1
    """Processes that a layer is cut over."""
    pipeline: PositiveInt = 1
    """Processes that the layers are dealt over."""

    def arguments(self) -> list[str]:
        """Of `codemix evaluate`, for what is asked here."""
        options = {
            "--nproc": self.heldout.world_size,
            "--tensor": self.tensor,
            "--pipeline": self.pipeline,
            "--max-bytes-per-source": self.heldout.max_bytes_per_source,
        }
        words = [str(word) for option in options.items() for word in option]
        if self.tasks is None:
            return words
        words += [word for name in (HELDOUT, *self.tasks.names) for word in ("--tasks", name)]
        if self.tasks.data_dir is not None:
            words += ["--data-dir", str(self.tasks.data_dir)]
        return words + ([] if self.tasks.limit is None else ["--limit", str(self.tasks.limit)])


def read_summary(run: RunDirectory) -> Mapping[str, Json] | None:
    """Summary of the held-out evaluation, whoever asked for it; None where there is none."""
    return read_object(run.evaluation / f"{HELDOUT}.summary.json")


def is_as_asked(asked: EvaluationSpec, status: Status, summary: Mapping[str, Json]) -> bool:
    """Whether the held-out `summary` is of the final checkpoint and made as the study now asks: a
    run can also be evaluated by hand, which overwrites the study's result."""
    copies = asked.heldout.world_size // (asked.tensor * asked.pipeline)
    layout = {"tensor": asked.tensor, "pipeline": asked.pipeline, "data": copies}
    return (
        summary.get("step") == status.step
        and summary.get("max_bytes_per_source") == asked.heldout.max_bytes_per_source
        and summary.get("layout") == layout
    )


def read_tasks(
    asked: EvaluationSpec, run: RunDirectory, status: Status
) -> dict[str, Mapping[str, Json]] | None:
    """Summaries of the tasks that the study asks for, by name; None before they are all there. {}
    where it asks for none. Raises RunError where a file is damaged."""
    if asked.tasks is None:
        return {}
    done = read_object(run.evaluation / EVALUATED_TASKS)
    folder = asked.tasks.data_dir
    wanted = {
        "step": status.step,
        "names": asked.tasks.names,
        "data_dir": None if folder is None else str(folder),
        "limit": asked.tasks.limit,
    }
    if done is None or any(done.get(key) != value for key, value in wanted.items()):
        return None
    found = {
        name: read_object(run.evaluation / f"{result_stem(name, asked.tasks.limit)}.summary.json")
        for name in done["tasks"]
        if name != HELDOUT
    }
    return {name: summary for name, summary in found.items() if summary is not None}


def read_object(path: Path) -> Mapping[str, Json] | None:
    """A JSON object; None where the file is absent. Raises RunError where it is damaged."""
    if not path.exists():
        return None
    try:
        value = read_json(path)
    except ValueError as error:
        raise RunError(f"{path}: not readable JSON ({error}); remove it") from error
    if not isinstance(value, dict):
        raise RunError(f"{path}: holds {type(value).__name__}, not an object; remove it")
    return value
