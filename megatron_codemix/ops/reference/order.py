"""The stateless order: a keyed permutation, and the windows that it leads to."""

from collections.abc import Iterator, Sequence
from itertools import islice
from math import isqrt

import numpy as np
import numpy.typing as npt


def splitmix64(seed: int) -> Iterator[int]:
    """The words of SplitMix64 (Steele, Lea, Flood 2014)."""
    state = seed
    while True:
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        word = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        yield word ^ (word >> 31)


def draw_below(size: int, words: Iterator[int]) -> int:
    """Uniform on [0, size): the high word of word * size, not if the low is below 2^64 % size."""
    products = (word * size for word in words)
    return next(product >> 64 for product in products if product % 2**64 >= 2**64 % size)


def permute(
    positions: npt.NDArray[np.int64],
    size: int,
    key: int,
    *,
    rounds: int = 8,
    max_table_size: int = 65_536,
) -> npt.NDArray[np.int64]:
    """See ops.permute. With fewer rounds or without tables it shows what these are for."""
    words = splitmix64(key)
    if size <= max_table_size:
        table = list(range(size))
        for last in range(size - 1, 0, -1):
            partner = draw_below(last + 1, words)
            table[last], table[partner] = table[partner], table[last]
        return np.array([table[position] for position in positions], np.int64)
    keys = [next(words) for _ in range(rounds)]
    values = []
    for position in positions.tolist():
        value = _feistel(position, size, keys)
        while value >= size:
            value = _feistel(value, size, keys)
        values.append(value)
    return np.array(values, np.int64)


def _feistel(value: int, size: int, keys: Sequence[int]) -> int:
    height = isqrt(size - 1) + 1
    width = -(-size // height)
    left, right = divmod(value, width)
    for number, key in enumerate(keys):
        half, size_of_other = (left, width) if number % 2 else (right, height)
        mixed = (half + key) * 0xD6E8FEB86659FD93 % 2**64
        mixed = (mixed ^ (mixed >> 32)) * 0x9FB21C651E98DF25 % 2**64
        step = mixed * size_of_other >> 64
        if number % 2:
            right = (right + step) % width
        else:
            left = (left + step) % height
    return left * width + right


def window_parts(
    cursors: npt.NDArray[np.int64], num_tokens: int, sequence_length: int, key: int
) -> list[tuple[int, int, int]]:
    """See ops.WindowOrder.parts: (row, first, length) of each piece."""
    windows_per_epoch = (num_tokens - 1) // sequence_length
    parts = []
    for row, cursor in enumerate(cursors.tolist()):
        epoch, position = divmod(cursor, windows_per_epoch)
        words = splitmix64(next(islice(splitmix64(key), epoch, None)))
        offset = draw_below(num_tokens, words)
        window = int(permute(np.array([position]), windows_per_epoch, next(words))[0])
        first = (offset + window * sequence_length) % num_tokens
        length = min(sequence_length + 1, num_tokens - first)
        parts.append((row, first, length))
        if length < sequence_length + 1:
            parts.append((row, 0, sequence_length + 1 - length))
    return parts
