"""Data files of the tasks: what is found, in which formats, and what is said of bad ones."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.data import TaskData, read_task
from megatron_codemix.evaluation.suites.prepare import prepare_tasks
from megatron_codemix.evaluation.suites.registry import all_tasks
from tests.helpers.task_records import HUB, write_all, write_lines

BOOLQ = HUB["boolq"]
READY_BOOLQ = [
    {
        "query": "Passage: Tea -- Tea is a drink.\nQuestion: is tea a drink?",
        "choices": ["no", "yes"],
        "gold": 1,
    },
    {
        "query": "Passage: Tea -- Tea grows.\nQuestion: does tea sing?",
        "choices": ["no", "yes"],
        "gold": 0,
    },
]


def boolq(folder: Path, limit: int | None = None) -> TaskData:
    return read_task(all_tasks()["boolq"], folder, limit)


def lines(records: list[dict[str, object]]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in records)


def test_formats_of_one_task_are_the_same_items(tmp_path: Path) -> None:
    google = [
        {"passage": "Tea is a drink.", "title": "Tea", "question": "is tea a drink",
         "answer": True},
        {"passage": "Tea grows.", "title": "Tea", "question": "does tea sing", "answer": False},
    ]  # fmt: skip
    for number, records in enumerate((BOOLQ, google, READY_BOOLQ)):
        write_lines(tmp_path / str(number) / "boolq.jsonl", records)
        assert boolq(tmp_path / str(number)).documents == BOOLQ


def test_containers_are_the_same_items(tmp_path: Path) -> None:
    data = lines(BOOLQ)
    pq.write_table(pa.Table.from_pylist(BOOLQ), tmp_path / "table")
    containers = {
        "boolq.jsonl": data,
        "boolq.jsonl.gz": gzip.compress(data),
        "boolq.jsonl.zst": zstandard.compress(data[:40]) + zstandard.compress(data[40:]),
        "boolq.json": json.dumps(BOOLQ).encode(),
        "a/BoolQ/validation-00000-of-00001.parquet": (tmp_path / "table").read_bytes(),
    }
    for number, (name, content) in enumerate(containers.items()):
        path = tmp_path / str(number) / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        found = boolq(tmp_path / str(number))
        assert found.documents == BOOLQ, name
        assert found.file == path


def test_ready_made_prompts_give_the_hubs_items(tmp_path: Path) -> None:
    ready = {
        "copa": [
            {"query": "The cup broke, because", "choices": ["it fell.", "it was blue."], "gold": 0}
        ],
        "piqa": [{"query": "Question: Open a jar.", "choices": ["Turn.", "Sing."], "gold": 0}],
        "winogrande": [
            {
                "context_options": ["Ann paid Sue, so Ann", "Ann paid Sue, so Sue"],
                "continuation": "was rich.",
                "gold": 1,
            }
        ],
        "arc_easy": [
            {"query": "Question: What is wet?", "choices": ["sand", "water", "gold"], "gold": 1}
        ],
    }
    for name, records in ready.items():
        write_lines(tmp_path / f"{name}.jsonl", records)
    by_name = {one.name: one.task for one in prepare_tasks(list(ready), tmp_path)}
    docs = {name: task.eval_docs[0] for name, task in by_name.items()}

    assert by_name["copa"].doc_to_text(docs["copa"]) == "The cup broke because"
    assert by_name["copa"].doc_to_choice(docs["copa"])[0] == " it fell."
    assert by_name["piqa"].doc_to_text(docs["piqa"]) == "Question: Open a jar.\nAnswer:"
    options = by_name["winogrande"].doc_to_choice(docs["winogrande"])
    assert options == ["Ann paid Sue, so Ann", "Ann paid Sue, so Sue"]
    assert by_name["winogrande"].doc_to_target(docs["winogrande"]) == "was rich."
    assert by_name["winogrande"].gold(docs["winogrande"]) == 1
    assert by_name["arc_easy"].doc_to_text(docs["arc_easy"]) == "Question: What is wet?\nAnswer:"
    assert by_name["arc_easy"].gold(docs["arc_easy"]) == 1


def test_social_iqa_from_instructions(tmp_path: Path) -> None:
    instruction = (
        "Please choose the correct answer to the question: Kim lent Lee a pen. What will Lee do "
        "next?\n\nAnswer1: write Answer2: fly away Answer3: sing\n\n"
        "Answer format: answer1/answer2/answer3"
    )
    path = tmp_path / "social_iqa" / "test.json"
    path.parent.mkdir()
    path.write_text(json.dumps([{"instruction": instruction, "answer": "answer2"}]))
    (found,) = prepare_tasks(["social_iqa"], tmp_path)
    doc = found.task.eval_docs[0]

    assert found.task.doc_to_text(doc) == "Q: Kim lent Lee a pen. What will Lee do next?\nA:"
    assert found.task.doc_to_choice(doc) == ["write", "fly away", "sing"]
    assert found.task.gold(doc) == 1


def test_labels_may_lie_beside_their_file(tmp_path: Path) -> None:
    unlabelled = [{key: one[key] for key in ("goal", "sol1", "sol2")} for one in HUB["piqa"]]
    write_lines(tmp_path / "piqa" / "valid.jsonl", unlabelled)
    (tmp_path / "piqa" / "valid-labels.lst").write_text("0\n1\n")
    assert read_task(all_tasks()["piqa"], tmp_path, None).documents == HUB["piqa"]

    (tmp_path / "piqa" / "valid-labels.lst").write_text("0\n")
    with pytest.raises(DataError, match="2 records, but 1 labels beside it"):
        read_task(all_tasks()["piqa"], tmp_path, None)


def test_limit_takes_the_first_items(tmp_path: Path) -> None:
    write_all(tmp_path, ["boolq"])
    assert boolq(tmp_path, limit=1).documents == BOOLQ[:1]


def test_notes_tell_what_differs(tmp_path: Path) -> None:
    write_lines(tmp_path / "boolq.jsonl", READY_BOOLQ)
    assert boolq(tmp_path).notes == (
        "passages lack the title that SuperGLUE's begin with: the prompt differs by it",
    )


def test_all_tasks_without_data_are_named_together(tmp_path: Path) -> None:
    write_all(tmp_path, ["boolq"])
    with pytest.raises(DataError) as caught:
        prepare_tasks(["boolq", "sciq", "cb"], tmp_path)

    first, second, advice = str(caught.value).splitlines()
    assert first.startswith(f"sciq: no data below {tmp_path}; get it from https://")
    assert "licence: CC BY-NC 3.0" in first
    assert second.startswith("cb: no data below")
    assert advice == "give the folder as --data-dir, or leave them out with --skip-missing"


def test_without_a_folder_the_task_says_what_it_needs() -> None:
    with pytest.raises(DataError, match=r"boolq: name a folder with its data; get it from https"):
        prepare_tasks(["boolq"], None)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        prepare_tasks(["boolq"], tmp_path / "nowhere")


def test_two_different_files_are_not_chosen_from(tmp_path: Path) -> None:
    one = write_lines(tmp_path / "a" / "boolq.jsonl", BOOLQ)
    other = write_lines(tmp_path / "b" / "boolq.jsonl", BOOLQ)
    assert boolq(tmp_path).file == one  # the same content

    write_lines(other, BOOLQ[:1])
    with pytest.raises(DataError, match="several files with different content") as caught:
        boolq(tmp_path)
    assert str(one) in str(caught.value)
    assert str(other) in str(caught.value)


BAD = {
    "cut short": (
        lines(BOOLQ)[:-20],
        r"boolq\.jsonl:2: is not JSON: .* \(the file ends here: is it cut short\?\)",
    ),
    "not JSON": (b"tea\n" + lines(BOOLQ), r"boolq\.jsonl:1: is not JSON: Expecting value$"),
    "empty": (b"", r"boolq\.jsonl: has no records"),
    "blank": (b"\n\n", r"boolq\.jsonl: has no records"),
    "other fields": (
        lines([{"text": "tea", "code": "x"}]),
        r"boolq\.jsonl:1: has the fields text, code; expected question, passage, label "
        r"\(SuperGLUE\); or .*query, choices, gold \(ready-made prompts\)",
    ),
    "no object": (b"[1]\n", r"boolq\.jsonl:1: is list, not an object; expected"),
    "gold out of range": (
        lines([BOOLQ[0], {**BOOLQ[1], "label": 2}]),
        r"boolq\.jsonl:2: label is 2; the 2 choices are 0 to 1",
    ),
    "hidden label": (
        lines([{**BOOLQ[0], "label": -1}]),
        r"boolq\.jsonl:1: label is -1; the 2 choices are 0 to 1",
    ),
    "no number": (
        lines([{**BOOLQ[0], "label": "yes"}]),
        r"boolq\.jsonl:1: label is 'yes', not the number of a choice",
    ),
    "no text": (
        lines([{**BOOLQ[0], "passage": None}]),
        r"boolq\.jsonl:1: passage is None, not text",
    ),
    "not UTF-8": (b'{"passage": "\xff"}\n', r"boolq\.jsonl: is not UTF-8 at byte 13"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_files(kind: str, tmp_path: Path) -> None:
    content, message = BAD[kind]
    (tmp_path / "boolq.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=message):
        boolq(tmp_path)


def test_damaged_compressed_files(tmp_path: Path) -> None:
    whole = lines(BOOLQ * 100)
    damaged = {
        "boolq.jsonl.gz": gzip.compress(whole)[:-30],
        "boolq.jsonl.zst": zstandard.compress(whole)[:-30],
        "boolq.json": json.dumps(BOOLQ).encode()[:-9],
        "boolq.parquet": b"PAR1 and no more",
    }
    messages = ["cannot be decompressed"] * 2 + ["cut short", "is not a Parquet file"]
    for (name, content), message in zip(damaged.items(), messages, strict=True):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            boolq(folder)


def test_tasks_without_data_are_left_out_if_that_is_wanted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_all(tmp_path, ["boolq"])
    found = prepare_tasks(["cb", "boolq", "sciq"], tmp_path, skip_missing=True)
    assert [one.name for one in found] == ["boolq"]
    assert "left out, as their data is not there: cb, sciq" in caplog.text
    with pytest.raises(DataError, match="cb, sciq: no data of any of them"):
        prepare_tasks(["cb", "sciq"], tmp_path, skip_missing=True)


def test_boolq_as_a_table_of_text(tmp_path: Path) -> None:
    rows = "question,passage,title,answer\nis it,It is.,T,true\nis it not,It is not.,T,False\n"
    (tmp_path / "boolq.csv").write_text(rows)
    data = read_task(all_tasks()["boolq"], tmp_path, None)
    assert [one["label"] for one in data.documents] == [1, 0]
