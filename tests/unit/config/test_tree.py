"""YAML read as text: nothing is guessed, every key knows its line."""

from pathlib import Path

import pytest
import yaml

from megatron_codemix.config import tree as tree_module
from megatron_codemix.config.tree import (
    is_given,
    merge,
    parse_yaml,
    read_yaml,
    set_dotted,
    where_of,
)
from megatron_codemix.errors import ConfigError


def parse(text: str) -> tuple[object, list[str]]:
    problems: list[str] = []
    return parse_yaml(text, "f.yaml", problems), problems


@pytest.mark.parametrize("scalar", ["3e-4", "200B", "no", "12:30:00", "010", "1_000", "0x1F", "!"])
def test_scalars_stay_the_text_they_are(scalar: str) -> None:
    quoted = scalar if scalar != "!" else "'!'"
    assert parse(f"a: {quoted}") == ({"a": scalar}, [])


@pytest.mark.parametrize("absent", ["", "~", "null", "Null", "NULL", "# only a comment"])
def test_nothing_is_absent(absent: str) -> None:
    assert parse(f"a: {absent}") == ({"a": None}, [])


@pytest.mark.parametrize("quoted", ["'null'", '"~"', "''"])
def test_quotes_make_text_of_nothing(quoted: str) -> None:
    assert parse(f"a: {quoted}") == ({"a": quoted[1:-1]}, [])


@pytest.mark.parametrize("loader", [yaml.BaseLoader, yaml.CBaseLoader])
def test_both_loaders_of_pyyaml_read_the_same(
    loader: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree_module, "_LOADER", loader)
    tree, problems = parse("a:\nb: 'null'\nc: [1, ~, {d: no}]\nd: |\n  text\n")
    assert tree == {"a": None, "b": "null", "c": ["1", None, {"d": "no"}], "d": "text\n"}
    assert isinstance(tree, dict)
    assert [where_of(key) for key in tree] == [f"f.yaml:{n}" for n in (1, 2, 3, 4)]
    assert not problems
    assert "not valid YAML" in parse("a: [")[1][0]


def test_keys_remember_their_line() -> None:
    tree, _ = parse("a: 1\nb:\n  c: 2\n")
    assert isinstance(tree, dict)
    assert [where_of(key) for key in tree] == ["f.yaml:1", "f.yaml:2"]
    assert [where_of(key) for key in tree["b"]] == ["f.yaml:3"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {c: 1, c: 2}\n", "f.yaml:2: b.c: given twice"),
        ("a: &x {b: 1}\nc: *x\n", "aliases (*name) are not supported"),
        ("a: &x [*x]\n", "aliases (*name) are not supported"),
        ("a: !!python/name:os.system x\n", "not supported"),
        ("a: !mine x\n", "YAML tags (!mine) are not supported"),
        ("a: [1\n", "not valid YAML"),
        ("\tb: 1\n", "f.yaml:1: not valid YAML"),
        ("[a]: 1\n", "a key must be a word"),
        ("a: 1\n---\nb: 2\n", "not valid YAML"),
        ("a: \x07\n", "not valid YAML"),
        ("[" * 5000, "f.yaml"),
    ],
)
def test_bad_yaml_is_a_problem_with_its_place(text: str, problem: str) -> None:
    assert problem in "\n".join(parse(text)[1])


def test_all_duplicates_are_reported_together() -> None:
    assert len(parse("a: 1\na: 2\nb: {c: 1, c: 2}\n")[1]) == 2


def test_files_that_cannot_be_read_are_problems(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: caf\xe9\n")
    (tmp_path / "scalar.yaml").write_text("just words\n")
    for name in ("latin.yaml", "scalar.yaml", "missing.yaml", "."):
        problems: list[str] = []
        assert read_yaml(tmp_path / name, problems) == {}
        assert len(problems) == 1, name
        assert name.rstrip(".") in problems[0]


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    problems: list[str] = []
    assert read_yaml(tmp_path / "empty.yaml", problems) == {}
    assert problems == []


def test_merge_goes_into_sections_and_changes_neither_side() -> None:
    base = {"a": {"x": "1", "y": "2"}, "b": "3"}
    over = {"a": {"y": "4"}, "c": "5"}
    assert merge(base, over) == {"a": {"x": "1", "y": "4"}, "b": "3", "c": "5"}
    assert base == {"a": {"x": "1", "y": "2"}, "b": "3"}
    assert over == {"a": {"y": "4"}, "c": "5"}


def test_merge_keeps_the_place_of_the_value_that_counts() -> None:
    base, _ = parse_yaml("a: 1\nb: 2\n", "base", []), None
    over = parse_yaml("\n\nb: 3\n", "over", [])
    assert [where_of(key) for key in merge(base, over)] == ["base:1", "over:3"]


def test_merge_replaces_weights_and_sections_of_another_kind() -> None:
    base = {"weights": {"a": "0.5", "b": "0.5"}, "s": {"kind": "cosine", "peak_lr": "1"}}
    over = {"weights": {"a": "1"}, "s": {"kind": "linear", "start_lr": "1"}}
    assert merge(base, over) == over


def test_merge_goes_into_sections_of_the_same_kind() -> None:
    base = {"s": {"kind": "cosine", "peak_lr": "1"}}
    assert merge(base, {"s": {"peak_lr": "2"}})["s"] == {"kind": "cosine", "peak_lr": "2"}


def test_merge_drops_origins_of_values_that_are_set_anew() -> None:
    base = {
        "model": {"a": "1", "b": "2"},
        "origin": {"model.a": "paper, 2", "model.b": "paper, 3", "model": "inferred"},
    }
    merged = merge(base, {"model": {"a": "9"}, "origin": {"model.c": "inferred"}})
    assert merged["origin"] == {"model.b": "paper, 3", "model": "inferred", "model.c": "inferred"}


def test_set_dotted_sets_exactly_one_value_in_a_copy() -> None:
    tree = {"a": {"x": "1", "y": {"z": "2"}}}
    assert set_dotted(tree, "a.y", {"q": "3"}) == {"a": {"x": "1", "y": {"q": "3"}}}
    assert set_dotted(tree, "b.c.d", "4") == {**tree, "b": {"c": {"d": "4"}}}
    assert tree == {"a": {"x": "1", "y": {"z": "2"}}}


def test_set_dotted_fills_an_absent_section() -> None:
    assert set_dotted({"a": None}, "a.b", "1") == {"a": {"b": "1"}}


@pytest.mark.parametrize("path", ["a.x.deep", "a..x", "", "a."])
def test_set_dotted_refuses_what_is_no_path(path: str) -> None:
    with pytest.raises(ConfigError, match="here"):
        set_dotted({"a": {"x": "1"}}, path, "1", where="here")


def test_what_stands_in_the_way_of_a_path_counts_as_given() -> None:
    tree = {"a": {"x": "1", "n": None}, "b": None, "c": "word"}
    given = [path for path in ("a", "a.x", "a.y", "a.n", "b", "b.z", "c.d") if is_given(tree, path)]
    assert given == ["a", "a.x", "c.d"]
