"""Damaged tables: one error that names the file, the line and what to do."""

import json
from pathlib import Path

import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.scaling.table import read_table

HEAD = "name,parameters_total,tokens,loss_nats.c4"
RUN = {"name": "a", "parameters_total": 190_000_000, "tokens": 4e9, "loss_nats.c4": 3.5}


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_table(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def of_bytes(folder: Path, content: bytes, suffix: str = "csv") -> str:
    path = folder / f"runs.{suffix}"
    path.write_bytes(content)
    return refusal(path)


def of_rows(folder: Path, *rows: object) -> str:
    return of_bytes(folder, "\n".join(map(json.dumps, rows)).encode(), "jsonl")


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("loss_nats.c4", [2.5], "'[2.5]'"),
        ("loss_nats.c4", {"nats": 2.5}, """'{"nats": 2.5}'"""),
        ("loss_nats.c4", True, "True"),
        ("tokens", [4e9], "'[4000000000.0]'"),
        ("tokens", float("inf"), "inf"),
        ("parameters_total", 10**400, f"1{'0' * 39}..."),
        ("parameters_total", "1" + "0" * 400, f"'1{'0' * 38}..."),
        ("parameters_total", "1e999B", "'1e999B'"),
    ],
)
def test_what_is_no_number_names_the_line_and_the_run(tmp_path, column, value, shown):
    words = of_rows(tmp_path, RUN, RUN | {"name": "b", column: value})
    assert words == (
        f"line 2 (run b): {column}: not a number: {shown}; give a number, or leave the cell empty"
    )


def test_a_run_without_a_name_is_that_of_its_line(tmp_path):
    rows = [{key: value for key, value in RUN.items() if key != "name"} for _ in range(2)]
    words = of_rows(tmp_path, rows[0], rows[1] | {"loss_nats.c4": -1.0})
    assert words.startswith("line 2: loss_nats.c4 of -1: a loss is above zero")


def test_the_first_of_several_bad_rows_is_named_and_the_others_counted(tmp_path):
    rows = [RUN | {"name": f"r{number}", "loss_nats.c4": -1.0} for number in range(3)]
    assert of_rows(tmp_path, RUN, *rows) == (
        "line 2 (run r0): loss_nats.c4 of -1 (and 2 more rows like it): a loss is above zero; "
        "mend it, or leave the cell empty"
    )


def test_lists_in_other_columns_are_kept_as_text(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(RUN | {"devices": [0, 1]}) + "\n\n" + json.dumps(RUN))
    assert read_table(path).frame["devices"].iloc[0] == "[0, 1]"


def test_a_damaged_line_of_a_jsonl_is_named(tmp_path):
    lines = [json.dumps(RUN | {"tokens": number * 1e9}) for number in range(1, 22)]
    cut = "\n".join([*lines[:20], lines[20][:30]])
    assert of_bytes(tmp_path, cut.encode(), "jsonl").startswith("line 21: damaged JSON (Untermin")
    deep = lines[0] + "\n" + "[" * 100_000
    assert of_bytes(tmp_path, deep.encode(), "jsonl").startswith("line 2: damaged JSON")
    assert of_rows(tmp_path, RUN, [1, 2]).startswith("line 2: not a run; expected an object")
    twice = b'{"tokens": 4e9, "tokens": 5e9}'
    assert of_bytes(tmp_path, twice, "jsonl").startswith("line 1: 'tokens' stands there more than")
    assert of_bytes(tmp_path, b"\n\n", "jsonl").startswith("there is no run in it")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty; give a header line"),
        (f"{HEAD},tokens\na,190M,4B,3.5,5B".encode(), "line 1: 'tokens' stands there more than"),
        (f"{HEAD}\n\na,190M,4B,3.5,1".encode(), "line 3 has 5 cells, and the header has 4"),
        (f"{HEAD}\na,190M,4B,3.5\nb,370M".encode(), "line 3 has 2 cells, and the header has 4"),
        (f"{HEAD}\na,190M,4B,3.5\n\xe9".encode("latin-1"), "line 3: not UTF-8 text (byte 0xe9)"),
        (f'{HEAD}\na,190M,4B,3.5\n"b,370M\n'.encode(), "line 3: not a line of a CSV file"),
        (f'{HEAD}\n"a\nb",190M,4B,3.5\nc,50,4B,3'.encode(), "line 4 (run c): parameters_total of"),
    ],
)
def test_a_damaged_csv_names_the_line(tmp_path, content, words):
    assert of_bytes(tmp_path, content).startswith(words)


def test_a_spreadsheets_byte_order_mark_and_line_ends_are_read(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_bytes(f"\ufeff{HEAD}\r\na,190M,4B,3.5\r\n,,,\r\n".encode())
    assert read_table(path).frame.iloc[0].tolist() == ["a", 1.9e8, 4e9, 3.5]
    assert len(read_table(path)) == 1
