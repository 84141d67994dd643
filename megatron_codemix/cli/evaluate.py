"""`codemix evaluate`: scores a finished run where it lies."""

import contextlib
import errno
import json as json_module
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from megatron_codemix.cli.model_ranks import (
    MaxBatchTokens,
    ModelRanks,
    Nproc,
    Pipeline,
    RunArgument,
    Step,
    Tensor,
)
from megatron_codemix.cli.task_choice import TaskChoice, prepare_tasks
from megatron_codemix.cli.unused import refuse_unused
from megatron_codemix.errors import RetryableError, RunError, UnavailableError
from megatron_codemix.evaluation.safety.prepare import SAFETY, SAFETY_TASKS
from megatron_codemix.evaluation.tasks.results import ResultFolder
from megatron_codemix.evaluation.tasks.whole_run import evaluate_run
from megatron_codemix.files import Json, read_json
from megatron_codemix.locks import exclusive
from megatron_codemix.runs import HELDOUT
from megatron_codemix.units import parse_bytes

if TYPE_CHECKING:
    from megatron_codemix.evaluation.engine.requests import LanguageModel

DEFAULT_MAX_BYTES = "1MB"


def _list_tasks(is_asked: bool) -> None:
    if not is_asked:
        return
    from megatron_codemix.evaluation.suites.registry import table

    for row in table():
        random = f", random {row['random']}" if row["random"] else ""
        print(f"{row['task']} [{row['suites']}] {row['describes']}")
        print(f"    {row['metric']}{random}; {row['items'] or '?'} items; {row['licence']}")
        print(f"    {row['data']}")
    for name, describes in SAFETY_TASKS.items():
        print(f"{name} [{SAFETY}] {describes}")
    raise typer.Exit


def command(
    context: typer.Context,
    run: RunArgument,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--tasks",
            "-t",
            help="Suite or task; may be given several times, or with commas. Absent: heldout, bits "
            "per byte on the run's held-out documents.",
        ),
    ] = None,
    list_tasks: Annotated[
        bool,
        typer.Option(
            "--list-tasks", callback=_list_tasks, is_eager=True, help="Print the tasks and end."
        ),
    ] = False,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with the tasks' data, in it or below it.")
    ] = None,
    skip_missing: Annotated[
        bool, typer.Option("--skip-missing", help="Leave out tasks whose data is not there.")
    ] = False,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only the first items of each task; not of heldout."),
    ] = None,
    samples: Annotated[
        int, typer.Option(min=1, help="Programs drawn for each problem, for pass@k.")
    ] = 1,
    temperature: Annotated[
        float, typer.Option(min=0.01, help="Of programs that are drawn, where there are several.")
    ] = 0.8,
    step: Step = None,
    nproc: Nproc = 1,
    tensor: Tensor = 1,
    pipeline: Pipeline = 1,
    max_batch_tokens: MaxBatchTokens = None,
    max_bytes_per_source: Annotated[
        str, typer.Option(help="heldout: text that is scored of each source.")
    ] = DEFAULT_MAX_BYTES,
    held_out_of: Annotated[
        Path | None,
        typer.Option(
            help="heldout: a run configuration whose held-out documents are scored; default: those "
            "of the run's own."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where results go; default: RUN/evaluation, with --step a folder in it."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also tasks that are finished with these settings.")
    ] = False,
    unsafe: Annotated[
        bool,
        typer.Option("--unsafe", help="Run programs of the model without isolation if need be."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summaries as JSON.")] = False,
) -> None:
    """Scores of a run: benchmarks of the papers and of lm-evaluation-harness, or bits per byte on
    held-out documents. A line per item and a summary with standard errors go to RUN/evaluation; the
    same command goes on after a kill."""
    ranks = ModelRanks.of(run, nproc, tensor, pipeline, max_batch_tokens, step)
    folder = ResultFolder(out or _place(ranks), limit)
    wanted = TaskChoice(
        names=[name for text in tasks or [HELDOUT] for name in text.split(",")],
        max_bytes_per_source=_size(max_bytes_per_source),
        held_out_of=held_out_of,
        data_dir=data_dir,
        skip_missing=skip_missing,
        limit=limit,
        samples=samples,
        temperature=temperature,
        unsafe=unsafe,
    )
    if not ranks.is_first:
        ranks.run(lambda model: None, log_folder=folder.path)
        return
    prepared = prepare_tasks(ranks, wanted)
    if HELDOUT not in wanted.names:
        unused = ["max_bytes_per_source", "held_out_of"]
        refuse_unused(context, unused, f"task {HELDOUT} is not asked for")
    if not any("samples" in task.settings for task in prepared):
        refuse_unused(context, ["samples", "temperature"], "no task draws programs")

    def body(model: "LanguageModel") -> None:
        evaluate_run(
            model,
            ranks.directory,
            prepared,
            step=step,
            layout=ranks.sizes,
            folder=folder,
            asked=wanted.record(),
            again=again,
        )

    with _only_one_in(folder.path):
        ranks.run(body, log_folder=folder.path)
    summaries = {task.name: read_json(folder.summary(task.name)) for task in prepared}
    _print(summaries, as_json=json, only_heldout=tasks is None)


def _place(ranks: ModelRanks) -> Path:
    folder = ranks.directory.evaluation
    return folder if ranks.step is None else folder / ranks.directory.checkpoint(ranks.step).name


@contextlib.contextmanager
def _only_one_in(folder: Path) -> Iterator[None]:
    """Raises UnavailableError where nothing can be written, RetryableError where another evaluation
    writes: studies may ask the same of a run."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise UnavailableError(
            f"{folder}: results cannot be written here ({error.strerror}); name a folder with --out"
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(exclusive(folder / ".evaluate.lock", "an evaluation"))
        except RunError as error:
            raise RetryableError(str(error)) from error
        yield


def _size(text: str) -> int:
    try:
        size = parse_bytes(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--max-bytes-per-source") from error
    if size < 1:
        raise typer.BadParameter("expected a size above 0", param_hint="--max-bytes-per-source")
    return size


def _print(summaries: Mapping[str, Json], *, as_json: bool, only_heldout: bool) -> None:
    if as_json:
        shown = summaries[HELDOUT] if only_heldout else {"tasks": summaries}
        print(json_module.dumps(shown, indent=1))
        return
    for name, summary in summaries.items():
        if name == HELDOUT:
            _print_sources(summary["sources"])
        else:
            print(_task_line(name, summary))


def _print_sources(sources: Mapping[str, Json]) -> None:
    for name, values in sources.items():
        print(
            f"{name:12s} {values['bits_per_byte']:.4f} bits per byte over "
            f"{values['documents']} documents, {values['bytes']} bytes"
        )


def _task_line(name: str, summary: Mapping[str, Json]) -> str:
    """`arc_easy  acc 0.4312 +- 0.0102 (random 0.25), 2376 items, 3 prompts cut`."""
    reported = summary["reported"]
    metric = summary["metrics"][reported]
    value = "nothing to count" if metric["value"] is None else f"{metric['value']:.4f}"
    error = "" if metric["stderr"] is None else f" +- {metric['stderr']:.4f}"
    random = summary["random_baseline"]
    guess = "" if random is None else f" (random {random:.4g})"
    counts = {
        "prompts cut": summary["truncated_prompts"],
        "texts in windows": summary.get("windowed_texts", 0),
    }
    cut = "".join(f", {count} {what}" for what, count in counts.items() if count)
    return f"{name:20s} {reported} {value}{error}{guess}, {summary['items']} items{cut}"
