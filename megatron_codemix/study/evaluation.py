"""What a study measures after each phase, and whether that has been done."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from megatron_codemix.config.loader import load_run_config
from megatron_codemix.config.schema import RunConfig, Section
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.files import Json, hash_json
from megatron_codemix.results import (
    read_evaluated_tasks,
    read_heldout_summary,
    read_task_summary,
    read_validations,
)
from megatron_codemix.run_status import Status
from megatron_codemix.runs import EVALUATION, HELDOUT, RunDirectory, result_stem
from megatron_codemix.units import parse_bytes

_ON_TRAINING_DATA = {"safety", "safety_memorisation"}
"""By the names that `codemix evaluate --tasks` takes."""


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

    @property
    def reads_training_data(self) -> bool:
        """Whether a task shows a model what it was trained on, in all phases up to its own."""
        return self.tasks is not None and not _ON_TRAINING_DATA.isdisjoint(self.tasks.names)

    @property
    def num_processes(self) -> int:
        """That evaluate a phase, where anything does."""
        if isinstance(self.heldout, HeldoutSpec):
            return self.heldout.world_size
        return self.tensor * self.pipeline

    def by_processes(self, config: RunConfig) -> "EvaluationSpec":
        """What is asked of a phase of this configuration, for `codemix evaluate`. A training that
        another study has made may have validated something else: then this takes the place of its
        last validation, with the same documents cut into the same windows."""
        if isinstance(self.heldout, HeldoutSpec):
            return self
        assert config.validation is not None, "evaluation_problems has refused it"
        heldout = HeldoutSpec(
            world_size=self.num_processes,
            max_bytes_per_source=config.validation.max_bytes_per_source,
        )
        return self.model_copy(update={"heldout": heldout})

    def arguments(self) -> list[str]:
        """Of `codemix evaluate`, for what is asked here."""
        assert isinstance(self.heldout, HeldoutSpec), "see by_processes"
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
    problems = []
    if config.validation is None and not held_out_files(config):
        problems.append(
            "evaluation.heldout: no source has a held-out shard to score; set "
            "data.sources.<name>.validation"
        )
    if not isinstance(asked.heldout, ValidationSpec):
        return problems
    if config.validation is None:
        problems.append(
            "evaluation.heldout.kind: validation, and the configuration has no section "
            "`validation`; set validation.every_tokens and validation.max_bytes_per_source"
        )
    if asked.tasks is not None:
        problems.append(
            "evaluation.tasks: no process evaluates with evaluation.heldout.kind=validation; give "
            "heldout a world_size and max_bytes_per_source instead"
        )
    return problems


def held_out_files(config: RunConfig) -> dict[str, str]:
    """Source -> prefix of its held-out shard, of the sources that have one."""
    return {
        name: str(source.validation)
        for name, source in sorted(config.data.sources.items())
        if source.validation is not None
    }


def asked_folder(asked: EvaluationSpec, config: RunConfig) -> str:
    """Folder, in a run that several studies have, of what one of them asks of it: what is measured,
    and on which held-out documents."""
    wanted = asked.model_dump(mode="json") | {"held_out": held_out_files(config)}
    if isinstance(asked.heldout, ValidationSpec):
        wanted |= validated_part(config)
    return f"{EVALUATION}/asked-{hash_json(wanted)[:8]}"


def validated_part(config: RunConfig) -> dict[str, Json]:
    """What the losses of a training's own validations depend on: where this differs, they are not
    those of another study that asks for validations."""
    measured: dict[str, Json] = {"held_out": held_out_files(config)}
    if config.validation is not None:
        measured["max_bytes_per_source"] = config.validation.max_bytes_per_source
    return measured


def _is_validated_as_asked(asked: EvaluationSpec, run: RunDirectory) -> bool:
    """Whether the last validation of `run` is what is asked of it here: another study may have
    trained it. A training writes its configuration as it begins."""
    if run.results == EVALUATION:
        return True
    try:
        config = _config_as_written(run.config, run.config.stat().st_mtime_ns)
    except (FileNotFoundError, ConfigError):  # told by run_checks
        return False
    return asked_folder(asked, config) == run.results


@lru_cache(maxsize=1024)
def _config_as_written(path: Path, modified_ns: int) -> RunConfig:
    """Read once, as long as it is not written anew: a study that runs looks every second."""
    return load_run_config(path)


def read_heldout(
    asked: EvaluationSpec, run: RunDirectory, status: Status
) -> Mapping[str, Json] | None:
    """Held-out losses of the final checkpoint, measured as the study asks; None before. Raises
    RunError where a file is damaged, or a finished run has not validated at its end."""
    if isinstance(asked.heldout, ValidationSpec):
        if _is_validated_as_asked(asked, run):
            return _last_validation(run, status)
        summary = read_heldout_summary(run)
        return summary if summary is not None and summary.get("step") == status.step else None
    summary = read_heldout_summary(run)
    is_asked = summary is not None and _is_as_asked(asked, asked.heldout, status, summary)
    return summary if is_asked else None


def _last_validation(run: RunDirectory, status: Status) -> Mapping[str, Json] | None:
    if status.state != "done":
        return None
    last = next(reversed(read_validations(run)), None)
    if last is None or last["step"] != status.step:
        raise RunError(
            f"{run.path}: is done without a validation after its last step, {status.step}; move it "
            "away to train it again, or ask for evaluation.heldout with a world_size"
        )
    return last


def documents_path(asked: EvaluationSpec, run: RunDirectory) -> Path:
    """Where the held-out losses of single documents are; runs of earlier versions, and those that
    are not done, may have none."""
    if isinstance(asked.heldout, ValidationSpec) and _is_validated_as_asked(asked, run):
        return run.validation_documents
    return run.evaluation / f"{HELDOUT}.jsonl"


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
    done = read_evaluated_tasks(run)
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
        name: read_task_summary(run, result_stem(name, asked.tasks.limit))
        for name in done["tasks"]
        if name != HELDOUT
    }
    there: dict[str, Mapping[str, Json]] = {
        name: summary for name, summary in found.items() if summary is not None
    }
    return there if len(there) == len(found) else None
