"""Items as long as those of the real tasks, where no data is given: what a model computes depends
on their lengths alone. Files are in formats that the task files read. Free of torch.
"""

import random
import re
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from megatron_codemix.files import rewrite_jsonl

# Deciles of lengths in characters, least and greatest included, of the published test and
# validation sets: without "Question: " and the like, which the task files add.
_ARC_QUESTION = (18, 46, 57, 67, 78, 92, 110, 131, 161, 211, 758)
_ARC_CHOICE = (1, 6, 8, 10, 13, 17, 23, 30, 37, 46, 137)
_BOOLQ_PASSAGE = (38, 229, 308, 372, 435, 495, 570, 650, 767, 943, 4781)
_BOOLQ_QUESTION = (21, 35, 37, 39, 41, 42, 44, 46, 48, 52, 801)
_COPA_PREMISE = (9, 17, 23, 27, 30, 33, 36, 39, 41, 45, 65)
_COPA_CHOICE = (12, 17, 20, 23, 26, 28, 30, 33, 37, 41, 63)
_WINOGRANDE_BEGINNING = (2, 53, 59, 63, 68, 72, 77, 81, 88, 101, 148)
_WINOGRANDE_REST = (1, 10, 13, 15, 18, 22, 25, 29, 34, 41, 99)
_HUMANEVAL_PROMPT = (115, 217, 261, 315, 361, 396, 446, 490, 608, 772, 1360)

Item = Mapping[str, Any]  # Any: JSON values


class Writer:
    """Text of the Python installation's own sources, in pieces of given lengths."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        paths = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
        sources = [path.read_text(encoding="utf-8", errors="ignore") for path in paths]
        # Words that stand in a row: comments and docstrings, not code.
        runs = re.findall(r"[A-Za-z]+(?: [a-z]+){4,}", "\n".join(sources))
        self._words: list[str] = [word for run in runs for word in run.split()]
        self._functions = [
            source[match.start() :]
            for source in sources
            for match in re.finditer(r"^def ", source, re.MULTILINE)
        ]

    def words(self, deciles: Sequence[int]) -> str:
        """Words as they follow one another, about as many characters as are drawn."""
        length = self._length(deciles)
        place = self._random.randrange(len(self._words) - length - 1)
        text = self._words[place]
        while len(text) < length:
            place += 1
            text += f" {self._words[place]}"
        return text

    def function(self, deciles: Sequence[int]) -> str:
        """The beginning of a source from a function on, up to a line's end."""
        length = self._length(deciles)
        text = self._random.choice([each for each in self._functions if len(each) > length])
        return text[: text.find("\n", length) + 1 or length]

    def number(self, below: int) -> int:
        """One of 0, 1, ..."""
        return self._random.randrange(below)

    def _length(self, deciles: Sequence[int]) -> int:
        low, high = self._random.choice(list(pairwise(deciles)))
        return self._random.randint(low, high)


def _arc_easy(writer: Writer) -> Item:
    return {
        "query": writer.words(_ARC_QUESTION) + "?",
        "choices": [writer.words(_ARC_CHOICE) for _ in range(4)],
        "gold": writer.number(4),
    }


def _boolq(writer: Writer) -> Item:
    passage, question = writer.words(_BOOLQ_PASSAGE), writer.words(_BOOLQ_QUESTION)
    return {
        "query": f"Passage: {passage}.\nQuestion: {question}?",
        "choices": ["no", "yes"],
        "gold": writer.number(2),
    }


def _copa(writer: Writer) -> Item:
    return {
        "query": f"{writer.words(_COPA_PREMISE)}, {('because', 'therefore')[writer.number(2)]}",
        "choices": [writer.words(_COPA_CHOICE) + "." for _ in range(2)],
        "gold": writer.number(2),
    }


def _winogrande(writer: Writer) -> Item:
    beginning = writer.words(_WINOGRANDE_BEGINNING)
    return {
        "context_options": [f"{beginning} {name}" for name in ("Maria", "Sarah")],
        "continuation": writer.words(_WINOGRANDE_REST) + ".",
        "gold": writer.number(2),
    }


CHOICE_TASKS: Mapping[str, Callable[[Writer], Item]] = {
    "arc_easy": _arc_easy,
    "boolq": _boolq,
    "copa": _copa,
    "winogrande": _winogrande,
}
"""What makes an item of each task."""


def write_choice_items(folder: Path, num_items: int, seed: int) -> None:
    """A file of each of CHOICE_TASKS."""
    folder.mkdir(parents=True, exist_ok=True)
    writer = Writer(seed)
    for name, make in CHOICE_TASKS.items():
        items = [dict(make(writer)) for _ in range(num_items)]
        rewrite_jsonl(folder / f"{name}.jsonl", items)


def code_prompts(num_prompts: int, seed: int) -> list[str]:
    """Beginnings of functions, as long as HumanEval's."""
    writer = Writer(seed)
    return [writer.function(_HUMANEVAL_PROMPT) for _ in range(num_prompts)]
