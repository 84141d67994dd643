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
from megatron_codemix.runs import RunDirectory
from megatron_codemix.study.commands import files_folder
from megatron_codemix.study.job_graph import job_name
from megatron_codemix.study.job_records import JobRecord, read_records
from megatron_codemix.study.node import PhaseNode
from megatron_codemix.study.state import read_record
from megatron_codemix.study.store import Work
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
    if not path.exists() and not path.parent.exists():
        whose = "the evaluation of" if evaluation else "phase"
        raise RunError(f"{whose} {phase!r} has not begun yet, so there is no {path}")
    if not path.exists():
        raise RunError(
            f"{path}: no such log here; 'codemix study status' says what has begun, and what "
            "another study has trained, whose log it then is"
        )
    with open(path, encoding="utf-8", errors="replace") as handle:
        for line in handle.read().splitlines()[-lines:]:
            print(line)
        while follow:
            print(handle.read(), end="", flush=True)
            time.sleep(_FOLLOW_SECONDS)


def _log_of(tree: StudyTree, out: Path, phase: str, kind: Work) -> Path:
    """Where the log lies. From what was noted at the start, so that it can be read without the
    data."""
    if phase == "report" and phase not in tree.spec.phases:
        record = read_records(out).get(job_name(tree.spec.name, None, "report"))
        if record is None:
            raise RunError(f"{out}: no report was submitted from here")
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
    there = [log for log in _job_logs(tree, out, nodes[0], kind, run) if log.exists()]
    return there[0] if there else files_folder(run, kind) / f"{kind}.log"


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
