"""Data of the tasks whose choices are told apart by perplexity: the second paper's."""

import re
from collections.abc import Iterator, Mapping

from megatron_codemix.evaluation.suites.readers.files import Located
from megatron_codemix.evaluation.suites.readers.formats import (
    Document,
    Fields,
    Format,
    Reader,
    index,
    letter,
    text,
    texts,
)

_LETTERS = ("A", "B", "C", "D")
_LABEL = re.compile(r"^\s*[(（]?[A-D][)）.、]\s*")  # noqa: RUF001  # full-width


def _c_eval(record: Fields) -> Document:
    return {
        "problem": text(record, "question").strip(),
        "choices": [text(record, one) for one in _LETTERS],
        "gold": letter(record["answer"], "answer", _LETTERS),
    }


C_EVAL = Reader([Format("C-Eval", ("question", *_LETTERS, "answer"), _c_eval)])


def _jec_qa(record: Fields) -> Document | None:
    """Questions with one right answer: the template has place for one."""
    right = texts(record["label"], "label", at_least=0)
    if len(right) != 1:
        return None
    options = texts(record["options"], "options", at_least=2)
    return {
        "problem": text(record, "question"),
        "choices": [_LABEL.sub("", one) for one in options],
        "gold": letter(right[0], "label", _LETTERS[: len(options)]),
    }


_ONE_ANSWER = "questions with several right answers, or none, are left out"
JEC_QA = Reader([Format("AGIEval", ("question", "options", "label"), _jec_qa, _ONE_ANSWER)])


def _problems(one: Located) -> Iterator[Located]:
    """The authors' file maps numbers to problems; elsewhere a record is one."""
    record = one.record
    if isinstance(record, Mapping) and "question" not in record:
        for number, problem in record.items():
            yield Located(f"{one.where}, problem {number}", problem)
    else:
        yield one


def _science_qa(record: Fields) -> Document | None:
    """As in the paper's code: of the test split those with a lecture and a solution."""
    lecture, solution = text(record, "lecture"), text(record, "solution")
    if record.get("split", "test") != "test" or not lecture or not solution:
        return None
    choices = texts(record["choices"], "choices", at_least=2)
    return {
        "question": text(record, "question"),
        "choices": choices,
        "gold": index(record["answer"], "answer", len(choices)),
        "lecture": lecture,
        "solution": solution,
    }


SCIENCE_QA = Reader(
    [Format("the hub's or its authors'", ("question", "choices", "lecture"), _science_qa)],
    _problems,
)


def _e_kar(record: Fields) -> Document:
    """explanation: of the question, then of each choice."""
    choices = record["choices"]
    answers = texts(choices["text"], "choices.text", at_least=2)
    reasons = texts(record["explanation"], "explanation", at_least=len(answers) + 1)
    return {
        "question": text(record, "question"),
        "choices": answers,
        "gold": letter(record["answerKey"], "answerKey", list(choices["label"])),
        "reason": reasons[0],
        "reasons": reasons[1 : len(answers) + 1],
    }


E_KAR = Reader([Format("the hub's or its authors'", ("question", "answerKey"), _e_kar)])


def _cos_qa(record: Fields) -> Document:
    return {
        "question": text(record, "doc"),
        "code": text(record, "code"),
        "choices": ["wrong", "correct"],
        "gold": index(record["label"], "label", 2),
    }


COS_QA = Reader([Format("its authors'", ("doc", "code", "label"), _cos_qa)])


def _c3_questions(one: Located) -> Iterator[Located]:
    """The authors' file has lists: dialogue, questions, number."""
    if isinstance(one.record, Mapping):
        yield one
        return
    dialogue, questions, number = one.record
    for asked in questions:
        yield Located(f"{one.where} ({number})", {**asked, "context": dialogue})


def _c3(record: Fields) -> Document:
    choices = texts(record["choice"], "choice", at_least=2)
    return {
        "context": "".join(texts(record["context"], "context")),
        "question": text(record, "question"),
        "choices": choices,
        "gold": letter(record["answer"], "answer", choices),
    }


C3 = Reader(
    [Format("its authors' or CLUE's", ("question", "choice", "answer"), _c3)], _c3_questions
)

_RELATIONS = ("entailment", "neutral", "contradiction")


def _nli(record: Fields) -> Document | None:
    label = record["label"]
    if label in ("-", -1):  # the annotators did not agree
        return None
    if isinstance(label, int):  # the hub's numbers: neutral, entailment, contradiction
        label = ("neutral", "entailment", "contradiction")[index(label, "label", 3)]
    return {
        "sentence1": text(record, "sentence1"),
        "sentence2": text(record, "sentence2"),
        "choices": ["Yes", "Maybe", "No"],
        "gold": letter(label, "label", _RELATIONS),
    }


NLI = Reader([Format("CLUE", ("sentence1", "sentence2", "label"), _nli)])

READERS = {
    "c_eval": C_EVAL,
    "jec_qa": JEC_QA,
    "science_qa": SCIENCE_QA,
    "e_kar": E_KAR,
    "cos_qa": COS_QA,
    "c3": C3,
    "nli": NLI,
}
