"""Items of evaluations, and the n-grams by which each is looked for.

Brown et al. 2020 (GPT-3), appendix C: 13 words in a row. An item whose texts are all shorter is
looked for by the longest of them as a whole; is that shorter than eight words too, another of its
texts has to stand in the same document, one of at least three characters if there are such.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops import hash_gates, hash_ngrams, join_words

PROSE_NGRAM = 13
CODE_NGRAM = 10
MIN_WHOLE_WORDS = 8
_TEMPLATE_ITEMS = 10
_TEMPLATE_SHARE = 0.05
_GATE_WORDS = 3
_MIN_COMPANY_CHARACTERS = 3
_FIRST_WITHOUT_SPACES = "\u0e00"  # about: what comes before it has alphabets


class Item(NamedTuple):
    """texts: what a document may hold: question, passage, choices, program."""

    id: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationTask:
    """ngram: words in a row by which its items are looked for."""

    name: str
    items: tuple[Item, ...]
    ngram: int = PROSE_NGRAM


@dataclass(frozen=True)
class Needle:
    """A text of an item. `hashes` are of every `length` words in a row, from the first on, where
    `is_told` says which tell the item from others; `gates` of the first `gate_length` of each."""

    length: int
    gate_length: int
    hashes: npt.NDArray[np.uint64]
    gates: npt.NDArray[np.uint64]
    is_told: npt.NDArray[np.bool_]

    def whole(self) -> "Needle":
        """As if all told the item from others."""
        is_told = np.ones(len(self.hashes), np.bool_)
        return Needle(self.length, self.gate_length, self.hashes, self.gates, is_told)

    def without(self, hashes: npt.NDArray[np.uint64]) -> "Needle":
        """As if these told nothing."""
        is_told = self.is_told & ~np.isin(self.hashes, hashes)
        return Needle(self.length, self.gate_length, self.hashes, self.gates, is_told)


@dataclass(frozen=True)
class SoughtItem:
    """company: of these texts, as words, one has to be in the document too; empty: none has to."""

    task: str
    item: Item
    needles: tuple[Needle, ...]
    company: tuple[str, ...]


def sought_items(task: EvaluationTask) -> list[SoughtItem]:
    """How each item of a task that has any words is looked for.

    N-grams that tell nothing are left out, unless an item has no others: those of numbers, single
    letters and repetitions (1 2 3 4, for i in range n for j in range n), and as the task's manner
    of speaking those of more than 5% of its items and more than ten.
    """
    found = [_sought(task, item) for item in task.items]
    sought = [one for one in found if one is not None]
    templates = _templates(sought)
    return [_without_templates(one, templates) for one in sought]


def _sought(task: EvaluationTask, item: Item) -> SoughtItem | None:
    words = list(dict.fromkeys(join_words(text) for text in item.texts))
    counts = {text: text.count(" ") + 1 for text in words if text}
    if not counts:
        return None
    long = [text for text, count in counts.items() if count >= task.ngram]
    if long:
        needles = tuple(_needle(text, task.ngram, task.ngram) for text in long)
        return SoughtItem(task.name, item, needles, ())
    main, count = max(counts.items(), key=lambda pair: pair[1])
    company: tuple[str, ...] = ()
    if count < MIN_WHOLE_WORDS:
        others = [text for text in counts if text != main]
        telling = [text for text in others if len(text) >= _MIN_COMPANY_CHARACTERS]
        company = tuple(telling or others)
    needle = _needle(main, count, min(count, _GATE_WORDS))
    return SoughtItem(task.name, item, (needle,), company)


def _needle(words: str, length: int, gate_length: int) -> Needle:
    hashes = hash_ngrams(words, length)
    gates = hash_gates(words, gate_length)[: len(hashes)]
    return Needle(length, gate_length, hashes, gates, _tells(words.split(" "), length))


def _tells(words: list[str], length: int) -> npt.NDArray[np.bool_]:
    """Of every `length` words in a row, whether half as many different ones are no number and no
    single letter; an ideograph is no letter."""
    kinds = [word if len(word) > 1 or word > _FIRST_WITHOUT_SPACES else "" for word in words]
    kinds = ["" if word.isdecimal() else word for word in kinds]
    wanted = length // 2
    return np.array(
        [len(set(kinds[i : i + length]) - {""}) >= wanted for i in range(len(words) - length + 1)]
    )


def _templates(sought: Sequence[SoughtItem]) -> npt.NDArray[np.uint64]:
    counts = Counter(
        one for item in sought for one in np.unique(_all_hashes(item.needles)).tolist()
    )
    limit = max(_TEMPLATE_ITEMS, _TEMPLATE_SHARE * len(sought))
    return np.array([one for one, count in counts.items() if count > limit], np.uint64)


def _all_hashes(needles: Iterable[Needle]) -> npt.NDArray[np.uint64]:
    return np.concatenate([needle.hashes for needle in needles])


def _without_templates(item: SoughtItem, templates: npt.NDArray[np.uint64]) -> SoughtItem:
    needles = tuple(needle.without(templates) for needle in item.needles)
    if not any(needle.is_told.any() for needle in needles):
        needles = tuple(needle.whole() for needle in item.needles)
    return SoughtItem(item.task, item.item, needles, item.company)
