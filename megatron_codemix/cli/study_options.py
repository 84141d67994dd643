"""What all commands on a study take: the file, its data, its folder, changes to it."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.config.problems import suggestion
from megatron_codemix.errors import CodemixError, ConfigError, DataError, RunError
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.record import StudyRecord, read_record, record_path
from megatron_codemix.study.sharing import require_one_run_each
from megatron_codemix.study.spec import StudySpec
from megatron_codemix.study.store import holds_runs, is_gone
from megatron_codemix.study.token_scale import MAX_SCALE
from megatron_codemix.study.tree import StudyTree

StudyArgument = Annotated[Path, typer.Argument(metavar="STUDY", help="Study file (YAML).")]
DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder that {data} stands for in the study's paths.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the study; default runs/<name of the study>."),
]
StoreOption = Annotated[
    Path | None,
    typer.Option(
        "--store",
        help="Folder of runs that several studies have in common: what one has trained, no other "
        "trains again. The study's folder remembers it.",
    ),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        "--scale", help="Multiply the study's token_scale, as in 0.1 for a tenth of the tokens."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="key=value: changes the study file (world_size=2, phases.cool.set.train.seed=2) or "
        "its defaults (train.seed=2). May be repeated.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def read_study(
    study: Path, data: Path | None, scale: str | None, overrides: list[str] | None
) -> StudySpec:
    """The study file with the command line's changes."""
    factor = None if scale is None else parse_scale(scale)
    return load_study(study, data_root=data, scale=factor, overrides=overrides or [])


def parse_scale(scale: str) -> Decimal:
    """The factor of --scale. Raises ConfigError."""
    with contextlib.suppress(InvalidOperation):
        factor = Decimal(scale)
        if factor.is_finite() and 0 < factor <= MAX_SCALE:
            return factor
    raise ConfigError(
        [
            f"--scale {scale}: expected a number above 0 and at most {MAX_SCALE:.0e}, such as 0.1 "
            "for a tenth of the tokens"
        ]
    )


def place_of(spec: StudySpec, out: Path | None) -> Path:
    """The study's folder."""
    return out if out is not None else Path("runs") / spec.name


def with_store(
    tree: StudyTree, out: Path, store: Path | None, *, needs_runs: bool = True
) -> StudyTree:
    """`tree` with the store that `out` remembers or the command line names, which may be the new
    place of one that is gone. Raises ConfigError where these are two, RunError where the folder
    cannot be one or is another study's, or where the store is gone (with needs_runs)."""
    record = read_record(out, tree.spec.name)
    given = None if store is None else Path(os.path.abspath(store))
    noted = None if record.store is None else Path(record.store)
    if noted is not None and is_gone(noted, record.runs.values(), record.begun):
        if needs_runs:
            _require_moved(noted, given, out, record)
    elif given is not None and given != noted and (noted is not None or record.runs):
        where = "in its own folder" if noted is None else f"in {noted}"
        raise ConfigError(
            [
                f"--store {store}: the study in {out} keeps its runs {where}; leave --store out, "
                "or name another folder with --out"
            ]
        )
    place = given or noted
    if place is None:
        return tree
    if place.exists() and not place.is_dir():
        raise RunError(f"--store {place}: is a file, and runs need a folder; give another path")
    require_one_run_each(tree.nodes, tree.owners)
    return replace(tree, store=place)


@contextlib.contextmanager
def collecting(problems: list[str]) -> Iterator[None]:
    """What the block finds wrong goes to the other problems."""
    try:
        yield
    except CodemixError as error:
        problems += error.problems


def _require_moved(gone: Path, given: Path | None, out: Path, record: StudyRecord) -> None:
    """Raises RunError unless `given` has what a store that is gone had of the study in `out`."""
    anew = f"to begin anew without these runs, move {record_path(out)} away"
    if given is None or given == gone:
        raise RunError(
            f"{gone}: the study in {out} has its runs in this store, which is gone (moved, on a "
            "disk that is not mounted, or without any of them); put it back, or give its new "
            f"place with --store; {anew}"
        )
    if not holds_runs(given, [*record.runs.values(), *record.begun]):
        raise RunError(
            f"--store {given}: has none of the runs that the study in {out} has in {gone}, a store "
            f"that is gone; give its new place, or put it back; {anew}"
        )


def phases_named(tree: StudyTree, text: str) -> list[PhaseNode]:
    """Phases by `cell/phase`, or of that name in every cell. Raises ConfigError."""
    found = [node for node in tree.nodes.values() if text in (node.key, node.name)]
    if not found:
        known = [*tree.nodes, *tree.spec.phases]
        raise ConfigError([f"no phase {text!r} in this study{suggestion(text, known, known)}"])
    return found


def require_tasks_of(spec: StudySpec, *, with_data: bool) -> None:
    """Raises now what the evaluation after the first training would."""
    asked = spec.evaluation.tasks
    if asked is None:
        return
    from megatron_codemix.cli.task_choice import TaskChoice, require_tasks

    choice = TaskChoice(names=asked.names, data_dir=asked.data_dir, limit=asked.limit)
    try:
        require_tasks(choice, with_data=with_data)
    except ConfigError as error:
        place = spec.at("evaluation.tasks.names")
        problems = [problem.removeprefix("--tasks: ") for problem in error.problems]
        raise ConfigError([f"{place}: {problem}" for problem in problems]) from error
    except DataError as error:
        place = spec.at("evaluation.tasks.data_dir")
        problems = [problem.removeprefix("--data-dir ") for problem in error.problems]
        raise ConfigError([f"{place}: {problem}" for problem in problems]) from error
