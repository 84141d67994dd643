"""The second paper's templates, letter by letter: what is asked of the model."""

from pathlib import Path
from typing import Any

import pytest

from megatron_codemix.evaluation.suites.prepare import prepare_tasks
from tests.helpers.task_records import write_all

ASKED = {
    "ceval_logic": [
        (f"The answer: {one}, can answer the following questions:", " p?") for one in "abcd"
    ],
    "jec_qa_kd": [
        (f"The answer: {one}, can answer the following questions:", " q?") for one in "abcd"
    ],
    "scienceqa": [
        (
            f"Things are wet or dry.\n anwser: {one} can answer the following question:",
            " What is wet?",
        )
        for one in ("water", "sand")
    ],
    "scienceqa_cot": [
        (
            f"Lecture:Things are wet or dry.\n question: What is wet?\n anwser: {one}\n"
            " This answer comes from the following reasoning:",
            " Water is wet.",
        )
        for one in ("water", "sand")
    ],
    "ekar": [
        ("The reasoning relationship: cup:tea, the analogy reasoning relationship:", f" {one}")
        for one in ("bowl:soup", "tea:cup")
    ],
    "ekar_cot": [
        (
            "The reasoning relationship: cup:tea, the analogy reasoning relationship:",
            f" {one}, because a cup holds tea, so {reason}",
        )
        for one, reason in (("bowl:soup", "a bowl holds soup"), ("tea:cup", "tea holds no cup"))
    ],
    "cosqa": [
        (f"python add one? Answered code is {one}:", " def f(x): return x + 1")
        for one in ("wrong", "correct")
    ],
    "mbpp_bleu": [
        (
            "Write a function that adds one.\n Code:\n",
            {"until": ["\n\n\n"], "max_gen_toks": 512, "do_sample": False},
        )
    ],
    "c3": [
        (
            f"Question: Who fell?\n Answer:{one} comes from the dialogue:",
            " Ann: I fell.Sue: Again?",
        )
        for one in ("Sue", "Ann")
    ],
    "ocnli": [(f"It rains? {one},", " it is wet") for one in ("Yes", "Maybe", "No")],
    "cmnli": [(f"It rains? {one},", " it is wet") for one in ("Yes", "Maybe", "No")],
    "dureader": [
        (
            "Read document: Tea is green.\n Question:Which colour? \n Answer:",
            {"until": ["\n"], "max_gen_toks": 64, "do_sample": False},
        )
    ],
    "quac": [
        (
            "Tea - Origin\n\nTea is from China. It came to Japan. CANNOTANSWER\n\n"
            "Q: Where is it from?\nA:",
            {"until": ["\n"], "max_gen_toks": 64, "do_sample": False},
        )
    ],
    "logical_deduction_three_objects": [
        ("Q: A is left of B, B of C. What is leftmost?\nA:", f" {one} is.") for one in "ABC"
    ],
}


def asked(task: Any, number: int) -> list[tuple[Any, ...]]:
    doc = task.eval_docs[number]
    made = task.construct_requests(doc=doc, ctx=task.fewshot_context(doc, 0), metadata=("", 0, 1))
    return [one.args for one in (made if isinstance(made, list) else [made])]


@pytest.mark.parametrize("name", ASKED)
def test_templates(name: str, tmp_path: Path) -> None:
    (found,) = prepare_tasks([name], write_all(tmp_path, [name]))
    assert asked(found.task, 0) == ASKED[name]


def test_quac_goes_on_with_the_dialogue_and_leaves_out_what_people_dispute(tmp_path: Path) -> None:
    (found,) = prepare_tasks(["quac"], write_all(tmp_path, ["quac"]))

    assert found.num_items == 2
    prompt, _ = asked(found.task, 1)[0]
    assert prompt.endswith("\n\nQ: Where is it from?\nA: from China\nQ: Who sold it?\nA:")


@pytest.mark.parametrize(
    ("name", "items"), [("scienceqa", 1), ("jec_qa_kd", 1), ("ocnli", 3), ("c3", 1)]
)
def test_items_without_a_single_answer_are_left_out(name: str, items: int, tmp_path: Path) -> None:
    (found,) = prepare_tasks([name], write_all(tmp_path, [name]))
    assert found.num_items == items


def test_answers_of_the_relations(tmp_path: Path) -> None:
    (found,) = prepare_tasks(["ocnli"], write_all(tmp_path, ["ocnli"]))
    answers = [found.task.doc_to_choice(doc)[found.task.gold(doc)] for doc in found.task.eval_docs]
    assert answers == ["It rains? Yes,", "It rains? Maybe,", "It rains? No,"]
