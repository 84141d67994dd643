"""Paths on the command line: `~` and nothing, in every option and argument of every command."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.cli.main import COMMANDS, load_command, main
from megatron_codemix.errors import EXIT_INPUT
from tests.helpers.study_files import small_tree, write_trained

NO_PATHS = {
    *("set_", "root", "policy"),  # NAME=VALUE
    *("dtype", "max_shard_bytes", "origin_field", "sequence_length"),  # of a file
}
"""Parameters whose help speaks of files, and that are no paths."""
WORDS = ("folder", "director", "file", "pattern")


def parameters() -> Iterator[tuple[str, Any]]:
    """Each parameter that is there, with the command's name."""
    pending = [(name, load_command(name)) for name in COMMANDS]
    while pending:
        name, command = pending.pop()
        pending += [(f"{name} {sub}", one) for sub, one in getattr(command, "commands", {}).items()]
        yield from ((name, parameter) for parameter in command.params)


def test_every_parameter_that_its_help_calls_a_file_or_folder_keeps_the_rule() -> None:
    """Told by words of the help, not by types."""
    found = [
        (name, one.name, "process_value" in vars(one))
        for name, one in parameters()
        if any(word in (one.help or "").lower() for word in WORDS)
        and not getattr(one, "is_flag", False)
    ]
    assert len(found) > 60
    unread = {name for _, name, is_read in found if not is_read}
    assert unread <= NO_PATHS


@pytest.mark.parametrize("way", [["--out", "~/out"], ["--out=~/out"]])
def test_a_home_folder_is_meant_however_it_was_quoted(
    way: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    tree = small_tree(tmp_path)
    write_trained(tree, tmp_path / "out", tree.nodes["single/text"])
    assert main(["study", "status", "~/study.yaml", "--data", "~/data", "--json", *way]) == 0
    shown = capsys.readouterr().out
    assert shown.count('"trained"') == 1
    assert f'"out": "{tmp_path}/out"' in shown
    assert main(["study", "check", "~/study.yaml", "~/study.yaml"]) == 0, "an argument of many"
    assert not list(tmp_path.glob("~*"))


def test_patterns_keep_the_rule_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "one.txt").write_text("text")
    words = ["corpus", "local", str(tmp_path / "corpus"), "--dry-run", "--json"]
    assert main([*words, "--text", "~/*.txt"]) == 0
    assert '"text": 1' in capsys.readouterr().out
    assert main([*words, "--text", ""]) == EXIT_INPUT
    assert "the path is empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["study", "status", "study.yaml", "--out", ""],
        ["study", "run", "study.yaml", "--store", ""],
        ["study", "plan", "study.yaml", "--data", ""],
        ["study", "check", "study.yaml", ""],
        ["train", ""],
        ["bench", "chaos", "--folder", ""],
        ["quickstart", "--out="],
    ],
    ids=" ".join,
)
def test_nothing_is_no_path(
    words: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == EXIT_INPUT
    told = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert "the path is empty; give one ('.' is this folder)" in told
    assert list(tmp_path.iterdir()) == []


def test_a_home_of_nobody_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "status", "study.yaml", "--out", "~no-such-user/x"]) == EXIT_INPUT
    assert "no such user's home folder" in capsys.readouterr().err
