"""Patterns: the files that the glob module finds, each folder entered once."""

import glob
import os
from pathlib import Path

import pytest

from megatron_codemix.corpus.readers import expand_patterns
from megatron_codemix.corpus.readers.patterns import is_address
from megatron_codemix.errors import DataError

_FILES = """
a.py b.txt .hidden.py sub/a.py sub/deep/a.py sub/deep/x[1].py sub/.git/config sub/deep/deeper/b.py
other/a.py other/.secret/a.py sub2/a.pyc sub2/test_a.py
"""
_PATTERNS = """
*.py **/*.py **/a.py **/deep/*.py */a.py sub*/**/*.py **/deep/** ** **/* sub/**/b.py **/**/*.py
**/test_*.py **/[ab].* **/[!a].py **/.git/* .hidden.py **/.* sub/deep/x[[]1].py **/x[[]1].py
**/?.py **/*e*/*.py
"""
FILES, PATTERNS = _FILES.split(), _PATTERNS.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    return tmp_path


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("is_relative", [False, True])
def test_the_files_are_those_that_glob_finds(
    folder: Path, pattern: str, is_relative: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(folder)
    whole = pattern if is_relative else f"{folder}/{pattern}"
    expected = {Path(name) for name in glob.glob(whole, recursive=True) if Path(name).is_file()}
    assert expected, "else the case tells nothing"
    assert {file.path for file in expand_patterns([whole])} == expected


def test_a_folder_is_all_that_is_below_it(folder: Path):
    names = {file.name for file in expand_patterns([str(folder / "sub")])}
    assert names == {"a.py", "deep/a.py", "deep/x[1].py", "deep/deeper/b.py"}


def test_a_circle_of_links_ends(folder: Path):
    (folder / "sub" / "deep" / "up").symlink_to(folder)
    (folder / "self").symlink_to(".")
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    (folder / "nowhere").symlink_to("missing")
    found = [file.name for file in expand_patterns([f"{folder}/**/*.py"])]
    assert found == sorted(
        name for name in FILES if name.endswith(".py") and "/." not in name and name[0] != "."
    )


def test_a_link_is_followed_where_nothing_else_leads_there(folder: Path, tmp_path: Path):
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    outside.mkdir()
    (outside / "far.py").write_text("")
    (folder / "aaa").symlink_to(outside)
    (folder / "aab").symlink_to(folder / "sub")
    names = {file.name for file in expand_patterns([f"{folder}/**/*.py"])}
    assert "aaa/far.py" in names
    assert "sub/a.py" in names, "by its own name, not by that of a link to it"
    assert "aab/a.py" not in names


def test_what_cannot_be_entered_is_passed_over(folder: Path):
    if os.geteuid() == 0:
        pytest.skip("root may enter every folder")
    (folder / "sub").chmod(0)
    try:
        names = {file.name for file in expand_patterns([f"{folder}/**/*.py"])}
    finally:
        (folder / "sub").chmod(0o755)
    assert "other/a.py" in names


def test_a_pattern_without_files_is_named(folder: Path):
    with pytest.raises(DataError, match=r"(?s)nothing\.py: matches no file.*sub/\*\*/z"):
        expand_patterns([f"{folder}/nothing.py", f"{folder}/**/*.py", f"{folder}/sub/**/z"])


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("s3://bucket/a", True),
        ("hf://datasets/x/*.parquet", True),
        ("C:/a", False),
        ("a/b://c", False),
        ("/a", False),
    ],
)
def test_addresses_are_told_from_paths(pattern: str, expected: bool):
    assert is_address(pattern) == expected


def test_brackets_in_the_names_of_folders_are_no_wild_cards(tmp_path: Path):
    for name in ("g[1]", "g1"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "[b].py").write_text(name)
        (tmp_path / name / "deep" / "b.py").write_text(name)
    root = tmp_path / "g[1]"
    escaped = glob.escape(str(root))
    for pattern in (str(root), escaped, f"{escaped}/**/*.py", f"{escaped}/*/*.py"):
        found = {file.name: file.path for file in expand_patterns([pattern])}
        assert set(found) == {"deep/b.py", "deep/[b].py"}, pattern
        assert {path.read_text() for path in found.values()} == {"g[1]"}
    [one] = expand_patterns([f"{root}/deep/[b].py"])
    assert one.path == root / "deep" / "[b].py"
    # Where nothing has that very name, it is a pattern as before.
    assert len(expand_patterns([f"{tmp_path}/g[1-9]/deep/b.py"])) == 1


@pytest.mark.parametrize("pattern", ["**/[b-a]*", "[b-a]*"])
def test_a_range_that_holds_nothing_matches_nothing(folder: Path, pattern: str):
    with pytest.raises(DataError, match="matches no file"):
        expand_patterns([f"{folder}/{pattern}"])
