"""Data of the multiple-choice tasks: as on the Hugging Face hub, as their authors publish it, and
as ready-made prompts (`query`, `choices`, `gold`) that are taken apart again.

What comes out has the hub's names, so that the prompts can be those of lm-evaluation-harness.
"""

import re
from typing import Any

from megatron_codemix.evaluation.suites.readers.formats import (
    Document,
    Fields,
    Format,
    Reader,
    between,
    index,
    letter,
    text,
    texts,
)

_READY = ("query", "choices", "gold")


def _boolq(record: Fields) -> Document:
    question, passage = text(record, "question"), text(record, "passage")
    name = "label" if "label" in record else "answer"
    label = {"true": 1, "false": 0}.get(str(record[name]).lower(), record[name])  # also of CSV
    if "title" in record:  # SuperGLUE's passages begin with the title
        passage = f"{text(record, 'title')} -- {passage}"
    return {"question": question, "passage": passage, "label": index(label, name, 2)}


def _boolq_ready(record: Fields) -> Document:
    whole = between(text(record, "query"), "Passage: ", "?", "query")
    passage, _, question = whole.rpartition("\nQuestion: ")
    if texts(record["choices"], "choices") != ["no", "yes"]:
        raise ValueError(f"choices are {record['choices']!r}, not no and yes")
    return {"question": question, "passage": passage, "label": index(record["gold"], "gold", 2)}


_NO_TITLE = "passages lack the title that SuperGLUE's begin with: the prompt differs by it"
BOOLQ = Reader(
    [
        Format("SuperGLUE", ("question", "passage", "label"), _boolq),
        Format("Google's file", ("question", "passage", "title", "answer"), _boolq),
        Format("Google's on the hub", ("question", "passage", "answer"), _boolq, _NO_TITLE),
        Format("ready-made prompts", _READY, _boolq_ready, _NO_TITLE),
    ]
)


def _piqa(record: Fields) -> Document:
    return {
        "goal": text(record, "goal"),
        "sol1": text(record, "sol1"),
        "sol2": text(record, "sol2"),
        "label": index(record["label"], "label", 2),
    }


def _piqa_ready(record: Fields) -> Document:
    goal = text(record, "query").removeprefix("Question: ").removesuffix("\nAnswer:")
    one, other = texts(record["choices"], "choices", at_least=2)
    return {"goal": goal, "sol1": one, "sol2": other, "label": index(record["gold"], "gold", 2)}


PIQA = Reader(
    [
        Format("the hub's or its authors'", ("goal", "sol1", "sol2", "label"), _piqa),
        Format("ready-made prompts", _READY, _piqa_ready),
    ]
)


def _sciq(record: Fields) -> Document:
    names = ("question", "distractor1", "distractor2", "distractor3", "correct_answer", "support")
    return {name: text(record, name) for name in names}


SCIQ = Reader([Format("the hub's or its authors'", ("correct_answer", "distractor1"), _sciq)])

_SOCIAL_IQA_TASK = re.compile(
    r"Please choose the correct answer to the question: (?P<text>.+)\n\n"
    r"Answer1: (?P<answerA>.+) Answer2: (?P<answerB>.+) Answer3: (?P<answerC>.+)\n\n"
    r"Answer format: answer1/answer2/answer3",
    re.DOTALL,
)


def _social_iqa(record: Fields) -> Document:
    names = ("context", "question", "answerA", "answerB", "answerC")
    label = index(record["label"], "label", 3, first=1) + 1
    return {**{name: text(record, name) for name in names}, "label": str(label)}


def _social_iqa_instruction(record: Fields) -> Document:
    """Where the context ends does not matter: the prompt joins it to the question by a space."""
    found = _SOCIAL_IQA_TASK.fullmatch(text(record, "instruction"))
    if found is None:
        raise ValueError(f"instruction is not 'Please choose...': {record['instruction'][:60]!r}")
    context, _, question = found["text"].rpartition(" ")
    answers = {name: found[name] for name in ("answerA", "answerB", "answerC")}
    number = letter(record["answer"], "answer", ["answer1", "answer2", "answer3"]) + 1
    return {"context": context, "question": question, **answers, "label": str(number)}


SOCIAL_IQA = Reader(
    [
        Format("the hub's or its authors'", ("context", "answerA", "label"), _social_iqa),
        Format("instructions", ("instruction", "answer"), _social_iqa_instruction),
    ]
)


def _cb(record: Fields) -> Document:
    label = record["label"]
    names = ["entailment", "contradiction", "neutral"]
    number = letter(label, "label", names) if isinstance(label, str) else index(label, "label", 3)
    premise, hypothesis = text(record, "premise"), text(record, "hypothesis")
    return {"premise": premise, "hypothesis": hypothesis, "label": number}


CB = Reader([Format("SuperGLUE", ("premise", "hypothesis", "label"), _cb)])


_COPA_QUESTIONS = ["cause", "effect"]


def _copa(record: Fields) -> Document:
    return {
        "premise": text(record, "premise"),
        "question": _COPA_QUESTIONS[letter(record["question"], "question", _COPA_QUESTIONS)],
        "choice1": text(record, "choice1"),
        "choice2": text(record, "choice2"),
        "label": index(record["label"], "label", 2),
    }


def _copa_ready(record: Fields) -> Document:
    premise, _, connector = text(record, "query").rpartition(", ")
    question = _COPA_QUESTIONS[letter(connector, "query's end", ["because", "therefore"])]
    one, other = texts(record["choices"], "choices", at_least=2)
    return {
        "premise": f"{premise}.",  # the prompt drops the last character
        "question": question,
        "choice1": one,
        "choice2": other,
        "label": index(record["gold"], "gold", 2),
    }


COPA = Reader(
    [
        Format("SuperGLUE", ("premise", "choice1", "choice2", "question", "label"), _copa),
        Format("ready-made prompts", _READY, _copa_ready),
    ]
)


def _story_cloze(record: Fields) -> Document:
    names = [f"input_sentence_{number}" for number in range(1, 5)]
    quiz = ["sentence_quiz1", "sentence_quiz2"]
    right = index(record["answer_right_ending"], "answer_right_ending", 2, first=1) + 1
    return {**{name: text(record, name) for name in names + quiz}, "answer_right_ending": right}


def _story_cloze_table(record: Fields) -> Document:
    sentences = {f"input_sentence_{i}": text(record, f"InputSentence{i}") for i in range(1, 5)}
    quiz = {f"sentence_quiz{i}": text(record, f"RandomFifthSentenceQuiz{i}") for i in (1, 2)}
    right = index(record["AnswerRightEnding"], "AnswerRightEnding", 2, first=1) + 1
    return {**sentences, **quiz, "answer_right_ending": right}


STORY_CLOZE = Reader(
    [
        Format("the hub's", ("input_sentence_1", "answer_right_ending"), _story_cloze),
        Format("its authors'", ("InputSentence1", "AnswerRightEnding"), _story_cloze_table),
    ]
)


def _hellaswag_text(raw: str) -> str:
    """WikiHow's marks in brackets are taken out, as in every known use of the data."""
    without = re.sub(r"\[.*?\]", "", raw.strip().replace(" [title]", ". "))
    return without.replace("  ", " ")


def _hellaswag(record: Fields) -> Document | None:
    if record["label"] == "":  # the test split, whose labels are not published
        return None
    endings = texts(record["endings"], "endings", at_least=2)
    context = f"{text(record, 'ctx_a')} {text(record, 'ctx_b').capitalize()}"
    return {
        "query": _hellaswag_text(f"{text(record, 'activity_label')}: {context}"),
        "choices": [_hellaswag_text(one) for one in endings],
        "gold": index(record["label"], "label", len(endings)),
    }


def _ready(record: Fields) -> Document:
    choices = texts(record["choices"], "choices", at_least=2)
    gold = index(record["gold"], "gold", len(choices))
    return {"query": text(record, "query"), "choices": choices, "gold": gold}


HELLASWAG = Reader(
    [
        Format("the hub's or its authors'", ("activity_label", "ctx_a", "endings"), _hellaswag),
        Format("ready-made prompts", _READY, _ready),
    ]
)


def _winogrande(record: Fields) -> Document | None:
    if record["answer"] == "":  # the test split
        return None
    sentence = text(record, "sentence")
    if "_" not in sentence:
        raise ValueError(f"sentence has no '_' where the options go: {sentence!r}")
    options = {name: text(record, name) for name in ("option1", "option2")}
    answer = index(record["answer"], "answer", 2, first=1) + 1
    return {"sentence": sentence, **options, "answer": str(answer)}


def _winogrande_ready(record: Fields) -> Document:
    one, other = texts(record["context_options"], "context_options", at_least=2)
    answer = index(record["gold"], "gold", 2) + 1
    sentence = f"_ {text(record, 'continuation')}"  # the options bring what stands before
    return {"sentence": sentence, "option1": one, "option2": other, "answer": str(answer)}


WINOGRANDE = Reader(
    [
        Format("the hub's or its authors'", ("sentence", "option1", "answer"), _winogrande),
        Format("ready-made prompts", ("context_options", "continuation"), _winogrande_ready),
    ]
)


def _arc(record: Fields) -> Document:
    question: Any = record["question"]
    if isinstance(question, str):
        choices = record["choices"]
        labels, answers = texts(choices["label"], "label"), texts(choices["text"], "text")
    else:  # the authors' nest stem and choices
        labels = [one["label"] for one in question["choices"]]
        answers = [one["text"] for one in question["choices"]]
        question = question["stem"]
    letter(record["answerKey"], "answerKey", labels)
    choices = {"text": answers, "label": labels}
    return {"question": question, "choices": choices, "answerKey": record["answerKey"]}


def _arc_ready(record: Fields) -> Document:
    ready = _ready(record)
    labels = [chr(ord("A") + number) for number in range(len(ready["choices"]))]
    return {
        "question": ready["query"].removeprefix("Question: ").removesuffix("\nAnswer:"),
        "choices": {"text": ready["choices"], "label": labels},
        "answerKey": labels[ready["gold"]],
    }


ARC = Reader(
    [
        Format("the hub's or its authors'", ("question", "answerKey"), _arc),
        Format("ready-made prompts", _READY, _arc_ready),
    ]
)

READERS = {
    "boolq": BOOLQ,
    "piqa": PIQA,
    "sciq": SCIQ,
    "social_iqa": SOCIAL_IQA,
    "cb": CB,
    "copa": COPA,
    "storycloze": STORY_CLOZE,
    "hellaswag": HELLASWAG,
    "winogrande": WINOGRANDE,
    "arc": ARC,
}
