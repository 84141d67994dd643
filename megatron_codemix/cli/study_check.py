"""`codemix study check` of one file or several: what is in them, or all that is wrong."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from megatron_codemix.errors import ConfigError
from megatron_codemix.study.consistency import name_warnings
from megatron_codemix.study.spec import StudySpec
from megatron_codemix.study.tree import StudyTree, check_stated_tokens, expand
from megatron_codemix.study.twins import structural_identities


@dataclass(frozen=True, kw_only=True)
class CheckedStudy:
    """A study file without problems."""

    path: Path
    tree: StudyTree
    trainings: frozenset[str]
    """A hash for each thing that is trained; phases of several studies may train the same."""
    warnings: list[str]
    """What is allowed, and hardly meant."""


def check_studies(
    paths: Sequence[Path],
    read: Callable[[Path], StudySpec],
    require_tasks: Callable[[StudySpec], None],
) -> tuple[list[CheckedStudy], list[str]]:
    """The files that are right, and the problems of the others, each with its file."""
    checked: list[CheckedStudy] = []
    problems: list[str] = []
    for path in dict.fromkeys(paths):
        try:
            spec = read(path)
            tree = expand(spec)
            check_stated_tokens(tree)
            check_gpu(spec)
            require_tasks(spec)
        except ConfigError as error:
            is_told = len(paths) == 1
            problems += [text if is_told else _with_file(path, text) for text in error.problems]
            continue
        trainings = frozenset(structural_identities(tree.nodes).values())
        warnings = name_warnings(spec)
        checked.append(CheckedStudy(path=path, tree=tree, trainings=trainings, warnings=warnings))
    return checked, problems


def check_gpu(spec: StudySpec) -> None:
    """Raises ConfigError where the planner does not know the GPU that the study names."""
    if spec.gpu is None:
        return
    # Here, so that `study status` does not wait for the planner.
    from megatron_codemix.planner.hardware import find_gpu

    try:
        find_gpu(spec.gpu)
    except ConfigError as error:
        raise ConfigError([f"{spec.at('gpu')}: {problem}" for problem in error.problems]) from error


def check_record(checked: Sequence[CheckedStudy], problems: Sequence[str]) -> dict[str, Any]:
    """For --json."""  # Any: JSON values
    return {
        "ok": not problems,
        "problems": list(problems),
        "phases": sum(len(one.tree.nodes) for one in checked),
        "trainings": _num_trainings(checked),
        "studies": [
            {
                "file": str(one.path),
                "study": one.tree.spec.name,
                "phases": len(one.tree.nodes),
                "variants": len(one.tree.spec.variants),
                "cells": len(one.tree.cells),
                "warnings": one.warnings,
            }
            for one in checked
        ],
    }


def check_lines(checked: Sequence[CheckedStudy]) -> list[str]:
    """A line for each file, with its warnings behind it, and with several files one for all."""
    lines = []
    for one in checked:
        cells = len(one.tree.cells)
        phases, variants = len(one.tree.nodes), len(one.tree.spec.variants)
        lines.append(
            f"{one.path}: ok, {phases} phases, {variants} variants"
            + (f", {cells} cells" if cells > 1 else "")
        )
        lines += [f"warning: {warning}" for warning in one.warnings]
    if len(checked) > 1:
        phases = sum(len(one.tree.nodes) for one in checked)
        lines.append(
            f"{len(checked)} studies: {phases} phases, {_num_trainings(checked)} different ones"
        )
    return lines


def _num_trainings(checked: Sequence[CheckedStudy]) -> int:
    return len(frozenset().union(*(one.trainings for one in checked)))


def _with_file(path: Path, problem: str) -> str:
    """With the file in front, where the problem does not name it."""
    return problem if str(path) in problem else f"{path}: {problem}"
