"""Files of prompts and of answers: what is taken, and what is refused by file and line."""

import json
from pathlib import Path

import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.judge.pairs import Answers, read_answers, read_instructions
from megatron_codemix.evaluation.prompts import Prompt, conversation_text, read_prompts


def write(path: Path, *lines: object) -> Path:
    rows = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(row + "\n" for row in rows), encoding="utf-8")
    return path


def test_lines_of_text_are_prompts(tmp_path: Path) -> None:
    path = write(tmp_path / "p.txt", "def f(", " two\r")
    assert read_prompts(path) == [Prompt("def f("), Prompt(" two")]


def test_prompts_and_instructions_of_json_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl",
        {"prompt": "one\u2028two"},
        {"instruction": "Name it.", "context": "", "category": "open_qa"},
        {"instruction": "Sum up.", "context": "A text."},
    )
    path.write_text(path.read_text().replace("\\u2028", "\u2028"), encoding="utf-8")
    first, second, third = read_prompts(path)
    assert read_prompts(write(tmp_path / "half.jsonl", '{"prompt": "\\ud800x"}')) == [Prompt("?x")]
    assert first == Prompt("one\u2028two")
    assert second == Prompt("Instruction: Name it.\nAnswer:", "Name it.")
    assert third.text == "Instruction: Sum up.\nContext: A text.\nAnswer:"
    assert third.context == "A text."


@pytest.mark.parametrize(
    ("name", "lines", "said"),
    [
        ("p.jsonl", ['{"prompt": "a"}', '{"prompt": '], "p.jsonl:2: not JSON"),
        ("p.jsonl", ["[1]"], "p.jsonl:1: a JSON object is wanted"),
        ("p.jsonl", [{"text": "a"}], "p.jsonl:1: has neither 'prompt' nor 'instruction'"),
        ("p.jsonl", [{"prompt": "a"}, {"prompt": " "}], "p.jsonl:2: 'prompt' is ' '"),
        ("p.jsonl", [{"instruction": 3}], "p.jsonl:1: 'instruction' is 3"),
        ("p.jsonl", [{"instruction": "a", "context": 3}], "p.jsonl:1: 'context' is 3"),
        ("p.txt", ["a", "", "b"], "p.txt:2: empty"),
        ("p.txt", [], "p.txt: empty"),
    ],
)
def test_bad_prompts(tmp_path: Path, name: str, lines: list[object], said: str) -> None:
    with pytest.raises(DataError) as refused:
        read_prompts(write(tmp_path / name, *lines))
    assert said in str(refused.value)


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(tmp_path / "absent.txt")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_prompts(tmp_path / "binary.txt")


def test_conversation_ends_where_the_model_speaks() -> None:
    messages = [("system", "Be brief."), ("user", "Hi"), ("assistant", "Yes?"), ("user", "Go")]
    assert conversation_text(messages) == (
        "System: Be brief.\nUser: Hi\nAssistant: Yes?\nUser: Go\nAssistant:"
    )


@pytest.fixture
def prompts(tmp_path: Path) -> list[Prompt]:
    lines = [{"instruction": "One?"}, {"instruction": "Two?", "context": "2"}, {"prompt": "Three"}]
    return read_instructions(write(tmp_path / "prompts.jsonl", *lines), None)


def test_answers_in_either_form(tmp_path: Path, prompts: list[Prompt]) -> None:
    path = write(
        tmp_path / "a.jsonl",
        {"instruction": "One?", "answer": "1"},
        {"prompt": "Instruction: Two?\nContext: 2\nAnswer:", "completion": ""},
        {"prompt": "Three", "completion": " 3", "cut_prompt_tokens": 5},
    )
    assert read_answers(path, prompts, is_limited=False) == Answers(["1", "", " 3"], num_cut=1)
    assert read_answers(path, prompts[:2], is_limited=True) == Answers(["1", ""], num_cut=0)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{"instruction": "One?", "answer": "1"}], "1 answers for 3 prompts"),
        ([{"instruction": "One?", "answer": "1"}] * 4, "4 answers for 3 prompts"),
        ([{"instruction": "Two?", "answer": "1"}] * 3, "a.jsonl:1: answers 'Two?', where"),
        ([{"instruction": "One?"}] * 3, "a.jsonl:1: has no text 'answer' or 'completion'"),
        ([{"answer": "1"}] * 3, "a.jsonl:1: has neither 'instruction' nor 'prompt'"),
    ],
)
def test_bad_answers(tmp_path: Path, prompts: list[Prompt], lines: list[object], said: str) -> None:
    with pytest.raises(DataError) as refused:
        read_answers(write(tmp_path / "a.jsonl", *lines), prompts, is_limited=False)
    assert said in str(refused.value)
