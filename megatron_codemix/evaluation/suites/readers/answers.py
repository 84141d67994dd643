"""Data of the tasks that are answered in words: questions with the answers that count."""

from collections.abc import Iterator, Mapping
from typing import Any

from megatron_codemix.evaluation.suites.open_answers import human_f1
from megatron_codemix.evaluation.suites.readers.files import Located
from megatron_codemix.evaluation.suites.readers.formats import (
    Document,
    Fields,
    Format,
    Reader,
    between,
    text,
    texts,
)

_MIN_HUMAN_F1 = 0.4
"""QuAC's script leaves out questions on which people agree less."""


def _trivia_qa(record: Fields) -> Document:
    answer = record["answer"]
    return {
        "question": text(record, "question"),
        "answer": {"aliases": texts(answer["aliases"], "answer.aliases")},
    }


def _trivia_qa_file(record: Fields) -> Document:
    aliases = texts(record["Answer"]["Aliases"], "Answer.Aliases")
    return {"question": text(record, "Question"), "answer": {"aliases": aliases}}


def _trivia_qa_ready(record: Fields) -> Document:
    question = between(text(record, "context"), "Question: ", "\nAnswer:", "context")
    aliases = texts(record["aliases"], "aliases")
    if record["answer"] not in aliases:
        aliases = [text(record, "answer"), *aliases]
    return {"question": question, "answer": {"aliases": aliases}}


def _items_below(*names: str) -> Any:
    """An `unpack` for files whose records lie in a list in an object."""

    def unpack(one: Located) -> Iterator[Located]:
        name = next((name for name in names if name in one.record), None)
        if name is None:
            yield one
            return
        for number, item in enumerate(one.record[name], start=1):
            yield Located(f"{one.where}, {name} {number}", item)

    return unpack


TRIVIA_QA = Reader(
    [
        Format("the hub's", ("question", "answer"), _trivia_qa),
        Format(
            "its authors'",
            ("Question", "Answer"),
            _trivia_qa_file,
            "one of the authors' files has other questions than the 17,944 of the validation set",
        ),
        Format(
            "ready-made prompts",
            ("context", "answer", "aliases"),
            _trivia_qa_ready,
            "ready-made prompts are a subset of the 17,944 questions of the validation set",
        ),
    ],
    _items_below("Data"),
)


def _nq_open(record: Fields) -> Document:
    return {"question": text(record, "question"), "answer": texts(record["answer"], "answer")}


NQ_OPEN = Reader([Format("the hub's or its authors'", ("question", "answer"), _nq_open)])


def _gsm8k(record: Fields) -> Document:
    answer = text(record, "answer")
    if "#### " not in answer:
        raise ValueError(f"answer has no '#### ' before its result: {answer[-40:]!r}")
    return {"question": text(record, "question"), "answer": answer}


GSM8K = Reader([Format("the hub's or its authors'", ("question", "answer"), _gsm8k)])


def _quac_questions(one: Located) -> Iterator[Located]:
    """Of the authors' file (`data`, paragraphs, questions) or the hub's rows, one a dialogue."""
    if "questions" in one.record:
        yield from _quac_row(one)
        return
    for number, article in enumerate(one.record["data"], start=1):
        for paragraph in article["paragraphs"]:
            where = f"{one.where}, data {number}"
            head = (article["title"], article["section_title"], paragraph["context"])
            yield from _quac_dialogue(where, head, [_quac_turn(qa) for qa in paragraph["qas"]])


def _quac_turn(asked: Fields) -> tuple[str, list[str], str]:
    references = [one["text"] for one in asked["answers"]]
    return asked["question"], references, asked["orig_answer"]["text"]


def _quac_row(one: Located) -> Iterator[Located]:
    row = one.record
    references, given = row["answers"]["texts"], row["orig_answers"]["texts"]
    asked = list(zip(row["questions"], references, given, strict=True))
    head = (row["wikipedia_page_title"], row["section_title"], row["context"])
    yield from _quac_dialogue(one.where, head, asked)


def _quac_dialogue(
    where: str, head: tuple[str, str, str], asked: list[tuple[str, list[str], str]]
) -> Iterator[Located]:
    """Each question with what was asked and answered before it."""
    title, section, context = head
    turns = ""
    for question, references, given in asked:
        record = {
            "title": title,
            "section": section,
            "context": context,
            "turns": turns,
            "question": question,
            "references": references,
        }
        yield Located(f"{where}, question {question!r}", record)
        turns += f"Q: {question}\nA: {given}\n"


def _quac(record: Fields) -> Document | None:
    references = texts(record["references"], "answers")
    if human_f1(references) < _MIN_HUMAN_F1:
        return None
    names = ("title", "section", "context", "turns", "question")
    return {**{name: text(record, name) for name in names}, "references": references}


_QUAC_FORMAT = Format("its authors' or the hub's", ("question", "context", "references"), _quac)
QUAC = Reader([_QUAC_FORMAT], _quac_questions)


def _du_reader_questions(one: Located) -> Iterator[Located]:
    if "data" not in one.record:
        yield one
        return
    for article in one.record["data"]:
        for paragraph in article["paragraphs"]:
            for asked in paragraph["qas"]:
                record = {**asked, "context": paragraph["context"]}
                yield Located(f"{one.where}, question {asked.get('id')}", record)


def _du_reader(record: Fields) -> Document:
    given = record["answers"]
    found = given["text"] if isinstance(given, Mapping) else [one["text"] for one in given]
    return {
        "context": text(record, "context").strip(),
        "question": text(record, "question").strip(),
        "references": texts(found, "answers"),
    }


DU_READER = Reader(
    [Format("DuReader-robust", ("context", "question", "answers"), _du_reader)],
    _du_reader_questions,
)

READERS = {
    "triviaqa": TRIVIA_QA,
    "nq_open": NQ_OPEN,
    "gsm8k": GSM8K,
    "quac": QUAC,
    "dureader": DU_READER,
}
