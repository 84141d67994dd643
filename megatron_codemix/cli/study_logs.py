"""`codemix study logs`: what a phase's training or evaluation has printed, wherever it ran."""

import time
from pathlib import Path
from typing import Annotated

import typer

from megatron_codemix.cli.study_options import (
    OutOption,
    SetOption,
    StoreOption,
    StudyArgument,
    phases_named,
    place_of,
    read_study,
    with_store,
)
from megatron_codemix.errors import ConfigError, RunError
from megatron_codemix.results import summary_path
from megatron_codemix.runs import HELDOUT, RunDirectory
from megatron_codemix.study.commands import files_folder
from megatron_codemix.study.evaluation import documents_path
from megatron_codemix.study.job_graph import job_name
from megatron_codemix.study.job_records import JobRecord, read_records
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.record import read_record
from megatron_codemix.study.store import Work, is_at_work
from megatron_codemix.study.tree import StudyTree, expand

_FOLLOW_SECONDS = 0.5


def logs(
    study: StudyArgument,
    phase: Annotated[
        str, typer.Argument(metavar="PHASE", help="Phase, or CELL/PHASE; or 'report'.")
    ],
    out: OutOption = None,
    store: StoreOption = None,
    set_: SetOption = None,
    evaluation: Annotated[
        bool, typer.Option("--evaluation", help="Of its evaluation, not of its training.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, help="Only so many of the last lines.")
    ] = 40,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on as the log grows, until Ctrl-C.")
    ] = False,
) -> None:
    """Print the log of a phase: of its training or its evaluation, in SLURM or on this machine."""
    tree = expand(read_study(study, None, None, set_))
    place = place_of(tree.spec, out)
    tree = with_store(tree, place, store)
    path = _log_of(tree, place, phase, "evaluate" if evaluation else "train")
    with open(path, encoding="utf-8", errors="replace") as handle:
        for line in handle.read().splitlines()[-lines:]:
            print(line)
        while follow:
            print(handle.read(), end="", flush=True)
            time.sleep(_FOLLOW_SECONDS)


def _log_of(tree: StudyTree, out: Path, phase: str, kind: Work) -> Path:
    """Where the log lies. From what was noted at the start, so that it can be read without the
    data. Raises RunError where there is none."""
    if phase == "report" and phase not in tree.spec.phases:
        record = read_records(out).get(job_name(tree.spec.name, None, "report"))
        if record is None:
            raise RunError(f"{out}: no report was submitted from here")
        if not Path(record.log).exists():
            raise RunError(f"the report has not begun yet, so there is no {record.log}")
        return Path(record.log)
    nodes = phases_named(tree, phase)
    if len(nodes) > 1:
        keys = ", ".join(node.key for node in nodes)
        raise ConfigError([f"phase {phase!r} is in several cells; name one of {keys}"])
    run = read_record(out, tree.spec.name).run_directory(out, nodes[0].key, tree.store)
    if run is None:
        raise RunError(
            f"phase {phase!r} has not begun yet in {out}; if the study runs in another folder, "
            "name it with --out"
        )
    own = files_folder(run, kind) / f"{kind}.log"
    there = [log for log in (*_job_logs(tree, out, nodes[0], kind, run), own) if log.exists()]
    if not there:
        raise RunError(_no_log(tree, phase, run, kind, own))
    return there[0]


def _no_log(tree: StudyTree, phase: str, run: RunDirectory, kind: Work, path: Path) -> str:
    """Why a phase that the study was started with has no log."""
    if kind == "evaluate" and documents_path(tree.spec.evaluation, run) == run.validation_documents:
        return (
            f"phase {phase!r} is not evaluated: with evaluation.heldout.kind=validation the last "
            "validation of its training counts, whose log is shown without --evaluation"
        )
    result = run.status if kind == "train" else summary_path(run, HELDOUT)
    if not result.exists() and not is_at_work(run, kind):
        whose = "phase" if kind == "train" else "the evaluation of"
        return f"{whose} {phase!r} has not begun yet, so there is no {path}"
    return (
        f"{path}: no such log here; 'codemix study status' says what has begun, and what "
        "another study has trained, whose log it then is"
    )


def _job_logs(
    tree: StudyTree, out: Path, node: PhaseNode, kind: Work, run: RunDirectory
) -> list[Path]:
    """Of the jobs that have done this for `node`: its own, then those of phases that have the same
    training, or evaluation, of which one of several has the job."""
    records, noted = read_records(out), read_record(out, tree.spec.name)

    def is_same(other: PhaseNode) -> bool:
        theirs = noted.run_directory(out, other.key, tree.store)
        return theirs is not None and theirs.path == run.path and (kind == "train" or theirs == run)

    names = [
        job_name(tree.spec.name, one, kind)
        for one in (node, *(other for other in tree.nodes.values() if is_same(other)))
    ]
    jobs = [records[name] for name in names if name in records]
    return [Path(job.log) for job in jobs if _is_of(job, run)]


def _is_of(job: JobRecord, run: RunDirectory) -> bool:
    return job.run == str(run.path.absolute())
