"""What a user may hand to `codemix corpus` by mistake: one clear error and nothing lost, or the
right result with what was left out counted.
"""

import fcntl
import gzip
import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from megatron_codemix.cli.main import main
from megatron_codemix.corpus.document import digest
from tests.helpers.commands import codemix

Capture = pytest.CaptureFixture[str]


def lines(*records: Any) -> bytes:
    return "".join(json.dumps(record) + "\n" for record in records).encode()


def document(number: int) -> dict[str, Any]:
    return {"id": f"d{number}", "text": f"def f(x):\n    return x + {number}  # a sum\n"}


GOOD = lines(*map(document, range(4)))
CHATS = lines({"instruction": "Two and two?", "output": "Four."})


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def refused(capsys: Capture, *arguments: object) -> str:
    """The one error block of a command that has to end with exit code 2."""
    capsys.readouterr()
    assert main(["corpus", *map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def left_out(out: Path) -> dict[str, int]:
    [stage] = json.loads((out / "corpus.json").read_text())["stages"]
    return {reason: entry["count"] for reason, entry in stage["dropped"]["code"].items()}


def nested(levels: int) -> bytes:
    return b'{"id": "deep", "text": "abc", "metadata": {"m": %b}}\n' % (
        b"[" * levels + b"]" * levels
    )


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("code__jsonl", GOOD + nested(100_000), "line 5 is not JSON (nested too deep)"),
        ("code__jsonl", GOOD + nested(1_000), "document 'deep': its metadata is nested too deep"),
        ("code__jsonl", GOOD + b'{"n": %b}\n' % (b"9" * 5000), "a whole number of thousands of"),
        ("code__jsonl", GOOD + b"null\n", "line 5 is null; one object a line is expected"),
        ("code__jsonl", GOOD + b"[1]\n", "line 5 is a list; one object"),
        ("code__jsonl", GOOD + lines({"text": 12}), "the record at 5 has a number in field 'text'"),
        ("code__jsonl", lines({"body": "b"}), "`codemix corpus local --text-field` or a recipe"),
        ("code__jsonl__gz", gzip.compress(GOOD, mtime=0)[:-9], "truncated or damaged gzip"),
        ("code__jsonl__zst", zstandard.compress(GOOD)[:-3], "truncated zstd"),
        ("code__parquet", b"PAR1" + GOOD, "truncated or damaged Parquet"),
        ("corpus__json", b"{", "not a corpus record"),
        ("notes__txt", b"hello", "holds no source"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # not the bytes
)
def test_input_that_no_stage_can_read(
    tmp_path: Path, capsys: Capture, name: str, content: bytes, problem: str
) -> None:
    corpus, out = write(tmp_path / "corpus", **{name: content}), tmp_path / "out"
    for command in (("filter", "--policy", "code=none"), ("dedup", "--exact-only"), ("split",)):
        more = () if name.startswith(("corpus", "notes")) else command[1:]
        error = refused(capsys, command[0], corpus, "--out", out / command[0], *more)
        assert problem in error
        assert str(corpus) in error or "'deep'" in error
        assert not list(out.rglob("corpus.json"))


def test_records_without_a_text_are_counted(tmp_path: Path) -> None:
    content = GOOD + lines({"id": "a"}, {"text": None}, {"text": " \n\t"}, {"text": "a\0b"})
    content += b'{"text": "\xff"}\n{"text": "\\ud800"}\n{"text": "a", "id": "\\udc00"}\n'
    corpus = write(tmp_path / "corpus", code__jsonl=content)
    arguments = ["filter", corpus, "--policy", "code=none", "--out", tmp_path / "out"]
    assert main(["corpus", *map(str, arguments)]) == 0
    assert left_out(tmp_path / "out") == {"empty": 3, "not UTF-8": 3}
    record = json.loads((tmp_path / "out" / "corpus.json").read_text())
    assert record["sources"]["code"]["files"][0]["num_documents"] == 5


def split_into(out: Path) -> list[object]:
    return ["split", out.parent / "corpus", "--out", out]


def local_into(out: Path) -> list[object]:
    given = [option for name in ("code", "markup", "text") for option in (f"--{name}", OWN)]
    return ["local", out, *(out.parent / one if one is OWN else one for one in given)]


def chats_into(out: Path) -> list[object]:
    return ["instructions", out.parent / "chats.jsonl", "--kind", "text", "--out", out]


OWN = Path("corpus/code.jsonl")


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (split_into, "mine.txt"),
        (local_into, "code.jsonl.zst"),
        (local_into, "text.jsonl"),
        (chats_into, "text_instructions.jsonl.zst"),
        (chats_into, "text_instructions.jsonl"),
    ],
)
def test_what_is_the_users_is_never_replaced(
    tmp_path: Path, capsys: Capture, command: Callable[[Path], list[object]], name: str
) -> None:
    write(tmp_path / "corpus", code__jsonl=GOOD)
    (tmp_path / "chats.jsonl").write_bytes(CHATS)
    out = write(tmp_path / "out", **{name.replace(".", "__"): b"mine"})
    assert name in refused(capsys, *command(out))
    assert [path.name for path in out.iterdir()] == [name]
    assert (out / name).read_bytes() == b"mine"


def test_a_corpus_of_instructions_is_not_one_of_this_machine(
    tmp_path: Path, capsys: Capture
) -> None:
    write(tmp_path / "corpus", code__jsonl=GOOD)
    (tmp_path / "chats.jsonl").write_bytes(CHATS)
    assert main(["corpus", *map(str, chats_into(tmp_path / "out"))]) == 0
    before = (tmp_path / "out" / "corpus.json").read_bytes()
    said = refused(capsys, *local_into(tmp_path / "out"))
    assert "a corpus that `codemix corpus instructions` has made" in said
    assert (tmp_path / "out" / "corpus.json").read_bytes() == before


@pytest.mark.parametrize("command", [split_into, chats_into])
def test_who_made_what_is_in_the_folder_is_said(
    tmp_path: Path, capsys: Capture, command: Callable[[Path], list[object]]
) -> None:
    """Of a corpus by `local`, which has no parts."""
    write(tmp_path / "corpus", code__jsonl=GOOD)
    (tmp_path / "chats.jsonl").write_bytes(CHATS)
    one_each = [
        (f"--{name}", write(tmp_path / name, one__txt=name.encode()) / "one.txt")
        for name in ("code", "markup", "text")
    ]
    local = ["corpus", "local", tmp_path / "sides" / "train", *sum(one_each, ())]
    assert main(list(map(str, local))) == 0
    out = tmp_path / "sides" / ("" if command is split_into else "train")
    said = refused(capsys, *command(tmp_path / "out")[:-1], out)
    assert f"{tmp_path}/sides/train: holds a corpus that `codemix corpus local` has made" in said


@pytest.mark.parametrize("name", ["", "../x", "/etc", "a/b", "..", "x" * 101, "dropped"])
def test_names_of_sources_that_are_no_names_of_files(
    tmp_path: Path, capsys: Capture, name: str
) -> None:
    (tmp_path / "chats.jsonl").write_bytes(CHATS)
    error = refused(capsys, *chats_into(tmp_path / "out"), "--source", name)
    assert f"source '{name}'" in error
    assert not (tmp_path / "out").exists()


def test_the_only_part_of_a_source_that_is_gone_is_missed(tmp_path: Path, capsys: Capture) -> None:
    corpus, out = write(tmp_path / "corpus", code__jsonl=GOOD, text__jsonl=GOOD), tmp_path / "out"
    policies = ["--policy", "code=none", "--policy", "text=none"]
    assert main(["corpus", "filter", str(corpus), "--out", str(out), *policies]) == 0
    (out / "code" / "part-00000.jsonl.zst").unlink()
    error = refused(capsys, "split", out, "--out", tmp_path / "split")
    assert "code/part-00000.jsonl.zst is missing (1 of 1 parts of source 'code')" in error
    (out / "code").rmdir()
    assert "is missing (1 of 1 parts" in refused(capsys, "split", out, "--out", tmp_path / "split")
    assert not (tmp_path / "split").exists()


def test_a_recipe_does_not_read_what_it_has_written(tmp_path: Path, capsys: Capture) -> None:
    corpus = write(tmp_path / "corpus", code__jsonl=GOOD)
    entry = {"inputs": [{"files": ["{r}/**/*.jsonl*"]}], "licence": "MIT", "policy": "code"}
    recipe = {"title": "t", "roots": {"r": str(corpus)}, "sources": {"code": entry}}
    (tmp_path / "r.yaml").write_text(
        json.dumps(recipe | {"sources": {"code": entry | {"expected": {}}}})
    )
    arguments = ["recipe", tmp_path / "r.yaml", "--out", corpus / "out"]
    assert main(["corpus", *map(str, arguments)]) == 0
    before = (corpus / "out" / "corpus.json").read_bytes()
    assert "is an input, and lies in" in refused(capsys, *arguments)
    assert (corpus / "out" / "corpus.json").read_bytes() == before


def test_verify_of_what_synthesize_has_not_written(tmp_path: Path, capsys: Capture) -> None:
    odd = {"name": 1, "statement": "s", "family": "f", "shape": "s", "solutions": "x", "tests": []}
    metadata = [odd | {"mutation": {}}, odd | {"name": "n", "solutions": [], "mutation": {}}]
    found = []
    for number, one in enumerate(metadata):
        record = {"id": "a", "text": "x", "metadata": one}
        corpus = write(tmp_path / str(number), synthetic__jsonl=lines(record))
        found.append(refused(capsys, "verify", corpus))
    assert "document a has no name, solutions in its metadata" in found[0]
    assert "document a has no solutions, mutation in its metadata" in found[1]


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may have 4 kB, as with `ulimit -f`."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def test_files_that_may_not_grow_so_large(
    tmp_path: Path, capsys: Capture, request: pytest.FixtureRequest
) -> None:
    texts = [{"text": digest(str(number)).hex() * 20} for number in range(900)]
    corpus = write(tmp_path / "corpus", code__jsonl=lines(*texts))
    request.getfixturevalue("small_files")
    for command in ("filter", "dedup"):
        more = ["--policy", "code=none"] if command == "filter" else ["--exact-only"]
        error = refused(capsys, command, corpus, "--out", tmp_path / command, *more)
        assert "grows larger than files may be here" in error
        assert not list(tmp_path.rglob("*.tmp"))


def test_two_at_once_do_not_lose_each_others_sources(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "chats.jsonl").write_bytes(CHATS)
    out = tmp_path / "out"
    out.mkdir()
    with open(out / ".instructions.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = codemix("corpus", *map(str, chats_into(out)))
        assert (done.returncode, "is already running here" in done.stderr) == (2, True)
    assert main(["corpus", *map(str, chats_into(out))]) == 0


def test_a_source_without_documents_is_told(tmp_path: Path) -> None:
    corpus = write(tmp_path / "corpus", code__jsonl=GOOD, markup__jsonl=b"")
    filtered = codemix("corpus", "filter", corpus, "--out", tmp_path / "kept")
    assert filtered.returncode == 0
    assert "source markup: its files hold no document" in filtered.stderr
    looked = codemix("corpus", "stats", corpus, "--out", tmp_path / "page.html")
    assert looked.returncode == 0
    assert "note: markup: its files hold no document" in looked.stdout
    assert "code: its files" not in filtered.stderr + looked.stdout
