"""Finds the items of evaluations that a document holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megatron_codemix.corpus.contamination.items import (
    EvaluationTask,
    Needle,
    SoughtItem,
    sought_items,
)
from megatron_codemix.ops import NgramIndex, find_words, join_words


@dataclass(frozen=True)
class FoundItem:
    """number: of `ItemIndex.items`.

    words_found, words: of those by which it is looked for.
    first, last: words of the document where it begins and ends, the second behind the last.
    """

    number: int
    words_found: int
    words: int
    first: int
    last: int


@dataclass(frozen=True)
class FoundItems:
    """is_found: of the document's words, whether they are of an item that it holds."""

    items: list[FoundItem]
    is_found: npt.NDArray[np.bool_]

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Begin and end, in characters, of the runs of words that are of items."""
        places = find_words(text)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], self.is_found, [False]])))
        return [
            (int(places[first, 0]), int(places[behind - 1, 1]))
            for first, behind in edges.reshape(-1, 2).tolist()
        ]


class ItemIndex:
    """Memory: 300 bytes for each n-gram of the items."""

    def __init__(self, tasks: Sequence[EvaluationTask]) -> None:
        self.items: list[SoughtItem] = [item for task in tasks for item in sought_items(task)]
        owners, needles = _rows(self.items)
        # An n-gram is what it is and how long: one number for each.
        keys = np.stack([needles["length"].astype(np.uint64), needles["hash"]], axis=1)
        unique, first, number = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        self._lengths = unique[:, 0].astype(np.int32)
        self._index = NgramIndex(
            self._lengths,
            np.ascontiguousarray(unique[:, 1]),
            np.ascontiguousarray(needles["gate_length"][first]),
            np.ascontiguousarray(needles["gate"][first]),
        )
        order = np.argsort(number.ravel(), kind="stable")
        self._owners = owners[order]
        self._starts = np.searchsorted(number.ravel()[order], np.arange(len(unique) + 1))
        self._hashes = unique[:, 1]

    @property
    def num_ngrams(self) -> int:
        return len(self._lengths)

    def find(self, text: str) -> FoundItems | None:
        """None where it holds none."""
        matches = self._index.find(text)
        if not len(matches):
            return None
        words = ""
        found: list[FoundItem] = []
        is_of_found = np.zeros(len(matches), np.bool_)
        for number, rows in self._by_item(matches[:, 1]):
            item = self.items[number]
            if item.company:
                words = words or f" {join_words(text)} "
                if not any(f" {other} " in words for other in item.company):
                    continue
            is_of_found[rows] = True
            found.append(self._measured(number, matches[rows]))
        if not found:
            return None
        return FoundItems(found, self._marked(matches[is_of_found]))

    def _by_item(
        self, entries: npt.NDArray[np.int64]
    ) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Each item that has any of these n-grams, and which of them it has."""
        counts = self._starts[entries + 1] - self._starts[entries]
        rows = np.repeat(np.arange(len(entries)), counts)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        owners = self._owners[self._starts[entries[rows]] + within]
        order = np.argsort(owners, kind="stable")
        edges = np.flatnonzero(np.diff(owners[order])) + 1
        for group in np.split(order, edges):
            yield int(owners[group[0]]), rows[group]

    def _measured(self, number: int, matches: npt.NDArray[np.int64]) -> FoundItem:
        hashes = self._hashes[matches[:, 1]]
        pairs = [_words_of(needle, hashes) for needle in self.items[number].needles]
        return FoundItem(
            number,
            words_found=sum(found for found, _ in pairs),
            words=sum(words for _, words in pairs),
            first=int(matches[:, 0].min()),
            last=int((matches[:, 0] + self._lengths[matches[:, 1]]).max()),
        )

    def _marked(self, matches: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        lengths = self._lengths[matches[:, 1]]
        is_found = np.zeros(int((matches[:, 0] + lengths).max()), np.bool_)
        for first, length in zip(matches[:, 0].tolist(), lengths.tolist(), strict=True):
            is_found[first : first + length] = True
        return is_found


_ROW = np.dtype([("length", "<i4"), ("gate_length", "<i4"), ("hash", "<u8"), ("gate", "<u8")])


def _rows(items: Sequence[SoughtItem]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.void]]:
    """The n-grams that tell items, and the number of the item of each."""
    owners, rows = [np.empty(0, np.int64)], [np.empty(0, _ROW)]
    for number, item in enumerate(items):
        for needle in item.needles:
            told = np.empty(int(needle.is_told.sum()), _ROW)
            told["length"], told["gate_length"] = needle.length, needle.gate_length
            told["hash"] = needle.hashes[needle.is_told]
            told["gate"] = needle.gates[needle.is_told]
            rows.append(told)
            owners.append(np.full(len(told), number, np.int64))
    return np.concatenate(owners), np.concatenate(rows)


def _words_of(needle: Needle, hashes: npt.NDArray[np.uint64]) -> tuple[int, int]:
    """How many of the needle's words are in n-grams that were found; and in any that tell it."""
    is_found = needle.is_told & np.isin(needle.hashes, hashes)
    return _covered(is_found, needle.length), _covered(needle.is_told, needle.length)


def _covered(starts: npt.NDArray[np.bool_], length: int) -> int:
    """Words within `length` words from any of the starts."""
    places = np.flatnonzero(starts)
    if not len(places):
        return 0
    return int(np.minimum(np.diff(places), length).sum()) + length
