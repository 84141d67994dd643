"""Runs of a study at another --scale or --set, or before its file was changed: told of wherever the
study would look as if it had not begun."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from megatron_codemix.cli.main import main
from megatron_codemix.errors import EXIT_DONE, EXIT_INPUT
from megatron_codemix.study.other_runs import other_runs
from megatron_codemix.study.spec import load_study
from megatron_codemix.study.state import read_record, write_record
from megatron_codemix.study.store import require_store
from megatron_codemix.study.tree import StudyTree, expand, identify
from tests.helpers.study_files import STUDY, small_tree, write_study, write_trained


def tree_with(folder: Path, scale: str | None, overrides: list[str]) -> StudyTree:
    factor = None if scale is None else Decimal(scale)
    spec = load_study(
        folder / "study.yaml", data_root=folder / "data", scale=factor, overrides=overrides
    )
    return identify(expand(spec))


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
