"""What a study measures after each phase, and whether that has been done."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from megatron_codemix.config.schema import RunConfig, Section
from megatron_codemix.errors import RunError
from megatron_codemix.files import Json, read_json, read_jsonl
from megatron_codemix.runs import EVALUATED_TASKS, HELDOUT, RunDirectory, Status, result_stem
from megatron_codemix.units import parse_bytes


def _read_bytes(value: Json) -> Json:
    return parse_bytes(value) if isinstance(value, str) else value


class HeldoutSpec(Section):
    """Bits per byte on held-out documents, by `codemix evaluate` after each phase."""

    kind: Literal["evaluation"] = "evaluation"
    world_size: PositiveInt
    """Processes; what `tensor` and `pipeline` leave of them is data-parallel."""
    max_bytes_per_source: Annotated[int, BeforeValidator(_read_bytes), Field(gt=0)]
    """Held-out text that is scored of each source, such as 256KiB."""


class ValidationSpec(Section):
    """Bits per byte as each phase's own last validation has them (`validation` in its
    configuration): nothing is started after a training, which pays where phases are short."""

    kind: Literal["validation"] = "validation"


def _evaluation_by_default(value: Json) -> Json:
    is_open = isinstance(value, dict) and "kind" not in value
    return {"kind": "evaluation", **value} if is_open else value


AnyHeldoutSpec = Annotated[
    HeldoutSpec | ValidationSpec,
    Field(discriminator="kind"),
    BeforeValidator(_evaluation_by_default),
]
"""Without a `kind` it is `evaluation`."""


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

    heldout: AnyHeldoutSpec
    """Held-out loss."""
    tasks: TasksSpec | None = None
    """Benchmarks; absent: none. Not with held-out losses from validations, whose phases nothing
    evaluates."""
    tensor: PositiveInt = 1
    """Processes that a layer is cut over."""
    pipeline: PositiveInt = 1
    """Processes that the layers are dealt over."""

    def arguments(self) -> list[str]:
        """Of `codemix evaluate`, for what is asked here."""
        assert isinstance(self.heldout, HeldoutSpec), "validations are the trainings' own"
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


def evaluation_problems(asked: EvaluationSpec, config: RunConfig) -> list[str]:
    """What keeps a phase of this configuration from being measured as asked."""
    if not isinstance(asked.heldout, ValidationSpec):
        return []
    problems = []
    if config.validation is None:
        problems.append(
            "validation: absent, and evaluation.heldout.kind is validation; set "
            "validation.every_tokens and validation.max_bytes_per_source"
        )
    if asked.tasks is not None:
        problems.append(
            "evaluation.tasks: no process evaluates with evaluation.heldout.kind=validation; give "
            "heldout a world_size and max_bytes_per_source instead"
        )
    return problems


def read_heldout(
    asked: EvaluationSpec, run: RunDirectory, status: Status
) -> Mapping[str, Json] | None:
    """Held-out losses of the final checkpoint, measured as the study asks; None before. Raises
    RunError where a file is damaged, or a finished run has not validated at its end."""
    if isinstance(asked.heldout, ValidationSpec):
        return _last_validation(run, status)
    summary = read_summary(run)
    is_asked = summary is not None and _is_as_asked(asked, asked.heldout, status, summary)
    return summary if is_asked else None


def _last_validation(run: RunDirectory, status: Status) -> Mapping[str, Json] | None:
    if status.state != "done":
        return None
    lines = read_jsonl(run.validation) if run.validation.exists() else []
    last: Mapping[str, Json] | None = lines[-1] if lines else None
    if last is None or last.get("step") != status.step:
        raise RunError(
            f"{run.path}: is done without a validation after its last step, {status.step}; move it "
            "away to train it again, or ask for evaluation.heldout with a world_size"
        )
    return last


def documents_path(asked: EvaluationSpec, run: RunDirectory) -> Path:
    """Where the held-out losses of single documents are; runs of earlier versions, and those that
    are not done, may have none."""
    if isinstance(asked.heldout, ValidationSpec):
        return run.validation_documents
    return run.evaluation / f"{HELDOUT}.jsonl"


def read_summary(run: RunDirectory) -> Mapping[str, Json] | None:
    """Summary of the held-out evaluation, whoever asked for it; None where there is none."""
    return read_object(run.evaluation / f"{HELDOUT}.summary.json")


def _is_as_asked(
    asked: EvaluationSpec, heldout: HeldoutSpec, status: Status, summary: Mapping[str, Json]
) -> bool:
    """Whether the held-out `summary` is of the final checkpoint and made as the study now asks: a
    run can also be evaluated by hand, which overwrites the study's result."""
    copies = heldout.world_size // (asked.tensor * asked.pipeline)
    layout = {"tensor": asked.tensor, "pipeline": asked.pipeline, "data": copies}
    return (
        summary.get("step") == status.step
        and summary.get("max_bytes_per_source") == heldout.max_bytes_per_source
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
