"""Prompts that a template cannot say. Used by the task files."""

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]


def copa_text(document: Document) -> str:
    """The premise without its full stop, then what links it to its cause or effect."""
    connector = {"cause": "because", "effect": "therefore"}[document["question"]]
    return f"{document['premise'].strip()[:-1]} {connector}"


def copa_choices(document: Document) -> list[str]:
    """In lower case, as they go on within the sentence. With the harness's delimiter, a second
    space: without this one scores would not be its scores."""
    choices = (document["choice1"], document["choice2"])
    return [f" {one[0].lower()}{one[1:]}" for one in choices]


def winogrande_answer(document: Document) -> int:
    """A number, by which the harness knows that it is contexts that differ, not continuations."""
    return int(document["answer"]) - 1


def winogrande_beginnings(document: Document) -> list[str]:
    """The sentence up to the blank, with each option in it."""
    before = document["sentence"].partition("_")[0]
    return [before + document["option1"], before + document["option2"]]


def winogrande_rest(document: Document) -> str:
    """The sentence behind the blank: what is scored."""
    return str(document["sentence"]).partition("_")[2].strip()


def mbpp_solution(document: Document) -> str:
    """With the line ends that a model writes: some of the published ones are Windows'."""
    return str(document["code"]).replace("\r\n", "\n")
