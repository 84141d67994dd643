"""The corpus of a machine: a small made-up one, and this one."""

import ast
import errno
import json
import os
import warnings
from collections import defaultdict
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from megatron_codemix.cli.corpus import app
from megatron_codemix.corpus.document import Document, normalise
from megatron_codemix.corpus.local.build import LocalCorpus, build_local_corpus, plan_local_corpus
from megatron_codemix.corpus.local.collect import PACKAGE_SHARE
from megatron_codemix.corpus.local.docstrings import extract_docstrings
from megatron_codemix.corpus.local.installed import Machine, package_files, this_machine
from megatron_codemix.corpus.readers import Skipped, read_documents
from megatron_codemix.corpus.record import load_corpus
from megatron_codemix.corpus.split import split_of
from megatron_codemix.corpus.store import source_files
from megatron_codemix.errors import DataError, RunError, UnavailableError
from megatron_codemix.locks import exclusive_once
from tests.helpers.kills import contents

PROSE = "The {name} of the {name} is what you would have if there were no other {name} in it. "
VALIDATION_FRACTION = 0.05


def prose(name: str) -> str:
    return PROSE.format(name=name) * 4


def documents_of(folder: Path) -> dict[str, list[Document]]:
    return {
        name: list(read_documents(files, name, Skipped()))
        for name, files in source_files(folder).items()
    }


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A standard library and two packages of a few files each."""
    library, packages = tmp_path / "lib", tmp_path / "site-packages"
    files = {
        library / "alpha.py": f'"""{prose("alpha")}"""\n\n' + "def run(x):\n    return x + 1\n" * 9,
        library / "test" / "test_alpha.py": "def test():\n    assert True\n" * 20,
        library / "pydoc_data" / "topics.py": f"topics = {{'if': {prose('topic')!r}}}\n",
        packages / "beta" / "core.py": f'def f():\n    """{prose("beta")}"""\n' + "g = f\n" * 40,
        packages / "beta" / "copy.py": f'def f():\n    """{prose("beta")}"""\n' + "h = f\n" * 40,
        packages / "beta" / "_vendor" / "gamma.py": "x = 1\n" * 100,
        packages / "beta" / "broken.py": "def f(:\n" * 30,
        packages / "beta" / "settings.yaml": "key: value\nlist:\n  - one\n" * 10,
        packages / "beta" / "table.json": json.dumps(list(range(3000)), indent=1),
        packages / "beta-1.0.dist-info" / "METADATA": (
            f"Metadata-Version: 2.1\nName: beta\nLicense-Expression: MIT\n\n{prose('readme')}"
        ),
        packages / "beta-1.0.dist-info" / "RECORD": "beta/core.py,,\n",
        packages / "beta-1.0.dist-info" / "LICENSE": prose("licence"),
    }
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (packages / "beta" / "latin.py").write_bytes(b"name = 'caf\xe9'\n" * 20)
    absent = tmp_path / "absent"
    return Machine(library, (packages,), absent, absent, absent)


def test_what_a_machine_gives(tmp_path: Path, machine: Machine):
    result = build_local_corpus(tmp_path / "out", machine=machine)
    documents = documents_of(tmp_path / "out")
    assert {one.id for one in documents["code"]} == {
        "stdlib/alpha.py",
        "packages/beta/core.py",
        "packages/beta/copy.py",
    }
    assert [one.id for one in documents["markup"]] == ["packages/beta/settings.yaml"]
    texts = {one.text.strip(): one for one in documents["text"]}
    wanted = ("alpha", "beta", "topic", "readme", "licence")
    assert texts.keys() == {prose(name).strip() for name in wanted}
    assert texts[prose("alpha").strip()].origin == "stdlib/alpha.py"
    assert texts[prose("readme").strip()].origin == "packages/beta-1.0.dist-info/METADATA"
    assert {one.licence for one in documents["code"]} == {"PSF-2.0", "MIT"}
    assert not any("what you would have" in one.text for one in documents["code"])
    assert result.skipped["duplicate"] == 1
    assert result.skipped["not UTF-8"] == 1
    assert result.skipped["does not parse"] == 1
    assert result.skipped["numbers"] == 1
    record = json.loads((tmp_path / "out" / "corpus.json").read_text())
    (stage,) = record["stages"]
    assert stage["dropped"]["code"]["not UTF-8"]["first"] == ["packages/beta/latin.py"]


def test_the_same_machine_gives_the_same_bytes(tmp_path: Path, machine: Machine):
    first = build_local_corpus(tmp_path / "one", machine=machine)
    second = build_local_corpus(tmp_path / "two", machine=machine)
    assert first.sources == second.sources


def test_a_complete_corpus_is_left_alone(tmp_path: Path, machine: Machine):
    first = build_local_corpus(tmp_path / "out", machine=machine)
    again = build_local_corpus(tmp_path / "out", machine=machine)
    assert again.was_complete
    assert again.sources == first.sources
    assert again.skipped == first.skipped


def test_a_damaged_source_or_other_arguments_build_it_again(tmp_path: Path, machine: Machine):
    out = tmp_path / "out"
    first = build_local_corpus(out, machine=machine)
    data = bytearray((out / "code.jsonl.zst").read_bytes())
    data[20] ^= 1
    (out / "code.jsonl.zst").write_bytes(data)
    again = build_local_corpus(out, machine=machine)
    assert not again.was_complete
    assert again.sources == first.sources
    assert not build_local_corpus(out, machine=machine, source_bytes=9_000_000).was_complete


def test_a_corpus_of_other_arguments_is_named_before_it_is_replaced(
    tmp_path: Path, machine: Machine, caplog: pytest.LogCaptureFixture
):
    out = tmp_path / "out"

    def said() -> list[str]:
        return [text for text in caplog.messages if "was made from other" in text]

    build_local_corpus(out, machine=machine)
    (out / "code.jsonl.zst").unlink()
    build_local_corpus(out, machine=machine)
    assert said() == []
    plan_local_corpus(out, {}, source_bytes=9_000_000)
    wanted = [f"{out}: was made from other input or options, would be replaced"]
    assert said() == wanted
    build_local_corpus(out, machine=machine, source_bytes=9_000_000)
    assert said() == [*wanted, f"{out}: was made from other input or options, is replaced"]


def test_own_files_take_the_place_of_a_source(tmp_path: Path, machine: Machine):
    lines = [json.dumps({"text": f"line {number} of mine"}) for number in (1, 2, 2)]
    mine = tmp_path / "mine.jsonl"
    mine.write_text("\n".join(lines))
    result = build_local_corpus(tmp_path / "out", {"text": [str(mine)]}, machine=machine)
    documents = documents_of(tmp_path / "out")
    assert [one.text for one in documents["text"]] == ["line 1 of mine", "line 2 of mine"]
    assert len(documents["code"]) == 3
    assert result.skipped["duplicate"] == 1
    assert not result.was_complete
    mine.write_text("\n".join(lines[:1]))
    changed = build_local_corpus(tmp_path / "out", {"text": [str(mine)]}, machine=machine)
    assert changed.sources["text"].num_documents == 1


def test_own_text_that_is_also_code_is_kept_once(tmp_path: Path, machine: Machine):
    code = (machine.packages[0] / "beta" / "settings.yaml").read_text()
    (tmp_path / "mine.txt").write_text(code + "\n\n")
    build_local_corpus(
        tmp_path / "out",
        {"text": [f"{tmp_path}/mine.txt", f"{machine.standard_library}/alpha.py"]},
        machine=machine,
        source_bytes=1_000_000,
    )
    every = [one for entries in documents_of(tmp_path / "out").values() for one in entries]
    texts = [normalise(one.text) for one in every]
    assert len(texts) == len(set(texts))


def test_an_empty_source_is_refused(tmp_path: Path, machine: Machine):
    (tmp_path / "empty.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(DataError, match="source 'code' is empty"):
        build_local_corpus(tmp_path / "out", {"code": [f"{tmp_path}/empty.jsonl"]}, machine=machine)
    assert load_corpus(tmp_path / "out") is None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"text": "caf\xe9"}\n' * 3, "all 3 records are not UTF-8"),
        (b'{"text": ""}\n', "the only record is empty"),
        (
            b'{"text": "caf\xe9"}\n{"text": ""}\n',
            r"no record of 2 .*\(1 is empty, 1 is not UTF-8\)",
        ),
        (b"", "the files hold no text"),
    ],
)
def test_an_empty_source_says_why_and_leaves_nothing(
    tmp_path: Path, machine: Machine, content: bytes, why: str
):
    (tmp_path / "mine.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=f"source 'code' is empty: {why}; give other files"):
        build_local_corpus(
            tmp_path / "new" / "out", {"code": [f"{tmp_path}/mine.jsonl"]}, machine=machine
        )
    assert not (tmp_path / "new").exists()


def test_a_failed_build_leaves_the_corpus_that_was_there(tmp_path: Path, machine: Machine):
    out = tmp_path / "out"
    build_local_corpus(out, machine=machine)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "mine.jsonl").write_text("no JSON\n")
    with pytest.raises(DataError, match="not JSON"):
        build_local_corpus(out, {"text": [f"{tmp_path}/mine.jsonl"]}, machine=machine)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_a_killed_build_left_is_in_nobodys_way(tmp_path: Path, machine: Machine):
    (tmp_path / "out" / ".partial-local").mkdir(parents=True)
    (tmp_path / "out" / ".partial-local" / "code.jsonl.zst").write_text("half")
    build_local_corpus(tmp_path / "out", machine=machine)
    assert not (tmp_path / "out" / ".partial-local").exists()
    assert len(documents_of(tmp_path / "out")["code"]) == 3


@pytest.mark.parametrize("num_replaced", [0, 1, 2, 3])
def test_what_is_half_replaced_is_no_corpus(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch, num_replaced: int
):
    """A failure between two sources, or before corpus.json: some files are of the corpus before."""
    out = tmp_path / "out"
    build_local_corpus(out, machine=machine)
    replaced: list[Path] = []
    replace = os.replace

    def failing(old: Path, new: Path) -> None:
        if Path(new).parent == out and len(replaced) == num_replaced:
            raise OSError(errno.EIO, "broken")
        replace(old, new)
        replaced.extend([Path(new)] if Path(new).parent == out else [])

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", failing)
        with pytest.raises(OSError, match="broken"):
            build_local_corpus(out, machine=machine, source_bytes=9_000_000)
    assert len(replaced) == num_replaced
    with pytest.raises(DataError, match="is not complete; give the command that makes it again"):
        source_files(out)
    build_local_corpus(out, machine=machine, source_bytes=9_000_000)
    build_local_corpus(tmp_path / "new", machine=machine, source_bytes=9_000_000)
    assert contents(out) == contents(tmp_path / "new")


def test_own_files_are_checked_before_this_machine_is_read(tmp_path: Path, machine: Machine):
    out, read = tmp_path / "out", list[int]()
    (tmp_path / "mine.jsonl").write_text('{"content": "of mine"}\n' * 3)
    (tmp_path / "late.jsonl").write_text('{"text": "of mine"}\n' * 3 + "no JSON\n")
    for name, problem in (("mine", "'text'.*'?content'?"), ("late", "line 4.*not JSON")):
        patterns = {"text": [f"{tmp_path}/{name}.jsonl"]}
        with pytest.raises(DataError, match=problem):
            build_local_corpus(out, patterns, machine=machine, advance=read.append)
    with exclusive_once(out / ".local.lock", "another", 0), pytest.raises(RunError):
        build_local_corpus(out, machine=machine, advance=read.append)
    assert read == []
    build_local_corpus(out, machine=machine, advance=read.append)
    assert sum(read) > 1000


def test_a_dry_run_checks_own_files(tmp_path: Path):
    (tmp_path / "mine.jsonl").write_text('{"content": "of mine"}\n' * 3)
    (tmp_path / "blank.jsonl").write_text('{"text": " "}\n' * 2)
    (tmp_path / "good.jsonl").write_text('{"text": " "}\n{"text": "of mine"}\n')
    given = {name: [f"{tmp_path}/{name}.jsonl"] for name in ("mine", "blank", "good")}
    wrong = {"text": given["mine"] + given["good"], "code": given["blank"]}
    with pytest.raises(DataError) as caught:
        plan_local_corpus(tmp_path / "out", wrong)
    code, text = str(caught.value).split("\n")
    assert code.startswith("source 'code' is empty: all 2 records are empty")
    assert text.startswith(f"--text: {tmp_path}/mine.jsonl: ")
    assert "content" in text
    plan = plan_local_corpus(tmp_path / "out", wrong | {"text": given["good"], "code": []})
    assert plan.own_files == {"text": 1}
    assert plan_local_corpus(tmp_path / "out", {"text": given["mine"]}, text_field="content")
    assert not (tmp_path / "out").exists()


def test_what_is_left_out_is_told_by_source(tmp_path: Path):
    """Own files and this machine's apart."""
    for name in ("code", "text", "markup"):
        (tmp_path / f"{name}.txt").write_text(f"some {name}")
    (tmp_path / "code.jsonl").write_text('{"text": "more code"}\n{"text": "more code"}\n')
    own = [
        argument
        for name in ("text", "markup")
        for argument in (f"--{name}", f"{tmp_path}/{name}.txt")
    ]
    done = CliRunner().invoke(
        app, ["local", str(tmp_path / "out"), *own, "--code", f"{tmp_path}/code.*"]
    )
    assert "left out of code (own files): duplicate 1\n" in done.stdout
    assert "left out of text (own files): nothing\n" in done.stdout


def test_sources_of_nothing_are_refused_at_once(tmp_path: Path, machine: Machine):
    for source_bytes in (0, -5_000_000):
        with pytest.raises(DataError, match=f"source bytes {source_bytes}"):
            build_local_corpus(tmp_path / "out", machine=machine, source_bytes=source_bytes)
        with pytest.raises(DataError, match=f"source bytes {source_bytes}"):
            plan_local_corpus(tmp_path / "out", {}, source_bytes=source_bytes)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="a folder is wanted for the corpus"):
        build_local_corpus(tmp_path / "file", machine=machine)


def test_bad_records_are_named_once(
    tmp_path: Path, machine: Machine, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "mine.jsonl").write_bytes(b'{"text": "caf\xe9"}\n{"text": "of the text"}\n')
    result = build_local_corpus(
        tmp_path / "out", {"text": [f"{tmp_path}/mine.jsonl"]}, machine=machine
    )
    assert [text for text in caplog.messages if "mine.jsonl" in text] == [
        f"{tmp_path}/mine.jsonl: line 1 is not UTF-8, skipped"
    ]
    assert result.skipped["not UTF-8"] == 2
    assert result.left_out["text"]["not UTF-8"] == 1
    assert result.left_out["code"]["not UTF-8"] == 1
    assert result.own_sources == ["text"]


def test_an_unquoted_pattern_gets_a_hint(tmp_path: Path):
    result = CliRunner().invoke(app, ["local", str(tmp_path / "out"), "--code", "a.py", "b.py"])
    assert isinstance(result.exception, DataError)
    assert "'b.py'; quote patterns" in str(result.exception)


def test_too_little_disk_is_refused(tmp_path: Path, machine: Machine):
    with pytest.raises(UnavailableError, match="disk"):
        build_local_corpus(tmp_path / "out", machine=machine, source_bytes=10**18)


def test_no_package_takes_more_than_its_share(tmp_path: Path, machine: Machine):
    for number in range(60):
        text = f"some_name_{number} = other_name\n" * 100
        (machine.packages[0] / "beta" / f"m{number}.py").write_text(text)
    result = build_local_corpus(tmp_path / "out", machine=machine, source_bytes=100_000)
    beta = [
        one
        for one in documents_of(tmp_path / "out")["code"]
        if one.origin.startswith("packages/beta/")
    ]
    taken = sum(len(one.text.encode()) for one in beta)
    assert 0.8 * PACKAGE_SHARE * 100_000 < taken <= PACKAGE_SHARE * 100_000
    assert result.sources["code"].num_documents == len(beta) + 1


def test_command_with_own_files_for_every_source(tmp_path: Path):
    arguments = ["local", str(tmp_path / "out")]
    for source in ("code", "markup", "text"):
        (tmp_path / f"{source}.txt").write_text(f"the {source} of the user\n")
        arguments += [f"--{source}", f"{tmp_path}/{source}*.txt"]
    runner = CliRunner()
    plan = json.loads(runner.invoke(app, [*arguments, "--dry-run", "--json"]).stdout)
    assert plan["own_files"] == {"code": 1, "markup": 1, "text": 1}
    assert not (tmp_path / "out").exists()
    result = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert [entry["num_documents"] for entry in result["sources"].values()] == [1, 1, 1]
    assert json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)["was_complete"]


# This machine's own corpus, as the quickstart uses it.


@pytest.fixture(scope="module")
def this_corpus(tmp_path_factory: pytest.TempPathFactory) -> LocalCorpus:
    return build_local_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.slow
def test_this_machine_has_enough(this_corpus: LocalCorpus):
    assert this_corpus.sources["code"].num_bytes >= 8_000_000
    assert this_corpus.sources["text"].num_bytes >= 3_000_000
    assert this_corpus.sources["markup"].num_documents >= 10


@pytest.mark.slow
def test_this_machine_splits_purely(this_corpus: LocalCorpus):
    documents = documents_of(this_corpus.folder)
    splits = defaultdict(set)
    held_out: list[Document] = []
    training: list[Document] = []
    for source, entries in documents.items():
        for one in entries:
            split = split_of(one.origin, VALIDATION_FRACTION)
            splits[one.origin].add(split)
            (held_out if split == "validation" else training).append(one)
        assert any(one.source == source for one in held_out), source
    assert all(len(found) == 1 for found in splits.values())
    # By content: no held-out document, nor a docstring of a held-out file (taken anew from the
    # file), stands in any training document, whatever the source, white space aside.
    texts = {normalise(one.text) for one in held_out} | set(docstrings_of(held_out))
    assert len(texts) > 100
    haystack = "\n".join(normalise(one.text) for one in training).encode()  # faster to search
    assert [text for text in texts if text.encode() in haystack] == []


def docstrings_of(held_out: list[Document]) -> list[str]:
    origins = {one.origin for one in held_out}
    found = []
    for candidate in package_files(this_machine(), (".py",)):
        if candidate.origin in origins:
            extracted = extract_docstrings(candidate.path.read_text(encoding="utf-8"))
            assert extracted is not None
            found += [normalise(text) for _, text in extracted.docstrings]
    return found


@pytest.mark.slow
def test_this_machine_gives_valid_code(this_corpus: LocalCorpus):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in documents_of(this_corpus.folder)["code"]:
            ast.parse(one.text)


def test_records_that_are_read_as_one_document_are_told_once(
    tmp_path: Path, machine: Machine, caplog: pytest.LogCaptureFixture
):
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(json.dumps([{"id": n, "text": name} for n in range(9)]))
    (tmp_path / "c.txt").write_text("{ nothing of the kind }")
    patterns = {"text": [f"{tmp_path}/*.json", f"{tmp_path}/*.txt"]}
    made = build_local_corpus(tmp_path / "out", patterns, machine=machine)
    assert made.sources["text"].num_documents == 3
    (told,) = [one for one in caplog.messages if "looks like JSON records" in one]
    assert told.startswith("--text: a.json is one document")


def test_own_files_may_lie_in_a_store(tmp_path: Path, machine: Machine):
    store = fsspec.filesystem("memory")
    store.pipe("/own/a.jsonl", b'{"id": "a", "text": "far away"}\n')
    patterns = {"code": ["memory://own/*.jsonl"]}
    try:
        build_local_corpus(tmp_path / "out", patterns, machine=machine)
        assert build_local_corpus(tmp_path / "out", patterns, machine=machine).was_complete
        store.pipe("/own/a.jsonl", b'{"id": "a", "text": "far away, changed"}\n')
        assert not build_local_corpus(tmp_path / "out", patterns, machine=machine).was_complete
    finally:
        store.rm("/own", recursive=True)
    assert [one.text for one in documents_of(tmp_path / "out")["code"]] == ["far away, changed"]
