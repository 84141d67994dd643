"""What tools/gpu_check.sh and tools/write_gpu_results.py say of input that is wrong."""

import json
import sys
from pathlib import Path

import pytest

from tools import write_gpu_results
from tools.gpu_check import __main__ as gpu_check
from tools.gpu_check import machine
from tools.gpu_check.page import BEGIN, END
from tools.gpu_check.results import Check, Machine, Results

ROOT = Path(__file__).parents[3]
MACHINE = Machine(host="here", card="", driver="", torch="2.13.0", engine="", sources="def")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--out", ""], "--out: the path is empty; name a file, or leave the option out"),
        (["--out", "/tmp"], "--out: /tmp is a folder; name a file, such as /tmp/gpu_check.json"),
        (["--out", "/proc/x/y.json"], "/proc/x: No such file or directory; give a path that"),
        (["--out", "/dev/null/y.json"], "/dev/null: File exists; a file is there, and a folder"),
        (["--sections", ""], "--sections: nothing is named; there are machine, tests"),
        (["--sections", "tests,speed"], "--sections: no speed; there are machine, tests"),
    ],
)
def test_wrong_options_are_told_in_a_line(
    words: list[str], said: str, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert gpu_check.main(words) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {said}")


def test_ctrl_c_is_told_in_a_line(tmp_path: Path, monkeypatch, capsys) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(machine, "look_for_gpu", interrupt)
    assert gpu_check.main(["--out", str(tmp_path / "check.json")]) == 130
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("interrupted; what was saved is kept")


def test_without_out_the_file_lies_where_git_does_not_see_it(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    out, names = gpu_check.read_arguments([])
    assert out == tmp_path / "runs" / "gpu_check.json"
    assert "runs/" in (ROOT / ".gitignore").read_text().splitlines()
    assert names == list(gpu_check.SECTIONS)


def test_sections_are_made_in_their_order() -> None:
    assert gpu_check.read_arguments(["--sections", "fp8, tests,fp8"])[1] == ["tests", "fp8"]


DAMAGED = {
    "{bad": "Expecting property name",
    "[]": "a list, and an object is wanted",
    "{}": "'machine' is missing",
    json.dumps({"machine": {}, "commit": "a", "date": "b", "sections": {}}): "'host' is missing",
    json.dumps(
        {"machine": MACHINE._asdict(), "commit": "a", "date": "b", "sections": {"fp8": {}}}
    ): "fp8: 'status' is missing",
}


@pytest.mark.parametrize(("text", "why"), DAMAGED.items())
def test_a_file_of_something_else_is_kept_beside(text: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "check.json"
    path.write_text(text)
    results = Results(path, MACHINE, "abc", "monday")
    kept = tmp_path / "check.1.json"
    assert kept.read_text() == text
    assert results.word is not None
    assert results.word.startswith(f"{path}: not what tools/gpu_check.sh writes (")
    assert why in results.word
    assert results.word.endswith(f": kept as {kept}")
    assert json.loads(path.read_text())["sections"] == {}


def write_results(*words: Path | str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["write_gpu_results.py", *map(str, words)])
        return write_gpu_results.main()


def test_results_that_cannot_be_written_down_are_told_in_a_line(tmp_path: Path, capsys) -> None:
    """The page stays as it is."""
    page, other, results = (tmp_path / name for name in ("page.md", "other.md", "check.json"))
    page.write_text(f"a\n{BEGIN}\n{END}\n")
    other.write_text("nothing\n")
    Results(results, MACHINE, "abc", "monday").add("fp8", "FP8", [Check("a", "skipped")], 1.0)
    damaged = tmp_path / "damaged.json"
    damaged.write_text("{bad")
    for words, said in (
        ((tmp_path / "none.json", "--page", page), f"{tmp_path / 'none.json'}: No such file"),
        ((tmp_path, "--page", page), f"{tmp_path}: is a folder"),
        ((damaged, "--page", page), f"{damaged}: not what tools/gpu_check.sh writes (Expecting"),
        ((results, "--page", other), f"{other}: no place for results: the lines {BEGIN}"),
        ((results, "--page", tmp_path / "no.md"), f"{tmp_path / 'no.md'}: No such file"),
    ):
        assert write_results(*words) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith(f"error: {said}")
    assert page.read_text() == f"a\n{BEGIN}\n{END}\n"
    assert write_results(results, "--page", page) == 0
    assert "| fp8 | a | not measured: |" in page.read_text()
