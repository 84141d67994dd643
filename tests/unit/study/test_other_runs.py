"""Runs of a study at another --scale or --set, before its file was changed, or by another name:
told of wherever the study would look as if it had not begun."""

import json
import shlex
import subprocess
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.cli.study_options import with_store
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from megatron_codemix.report.collect import collect
from megatron_codemix.report.tables import build_report
from megatron_codemix.study.loader import load_study
from megatron_codemix.study.other_runs import other_runs
from megatron_codemix.study.record import read_record, write_record
from megatron_codemix.study.state import phase_progress
from megatron_codemix.study.store import require_store
from megatron_codemix.study.tree import StudyTree, expand, identify
from tests.helpers.study_files import (
    CELLS,
    STUDY,
    small_tree,
    write_evaluated,
    write_study,
    write_trained,
)


def tree_with(folder: Path, scale: str | None, overrides: list[str]) -> StudyTree:
    factor = None if scale is None else Decimal(scale)
    spec = load_study(
        folder / "study.yaml", data_root=folder / "data", scale=factor, overrides=overrides
    )
    return identify(expand(spec))


def reported(folder: Path, text: str, *options: str, has_data: bool = False) -> list[str]:
    """Warnings of a report of the runs in `folder`/out, or in the store there, that speak of other
    settings."""
    spec = load_study(
        write_study(folder, text),
        data_root=folder / "data" if has_data else None,
        overrides=list(options),
    )
    tree = with_store(identify(expand(spec)), folder / "out", None)
    warnings = build_report(collect(tree, folder / "out"))["warnings"]
    return [one for one in warnings if "last start" in one or "a run here" in one]


def begin(tree: StudyTree, out: Path, *names: str) -> None:
    """As a start that has trained these phases."""
    write_record(out, read_record(out, "small").with_runs(tree, out))
    for name in names:
        write_trained(tree, out, tree.nodes[f"single/{name}"])


@pytest.mark.parametrize("has_store", [False, True])
@pytest.mark.parametrize(
    ("scale", "overrides", "words"),
    [
        ("0.50", [], "with --scale 0.5"),
        (None, ["train.seed=2"], "with --set train.seed=2"),
        ("2", ["name=small", "train.seed=2"], "with --scale 2 --set name=small --set train.seed=2"),
    ],
)
def test_the_options_to_give_are_named(
    scale: str | None, overrides: list[str], words: str, has_store: bool, tmp_path: Path
) -> None:
    now, out = small_tree(tmp_path), tmp_path / "out"
    then = tree_with(tmp_path, scale, overrides)
    if has_store:
        require_store(tmp_path / "store")
        now, then = (replace(tree, store=tmp_path / "store") for tree in (now, then))
    begin(then, out, "text", "balanced")
    [line] = other_runs(now, out)
    assert "2 phases (text, ...)" in line
    assert f"give the command {words} to go on" in line
    assert other_runs(then, out) == []
    begin(now, out, "text", "balanced")
    assert other_runs(now, out) == [], "they have begun as they are given now"
    assert other_runs(then, out) == []
    third = tree_with(tmp_path, "3", [])
    third = replace(third, store=tmp_path / "store") if has_store else third
    told = other_runs(third, out)
    assert sorted(words in line for line in told) == [False, True]
    assert any("that began without --scale and --set" in line for line in told)


def test_a_file_that_was_changed_is_told_as_such(tmp_path: Path) -> None:
    out = tmp_path / "out"
    begin(small_tree(tmp_path), out, "text")
    changed = small_tree(tmp_path, STUDY.replace("seed: 1", "seed: 2"))
    [line] = other_runs(changed, out)
    assert line.startswith("text has a run here from before the study's file or its data")


def test_records_of_earlier_versions_do_not_know_the_options(tmp_path: Path) -> None:
    now, out = small_tree(tmp_path), tmp_path / "out"
    then = tree_with(tmp_path, "0.5", [])
    begin(then, out, "text")
    write_record(out, replace(read_record(out, "small"), started={}))
    [line] = other_runs(now, out)
    assert "of other settings (--scale, --set, " in line


def test_a_start_that_has_left_no_run_is_not_told(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    begin(tree, out)
    assert other_runs(tree_with(tmp_path, "0.5", []), out) == []


def test_commands_tell_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_tree(tmp_path)
    out = tmp_path / "out"
    begin(tree_with(tmp_path, "0.5", []), out, "text")
    study = [str(write_study(tmp_path)), "--data", str(tmp_path / "data"), "--out", str(out)]
    for command in (["status"], ["run", "--dry-run"]):
        assert main(["study", *command, *study]) == EXIT_DONE
        assert "note: text has a run here that began with --scale 0.5" in capsys.readouterr().out
    assert main(["study", "status", *study, "--json"]) == EXIT_DONE
    assert len(json.loads(capsys.readouterr().out)["other_runs"]) == 1
    assert main(["study", "report", *study]) == EXIT_INPUT
    assert "text has a run here that began with --scale 0.5" in capsys.readouterr().err
    assert main(["study", "status", *study, "--scale", "0.5"]) == EXIT_DONE
    assert "note: " not in capsys.readouterr().out


@pytest.mark.parametrize("has_store", [False, True])
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("balanced:\n    set: {data.mixture.weights: {text: 0.5, code: 0.5}}",
         "balanced:\n    set: {data.mixture.weights: {text: 0.1, code: 0.9}}", "balanced"),
        ("train_tokens: 200M", "train_tokens: 600M", "cooldown"),
        ("seed: 1", "seed: 2", "text, balanced, balanced-then-text, cooldown"),
        ("load: weights+optimizer", "load: weights", "cooldown"),
        ("phase: balanced-then-text, load", "phase: balanced, load", "cooldown"),
    ],
    ids=["mixture", "budget", "all", "load", "parent"],
)  # fmt: skip
def test_a_report_without_data_tells_of_a_changed_file(
    old: str, new: str, named: str, has_store: bool, tmp_path: Path
) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    if has_store:
        require_store(tmp_path / "store")
        tree = replace(tree, store=tmp_path / "store")
    begin(tree, out)
    for node in tree.nodes.values():
        write_evaluated(tree, write_trained(tree, out, node), {"text": 100.0})
    assert reported(tmp_path, STUDY) == []
    assert reported(tmp_path, STUDY.replace("tensor: 2", "tensor: 1")) == [], "no part of them"
    changed = STUDY.replace(old, new)
    assert changed != STUDY
    [line] = reported(tmp_path, changed)
    assert f"; since then the study's file has changed {named}; give --data" in line


def test_a_report_without_data_tells_of_other_options(tmp_path: Path) -> None:
    small_tree(tmp_path)
    then, out = tree_with(tmp_path, None, ["train.seed=2"]), tmp_path / "out"
    begin(then, out, *then.spec.phases)
    assert reported(tmp_path, STUDY, "train.seed=2") == []
    [line] = reported(tmp_path, STUDY)
    assert "the last start, which was given with --set train.seed=2: as the study is given" in line


def test_a_report_with_data_tells_of_a_changed_file(tmp_path: Path) -> None:
    tree, out = small_tree(tmp_path), tmp_path / "out"
    begin(tree, out, *tree.spec.phases)
    assert reported(tmp_path, STUDY, has_data=True) == []
    changed = STUDY.replace("train_tokens: 200M", "train_tokens: 600M")
    [line] = reported(tmp_path, changed, has_data=True)
    assert line.startswith("cooldown has a run here from before the study's file or its data was")


@pytest.mark.parametrize("is_cell", [False, True])
def test_a_renamed_phase_is_told_and_its_folder_can_be_taken(is_cell: bool, tmp_path: Path) -> None:
    out = tmp_path / "o ut"
    text, old, new = (CELLS, "little", "some") if is_cell else (STUDY, "cooldown", "chill")
    before = small_tree(tmp_path, text)
    write_record(out, read_record(out, "small").with_runs(before, out))
    for node in before.nodes.values():
        write_trained(before, out, node)
    assert other_runs(before, out) == []
    now = small_tree(tmp_path, text.replace(old, new))
    lines = other_runs(now, out)
    assert lines
    for line in lines:
        assert "the same training lies in " in line
        for command in line.split("`")[1::2]:
            if not (command.startswith("mkdir") and (out / new).exists()):
                subprocess.run(shlex.split(command), check=True)
    assert other_runs(now, out) == []
    states = {phase_progress(now, out, node).state for node in now.nodes.values()}
    assert states == {"trained"}


def test_what_lies_where_a_renamed_phase_goes_is_told(tmp_path: Path) -> None:
    before, out = small_tree(tmp_path), tmp_path / "out"
    write_trained(before, out, before.nodes["single/cooldown"])
    now = small_tree(tmp_path, STUDY.replace("cooldown", "chill"))
    own = now.run_directory(out, now.nodes["single/chill"]).path
    own.mkdir()
    [line] = other_runs(now, out)
    assert f"`, with {own} out of the way, makes it this phase's" in line
    assert other_runs(replace(now, store=tmp_path / "store"), out) == []


def test_cells_that_run_differently_keep_each_its_own_run(tmp_path: Path) -> None:
    """As along an axis of layouts: whose a run of their identity would be is not known."""
    layouts = "little: {layout.tensor: 2}\n    much: {layout.tensor: 1}\n"
    start, end = CELLS.index("    little:"), CELLS.index("phases:")
    text = CELLS[:start] + f"    {layouts}" + CELLS[end:]
    before, out = small_tree(tmp_path, text), tmp_path / "out"
    write_trained(before, out, before.nodes["little/base"])
    assert other_runs(before, out) == []
    assert other_runs(small_tree(tmp_path, text.replace("little", "some")), out) == []
