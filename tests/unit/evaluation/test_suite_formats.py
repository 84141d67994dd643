"""Each published form of a task's data is the same items; what is wrong in each is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.suites.data import read_task
from megatron_codemix.evaluation.suites.readers.formats import Document
from megatron_codemix.evaluation.suites.registry import all_tasks
from tests.helpers.task_records import HUB, SAME_DATA, write_all, write_lines


def documents(name: str, folder: Path) -> list[Document]:
    return read_task(all_tasks()[name], folder, None).documents


def of_hub(name: str, folder: Path) -> list[Document]:
    return documents(name, write_all(folder / "hub", [name]))


TEA = "Tea is from China. It came to Japan. CANNOTANSWER"
QUAC_ROW = {
    "wikipedia_page_title": "Tea",
    "section_title": "Origin",
    "context": TEA,
    "questions": ["Where is it from?", "Who sold it?"],
    "answers": {"texts": [["from China", "China."], ["CANNOTANSWER", "It came"]]},
    "orig_answers": {"texts": ["from China", "CANNOTANSWER"]},
}
OTHER_FORMS: dict[str, tuple[str, Any]] = {
    "triviaqa, its authors'": (
        "unfiltered-web-dev.json",
        {
            "Data": [
                {"Question": "What is wet?", "Answer": {"Aliases": ["Water", "The sea"]}},
                {"Question": "Who sang", "Answer": {"Aliases": ["A bird"]}},
            ]
        },
    ),
    "triviaqa, ready-made prompts": (
        "triviaqa.json",
        [
            {
                "context": "Question: What is wet?\nAnswer:",
                "answer": "Water",
                "aliases": ["Water", "The sea"],
            },
            {"context": "Question: Who sang\nAnswer:", "answer": "A bird", "aliases": ["A bird"]},
        ],
    ),
    "quac, the hub's": ("quac.json", [QUAC_ROW]),
    "arc_easy, its authors'": (
        "ARC-Easy-Test.json",
        [
            {
                "question": {
                    "stem": one["question"],
                    "choices": [
                        {"text": text, "label": label}
                        for text, label in zip(
                            one["choices"]["text"], one["choices"]["label"], strict=True
                        )
                    ],
                },
                "answerKey": one["answerKey"],
            }
            for one in HUB["arc_easy"]
        ],
    ),
    "cb, SuperGLUE's file": (
        "CB/val.json",
        [
            {**one, "label": ["entailment", "contradiction", "neutral"][one["label"]]}
            for one in HUB["cb"]
        ],
    ),
    "scienceqa, its authors'": (
        "data/scienceqa/problems.json",
        {
            "1": {**HUB["scienceqa"][0], "split": "train"},
            "2": {**HUB["scienceqa"][0], "split": "test"},
        },
    ),
    "ocnli, the hub's": (
        "ocnli/validation-00000-of-00001.json",
        [{**one, "label": {"e": 1, "n": 0, "c": 2, "-": -1}[one["label"][0]]}
         for one in HUB["ocnli"]],
    ),
    "c3, the hub's": (
        "c3.json",
        [{"context": ["Ann: I fell.", "Sue: Again?"], "question": "Who fell?",
          "choice": ["Sue", "Ann"], "answer": "Ann"}],
    ),
    "logical_deduction_three_objects, BIG-bench's": (
        "three_objects/task.json",
        {"name": "three", "examples": HUB["logical_deduction_three_objects"]},
    ),
    "logical_deduction_three_objects, BIG-bench Hard's": (
        "logical_deduction_three_objects.json",
        {
            "examples": [
                {
                    "input": f"{one['input']}\nOptions:\n(A) A is.\n(B) B is.\n(C) C is.",
                    "target": "(A)" if one["target_scores"]["A is."] else "(C)",
                }
                for one in HUB["logical_deduction_three_objects"]
            ]
        },
    ),
    "dureader, one question a line": (
        "dureader.json",
        [{"context": "Tea is green.", "question": "Which colour?", "answers": {"text": ["green"]}}],
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_other_forms_are_the_same_items(form: str, tmp_path: Path) -> None:
    name = form.partition(",")[0]
    file, content = OTHER_FORMS[form]
    path = tmp_path / "other" / file
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content), encoding="utf-8")

    assert documents(name, tmp_path / "other") == of_hub(name, tmp_path)


def test_tables_with_commas(tmp_path: Path) -> None:
    (tmp_path / "logic_val.csv").write_text('id,question,A,B,C,D,answer\n0,"p?",a,b,c,d,C\n')
    assert documents("ceval_logic", tmp_path) == of_hub("ceval_logic", tmp_path)

    sentences = ",".join(f"InputSentence{number}" for number in range(1, 5))
    (tmp_path / "cloze_test_test__spring2016 - cloze_test_ALL_test.csv").write_text(
        f"InputStoryid,{sentences},RandomFifthSentenceQuiz1,RandomFifthSentenceQuiz2,"
        "AnswerRightEnding\n"
        "x,Sentence 1.,Sentence 2.,Sentence 3.,Sentence 4.,It ended.,No.,1\n"
        "y,Sentence 1.,Sentence 2.,Sentence 3.,Sentence 4.,No.,Well.,2\n"
    )
    assert documents("storycloze_2016", tmp_path) == of_hub("storycloze_2016", tmp_path)


def test_one_file_with_puzzles_of_all_sizes(tmp_path: Path) -> None:
    """Each task takes those of its size."""
    puzzles = [
        {"query": f"Question: {count} objects?", "choices": list("abcdefg"[:count]), "gold": 2}
        for count in (3, 5, 7, 5)
    ]
    write_lines(tmp_path / "bigbench_logical_deduction.jsonl", puzzles)
    found = {
        size: documents(f"logical_deduction_{size}_objects", tmp_path)
        for size in ("three", "five", "seven")
    }
    assert {size: len(items) for size, items in found.items()} == {
        "three": 1, "five": 2, "seven": 1,
    }  # fmt: skip
    assert found["three"] == [{"query": "3 objects?", "choices": ["a", "b", "c"], "gold": 2}]


def test_mbpp_is_its_test_split(tmp_path: Path) -> None:
    record = HUB["mbpp"][0]
    numbers = [1, 10, 11, 510, 511, 974]
    write_lines(tmp_path / "mbpp.jsonl", [{**record, "task_id": one} for one in numbers])
    assert [one["task_id"] for one in documents("mbpp", tmp_path)] == [11, 510]


def test_bleu_prefers_the_sanitized_problems(tmp_path: Path) -> None:
    """The authors' folder has both files."""
    write_all(tmp_path, ["mbpp"])
    info = all_tasks()["mbpp_bleu"]
    whole = read_task(info, tmp_path, None)
    assert whole.documents == documents("mbpp", tmp_path)
    assert whole.notes == ("the 500 problems of the test split, not the paper's 427",)

    record = {**HUB["mbpp"][0], "prompt": "Add one.", "test_imports": ["import math"]}
    del record["text"], record["test_setup_code"]
    numbers = [2, 11, 974]
    path = tmp_path / "sanitized-mbpp.json"
    path.write_text(json.dumps([{**record, "task_id": one} for one in numbers]))
    found = read_task(info, tmp_path, None)
    assert found.file == path
    assert [one["task_id"] for one in found.documents] == numbers
    assert {one["text"] for one in found.documents} == {"Add one."}
    assert {one["test_setup_code"] for one in found.documents} == {"import math"}
    assert found.notes == ()


def test_texts_of_your_own(tmp_path: Path) -> None:
    (tmp_path / "text_bpb.txt").write_text("A tea.\nTwo teas.\n")
    assert documents("text_bpb", tmp_path) == [{"text": "A tea.\nTwo teas.\n"}]

    write_lines(tmp_path / "code_bpb.jsonl", [{"content": "x = 1"}, {"content": ""}])
    assert documents("code_bpb", tmp_path) == [{"text": "x = 1"}]


WRONG: dict[str, tuple[Any, str]] = {
    "boolq": ([{**HUB["boolq"][0], "label": 2}], "label is 2; the 2 choices are 0 to 1"),
    "piqa": ([{**HUB["piqa"][0], "label": 3}], "label is 3; the 2 choices are 0 to 1"),
    "sciq": ([{"correct_answer": "a", "distractor1": "b"}], "has no field 'question'"),
    "social_iqa": (
        [{**HUB["social_iqa"][0], "label": "4"}],
        "label is '4'; the 3 choices are 1 to 3",
    ),
    "cb": ([{**HUB["cb"][0], "label": "maybe"}], "label is 'maybe'; the choices are entailment"),
    "copa": ([{**HUB["copa"][0], "question": "why"}], "question is 'why'; the choices are cause"),
    "storycloze_2016": (
        [{**HUB["storycloze_2016"][0], "answer_right_ending": 0}],
        "answer_right_ending is 0; the 2 choices are 1 to 2",
    ),
    "hellaswag": (
        [{**HUB["hellaswag"][0], "endings": "one"}],
        "endings is 'one', not a list of 2 or more texts",
    ),
    "winogrande": (
        [{**HUB["winogrande"][0], "sentence": "No gap."}],
        "sentence has no '_' where the options go",
    ),
    "arc_easy": ([{**HUB["arc_easy"][0], "answerKey": "E"}], "answerKey is 'E'; the choices are A"),
    "triviaqa": (
        [{"question": "q", "answer": {"value": "a"}}],
        "has no field 'aliases'",
    ),
    "nq_open": ([{"question": "q", "answer": "May"}], "answer is 'May', not a list of 1 or more"),
    "gsm8k": ([{"question": "q", "answer": "It is 4"}], "answer has no '#### ' before its result"),
    "quac": ([{"data": [{"title": "Tea", "section_title": "x"}]}], "has no field 'paragraphs'"),
    "dureader": (
        [{"context": "c", "question": "q", "answers": []}],
        r"answers is \[\], not a list of 1 or more texts",
    ),
    "humaneval": ([{"prompt": "p", "entry_point": "f"}], "has no field 'task_id'"),
    "mbpp": (
        [{**HUB["mbpp"][0], "test_list": ["assert True"]}],
        "test_list is .*, not a list of 3 or more texts",
    ),
    "mbpp_bleu": ([{**HUB["mbpp"][0], "code": 1}], "code is 1, not text"),
    "ceval_logic": ([{**HUB["ceval_logic"][0], "answer": "E"}], "answer is 'E'; the choices are A"),
    "jec_qa_kd": ([{**HUB["jec_qa_kd"][0], "label": ["E"]}], "label is 'E'; the choices are A"),
    "scienceqa": ([{**HUB["scienceqa"][0], "answer": 2}], "answer is 2; the 2 choices are 0 to 1"),
    "ekar": (
        [{**HUB["ekar"][0], "explanation": ["one"]}],
        "explanation is .*, not a list of 3 or more texts",
    ),
    "cosqa": ([{**HUB["cosqa"][0], "label": 2}], "label is 2; the 2 choices are 0 to 1"),
    "c3": (
        [[["Ann: I fell."], [{"question": "q", "choice": ["a", "b"], "answer": "c"}], "d-1"]],
        "answer is 'c'; the choices are a, b",
    ),
    "ocnli": ([{**HUB["ocnli"][0], "label": "so"}], "label is 'so'; the choices are entailment"),
    "logical_deduction_three_objects": (
        [{"input": "?", "target_scores": {"a": 1, "b": 1, "c": 0}}],
        "target_scores has 2 right answers, not one",
    ),
    "code_bpb": ([{"code": "x"}], r"has the fields code; expected text \(your own\)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_in_a_record_is_named(name: str, tmp_path: Path) -> None:
    """The second of two records, so that the place is right by more than chance."""
    records, message = WRONG[name]
    first = [HUB[SAME_DATA.get(name, name)][0]]
    path = write_lines(tmp_path / f"{SAME_DATA.get(name, name)}.jsonl", first + records)
    with pytest.raises(DataError, match=message) as caught:
        documents(name, tmp_path)
    assert f"{path}:2" in str(caught.value)


def test_every_reader_has_a_wrong_record() -> None:
    tried = {all_tasks()[name].reader for name in WRONG}
    expected = {info.reader for info in all_tasks().values()}
    assert {one.rstrip("357_") for one in expected} == {one.rstrip("357_") for one in tried}
