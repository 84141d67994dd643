"""Instruction files of every shape, good and bad, as conversations of a corpus."""

import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from megatron_codemix.cli.main import main
from megatron_codemix.corpus.instructions.build import InstructionFiles, build_instructions
from megatron_codemix.corpus.instructions.chats import BadChatError, messages_of
from megatron_codemix.corpus.instructions.json_list import list_items
from megatron_codemix.corpus.readers import InputFile
from megatron_codemix.corpus.record import CorpusRecord, StageRecord, load_corpus
from megatron_codemix.corpus.split import split_of
from megatron_codemix.errors import DataError

ASKED = {"role": "user", "content": "Two and two?"}
ANSWERED = {"role": "assistant", "content": "Four."}
SYSTEM = {"role": "system", "content": "Be brief."}
MORE = {"role": "user", "content": "And one more?"}


@pytest.mark.parametrize(
    "record",
    [
        {"messages": [ASKED, ANSWERED]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Two and two?"}]},
                      ANSWERED]},
        {"conversations": [{"from": "human", "value": "Two and two?"},
                           {"from": "gpt", "value": "Four."}]},
        {"instruction": "Two and two?", "output": "Four."},
        {"instruction": "Two and two?", "input": "", "output": "Four."},
        {"instruction": "Two and two?", "context": None, "response": "Four."},
        {"messages": [ASKED, ANSWERED, MORE]},
    ],
    ids=["messages", "parts", "sharegpt", "alpaca", "no input", "dolly", "unanswered end"],
)  # fmt: skip
def test_every_shape_is_one_conversation(record: dict[str, Any]) -> None:
    assert messages_of(record) == [ASKED, ANSWERED]


def test_what_a_question_is_about_follows_it_and_a_system_message_comes_first() -> None:
    record = {"instruction": "Add.", "input": "2, 2", "output": "4", "system": "Be brief."}
    assert messages_of(record) == [
        SYSTEM,
        {"role": "user", "content": "Add.\n\n2, 2"},
        {"role": "assistant", "content": "4"},
    ]
    several = [SYSTEM, ASKED, ANSWERED, MORE, ANSWERED]
    assert messages_of({"messages": several}) == several
    # OpenAI's later name of the role.
    developer = SYSTEM | {"role": "developer"}
    assert messages_of({"messages": [developer, *several[1:]]}) == several


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        ({"messages": [ASKED]}, "no answer", "no turn of the assistant"),
        ({"messages": []}, "not a conversation", "messages is not a list"),
        ({"messages": "hello"}, "not a conversation", "messages is not a list"),
        ({"messages": ["hello"]}, "not a conversation", "messages.0 is not an object"),
        ({"text": "hello"}, "not a conversation", "has text; one of messages"),
        ({"messages": [ASKED, {"role": "tool", "content": "x"}, ANSWERED]}, "unknown role",
         "messages.1.role is 'tool'; known are system, developer, user"),
        ({"conversations": [{"from": "human", "value": "x"}, {"value": "y"}]}, "unknown role",
         "conversations.1.from is None"),
        ({"messages": [ASKED, ANSWERED | {"content": " \n"}]}, "empty answer", "message 1"),
        ({"messages": [ASKED | {"content": ""}, ANSWERED]}, "empty question", "message 0"),
        ({"instruction": "Add.", "output": ""}, "empty answer", "message 1"),
        ({"instruction": "Add."}, "no answer", "has neither output nor response"),
        ({"messages": [ASKED, ANSWERED | {"content": None}]}, "not text", "messages.1.content"),
        ({"messages": [ASKED, ANSWERED | {"content": [{"type": "image_url"}]}]}, "not text",
         "messages.1.content has parts"),
        ({"messages": [ASKED, ANSWERED | {"content": "\ud800"}]}, "not UTF-8", "messages.1"),
        ({"messages": [ANSWERED, ASKED, ANSWERED]}, "no question", "begins with the assistant"),
        ({"messages": [ASKED, SYSTEM, ANSWERED]}, "system message inside", "message 1 of 3"),
    ],
)  # fmt: skip
def test_what_is_no_conversation_is_refused_with_its_reason(
    record: dict[str, Any], reason: str, detail: str
) -> None:
    with pytest.raises(BadChatError) as caught:
        messages_of(record)
    assert caught.value.reason == reason
    assert detail in str(caught.value)


def records(count: int) -> list[dict[str, Any]]:
    return [
        {"instruction": f"What is {n} + 1?", "output": str(n + 1), "id": n, "license": "MIT"}
        for n in range(count)
    ]


def lines(entries: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries).encode()


def written(folder: Path, source: str) -> list[dict[str, Any]]:
    data = (folder / f"{source}.jsonl.zst").read_bytes()
    text = zstandard.ZstdDecompressor().stream_reader(data).read().decode()
    return [json.loads(line) for line in text.splitlines()]


FORMS = {
    "a.jsonl": lines,
    "a.jsonl.gz": lambda entries: gzip.compress(lines(entries)),
    "a.ndjson.zst": lambda entries: zstandard.compress(lines(entries)),
    "a.json": lambda entries: json.dumps(entries, indent=1).encode(),
    "lines.json": lines,
    "a.parquet": lambda entries: parquet(entries),
}


def parquet(entries: list[dict[str, Any]]) -> bytes:
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(entries), content)
    return content.getvalue()


@pytest.mark.parametrize("name", FORMS)
def test_every_form_of_file_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FORMS[name](records(40)))
    asked = InstructionFiles(patterns=[str(tmp_path / name)], source="math")
    result = build_instructions(tmp_path / "out", asked)
    assert (result.file.num_documents, result.licences) == (40, {"MIT": 40})
    documents = written(tmp_path / "out", "math")
    assert documents[3]["text"] == "User: What is 3 + 1?\nAssistant: 4\n"
    assert documents[3]["id"] == "3"
    assert documents[3]["metadata"] == {
        "messages": [
            {"role": "user", "content": "What is 3 + 1?"},
            {"role": "assistant", "content": "4"},
        ]
    }


def test_answers_to_one_question_are_never_on_both_sides_of_the_split(tmp_path: Path) -> None:
    entries = [
        {"instruction": f"Question {n // 3}?", "output": f"Answer {n}.", "origin": f"set {n % 2}"}
        for n in range(300)
    ]
    (tmp_path / "a.jsonl").write_bytes(lines(entries))
    build_instructions(
        tmp_path / "out", InstructionFiles(patterns=[str(tmp_path / "a.jsonl")], source="q")
    )
    sides: dict[str, set[str]] = {}
    for document in written(tmp_path / "out", "q"):
        question = document["metadata"]["messages"][0]["content"]
        sides.setdefault(question, set()).add(split_of(document["origin"], 0.5))
    assert {len(side) for side in sides.values()} == {1}
    assert set().union(*sides.values()) == {"train", "validation"}


def test_bad_records_are_named_or_left_out_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        lines(records(3))
        + lines([{"instruction": "x", "output": ""}, {"messages": [ASKED]}])
        + b'{"instruction": "\xff", "output": "y"}\n'
        + lines([{"instruction": "\ufdd0", "output": "y"}])
    )
    asked = InstructionFiles(patterns=[str(path)], source="math")
    with pytest.raises(DataError) as caught:
        build_instructions(tmp_path / "out", asked)
    for part in (
        f"{path}: line 4: empty answer: message 1",
        f"{path}: line 5: no answer: no turn of the assistant",
        f"{path}: line 7: noncharacter: messages.0: has the noncharacter U+FDD0",
        "4 of its records cannot be used (empty answer 1, no answer 1, noncharacter 1, not",
        "--leave-out-bad",
    ):
        assert part in str(caught.value)
    assert not list((tmp_path / "out").glob("*"))
    kept = InstructionFiles(patterns=[str(path)], source="math", leaves_out_bad=True)
    result = build_instructions(tmp_path / "out", kept)
    assert result.file.num_documents == 3
    assert result.skipped == {"empty answer": 1, "no answer": 1, "not UTF-8": 1, "noncharacter": 1}
    record = load_corpus(tmp_path / "out")
    assert record is not None
    assert record.stages[-1].num_read == {"math": 7}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", b'{"instruction": \n', "line 1 is not JSON"),
        ("a.jsonl", b"[1, 2]\n", "line 1 is a list; one object a line"),
        ("a.json", b"[1, 2]", "item 0 is not an object"),
        ("a.json", b'[{"instruction": ]', "the list is not JSON"),
        ("a.json", b'[{"instruction": "\xff"}]', "is not UTF-8"),
        ("a.jsonl", b"[" * 100_000 + b"\n", "line 1 is not JSON (nested too deep)"),
        ("a.jsonl.gz", gzip.compress(lines(records(3)), mtime=0)[:-9], "truncated or damaged gzip"),
        ("a.csv", b"instruction,output\n", "conversations are read from .jsonl"),
        ("a.jsonl", b"\n", "source 'math' is empty: no conversation in 1 files"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    (tmp_path / name).write_bytes(content)
    asked = InstructionFiles(patterns=[str(tmp_path / name)], source="math", leaves_out_bad=True)
    with pytest.raises(DataError, match=re.escape(problem)):
        build_instructions(tmp_path / "out", asked)
    assert not list((tmp_path / "out").glob("*"))


def test_the_command_writes_kinds_beside_each_other_and_leaves_finished_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind in ("text", "code"):
        (tmp_path / f"{kind}.jsonl").write_bytes(lines(records(5)))
    out = tmp_path / "out"

    def run(kind: str, *more: str) -> str:
        asked = ["corpus", "instructions", str(tmp_path / f"{kind}.jsonl"), "--kind", kind]
        assert main([*asked, "--out", str(out), *more]) == 0
        return capsys.readouterr().out

    assert json.loads(run("text", "--dry-run", "--json"))["files"] == 1
    assert not out.exists()
    assert json.loads(run("text", "--json"))["was_complete"] is False
    before = (out / "text_instructions.jsonl.zst").read_bytes()
    run("code", "--licence", "CC0-1.0")
    assert "complete already" in run("text")
    assert (out / "text_instructions.jsonl.zst").read_bytes() == before
    record = json.loads((out / "corpus.json").read_text())
    assert set(record["sources"]) == {"text_instructions", "code_instructions"}
    (tmp_path / "text.jsonl").write_bytes(lines(records(6)))
    assert "6 conversations" in run("text", "--replace")


def test_a_source_of_other_files_stays_unless_its_loss_is_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the other file has the same name, in another folder."""
    out = tmp_path / "out"
    for name, count in (("one", 5), ("other", 7)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "chats.jsonl").write_bytes(lines(records(count)))

    def run(name: str, *more: str) -> tuple[int, str]:
        asked = ["corpus", "instructions", str(tmp_path / name / "chats.jsonl"), "--kind", "text"]
        code = main([*asked, "--out", str(out), *more])
        return code, " ".join(capsys.readouterr().err.split())

    assert run("one")[0] == 0
    before = (out / "text_instructions.jsonl.zst").read_bytes()
    for more in ([], ["--dry-run"]):
        code, said = run("other", *more)
        assert code == 2
        assert "holds 5 conversations of other files" in said
        assert "--source" in said
        assert "--replace" in said
    assert (out / "text_instructions.jsonl.zst").read_bytes() == before
    place = f"{out / 'text_instructions.jsonl.zst'}: was made from other input or options"
    assert run("other", "--replace", "--dry-run")[0] == 0
    assert (out / "text_instructions.jsonl.zst").read_bytes() == before
    assert run("other", "--replace")[0] == 0
    assert len(written(out, "text_instructions")) == 7
    assert run("other", "--licence", "MIT")[0] == 0
    assert run("other", "--licence", "MIT")[0] == 0
    announced = [text for text in caplog.messages if "replaced" in text]
    assert announced == [f"{place}, would be replaced", *2 * [f"{place}, is replaced"]]


def test_a_corpus_of_another_command_is_not_added_to(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(lines(records(1)))
    CorpusRecord({}, (StageRecord("filter", {}),)).save(tmp_path)
    asked = InstructionFiles(patterns=[str(tmp_path / "a.jsonl")], source="math")
    with pytest.raises(DataError, match="holds a corpus that `codemix corpus filter` has made"):
        build_instructions(tmp_path, asked)


@pytest.mark.parametrize("max_characters", [1, 1 << 20])
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_list_is_read_in_pieces_of_any_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, max_characters: int
) -> None:
    monkeypatch.setattr("megatron_codemix.corpus.readers.chunks._CHUNK_BYTES", piece)
    entries = [{"a": "\u00e9\U0001f600" * n, "b": [n, {"c": None}]} for n in range(30)]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(entries, ensure_ascii=False, indent=2))
    items = list_items(InputFile(path, "a.json"), max_characters)
    if max_characters > piece:
        assert list(items) == entries
    elif piece == 1:
        with pytest.raises(DataError, match="an item of more than 0 MiB"):
            list(items)


@pytest.mark.parametrize("text", ["[", "[1", "[1,", "[1,]", "[1 2]", "[1]]", "[1] x", '["a]', "{}"])
def test_a_list_that_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match="the list is not JSON"):
        list(list_items(InputFile(tmp_path / "a.json", "a.json")))
