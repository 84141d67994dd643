"""A sample of what passes by: the values with the lowest keys, whatever their order."""

import hashlib
from heapq import heappush, heapreplace
from typing import Generic, TypeVar

_Value = TypeVar("_Value")
_64 = (1 << 64) - 1


def key_of(seed: int, name: str, content: bytes) -> int:
    """64 bits that are as good as random, and the same for the same document."""
    data = b"%d\0%b\0%b" % (seed, name.encode(errors="replace"), content)
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


def key_of_piece(key: int, number: int) -> int:
    """A key for a piece of a document from the document's (the output function of splitmix64,
    Steele et al. 2014)."""
    value = (key + (number + 1) * 0x9E3779B97F4A7C15) & _64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _64
    return value ^ (value >> 31)


class Lowest(Generic[_Value]):
    """Keeps the `size` values of lowest key: where keys are random, every choice of so many values
    is equally likely."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = 0
        self._heap: list[tuple[int, int, _Value]] = []  # the highest key first, by its negative

    def wants(self, key: int) -> bool:
        """Whether a value of this key would be kept; asked once for each that passes by."""
        self.seen += 1
        return len(self._heap) < self.size or (self.size > 0 and -key > self._heap[0][0])

    def add(self, key: int, value: _Value) -> None:
        """To be called for what is wanted."""
        entry = (-key, -self.seen, value)  # of equal keys the first; values are not compared
        if len(self._heap) < self.size:
            heappush(self._heap, entry)
        else:
            heapreplace(self._heap, entry)

    def merge(self, other: "Lowest[_Value]") -> None:
        seen = self.seen
        for key, value in other._by_key():
            if self.wants(key):
                self.add(key, value)
        self.seen = seen + other.seen

    def values(self) -> list[_Value]:
        """By key."""
        return [value for _, value in self._by_key()]

    def _by_key(self) -> list[tuple[int, _Value]]:
        ordered = sorted(self._heap, key=lambda entry: (-entry[0], -entry[1]))
        return [(-key, value) for key, _, value in ordered]
