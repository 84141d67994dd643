"""The functions of ops in plain numpy and Python: slow, short, and what the tests compare with."""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import islice
from math import ceil, floor, isqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from megatron_codemix.ops.best_fit import PackedRows
from megatron_codemix.ops.ngrams import MERSENNE_PRIME, WITHOUT_SPACES, MinHashFunctions
from megatron_codemix.ops.text import (
    LineStatistics,
    Mark,
    MarkKind,
    Repetition,
    WordStatistics,
    is_symbol,
)
from megatron_codemix.ops.token_gather import RowParts


def build_document_index(
    documents: range,
    num_epochs: int,
    rng: np.random.RandomState,
    separate_final_epoch: bool = False,
) -> npt.NDArray[np.signedinteger]:
    """See ops.build_document_index."""
    is_small = documents.stop - 1 <= np.iinfo(np.int32).max
    together = num_epochs - 1 if separate_final_epoch and num_epochs > 1 else num_epochs
    parts = [np.tile(documents, together), np.tile(documents, num_epochs - together)]
    for part in parts:
        rng.shuffle(part)
    return np.concatenate(parts).astype(np.int32 if is_small else np.int64)


def build_sample_index(
    document_lengths: npt.NDArray[np.int32],
    document_index: npt.NDArray[np.signedinteger],
    *,
    num_tokens: int,
    sequence_length: int,
    drop_last: bool = True,
    extra_token: bool = True,
) -> npt.NDArray[np.signedinteger]:
    """See ops.build_sample_index."""
    extra = int(extra_token)
    if drop_last:
        num_samples = (num_tokens - extra) // sequence_length
    else:
        num_samples = ceil(np.float32(num_tokens - extra) / np.float32(sequence_length))
    lengths = document_lengths[document_index].astype(np.int64)
    ends = np.cumsum(lengths)
    # Sample s > 0 starts in the document with the last token of sample s - 1.
    reached = np.arange(1, num_samples + 1) * sequence_length + extra
    position = np.searchsorted(ends, reached, side="left")
    is_inside = position < len(lengths)
    position = np.where(is_inside, position, len(lengths) - 1)
    starts = ends[position] - lengths[position]
    offset = np.where(is_inside, reached - extra - starts, lengths[position] - extra)
    rows = np.stack([np.append(0, position), np.append(0, offset)], axis=1)
    is_small = document_index.dtype == np.int32 and len(document_index) <= np.iinfo(np.int32).max
    return rows.astype(np.int32 if is_small else np.int64)


def build_document_and_sample_index(
    document_lengths: npt.NDArray[np.int32],
    num_epochs: int,
    rng: np.random.RandomState,
    separate_final_epoch: bool = False,
    **layout: Any,  # Any: build_sample_index's options
) -> tuple[npt.NDArray[np.signedinteger], npt.NDArray[np.signedinteger]]:
    """See ops.build_document_and_sample_index."""
    documents = range(len(document_lengths))
    document_index = build_document_index(documents, num_epochs, rng, separate_final_epoch)
    return document_index, build_sample_index(document_lengths, document_index, **layout)


def build_shuffle_index(
    num_samples: int, size: int, rng: np.random.RandomState
) -> npt.NDArray[np.integer]:
    """See ops.build_shuffle_index."""
    dtype = np.uint32 if size < np.iinfo(np.uint32).max - 1 else np.int64
    first = np.arange(num_samples, dtype=dtype)
    rest = np.arange(num_samples, size, dtype=dtype)
    rng.shuffle(first)
    rng.shuffle(rest)
    return np.concatenate([first, rest])


def build_blending_index(
    weights: npt.NDArray[np.float64], size: int
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """See ops.build_blending_index."""
    drawn = np.zeros(len(weights), np.int64)
    dataset_index = np.empty(size, np.int16)
    dataset_sample_index = np.empty(size, np.int64)
    for sample in range(size):
        furthest_behind = int(np.argmax(weights * max(sample, 1) - drawn))
        dataset_index[sample] = furthest_behind
        dataset_sample_index[sample] = drawn[furthest_behind]
        drawn[furthest_behind] += 1
    return dataset_index, dataset_sample_index


def build_earliest_deadline_order(
    weights: npt.NDArray[np.int64],
    num_samples: int,
    counts: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """See ops.build_earliest_deadline_order. In exact fractions, straight from the definition."""
    k = len(weights)
    margin = Fraction(1, 2 * k - 2) if k > 1 else Fraction(1)
    shares = [Fraction(int(weight), int(weights.sum())) for weight in weights]
    drawn = [0] * k if counts is None else [int(count) for count in counts]
    start = sum(drawn)
    order = np.empty(num_samples, np.int16)
    draws = np.empty(num_samples, np.int64)
    for now in range(start + 1, start + num_samples + 1):
        allowed = [i for i in range(k) if now * shares[i] - drawn[i] >= margin]
        # Due: the first sample number t with t * share - drawn > 1 - margin.
        due = {i: floor((drawn[i] + 1 - margin) / shares[i]) + 1 for i in allowed}
        source = min(allowed, key=lambda i: (due[i], i))
        order[now - start - 1] = source
        draws[now - start - 1] = drawn[source]
        drawn[source] += 1
    return order, draws


def count_earliest_deadline_draws(
    weights: npt.NDArray[np.int64], num_samples: int
) -> npt.NDArray[np.int64]:
    """See ops.count_earliest_deadline_draws. By going through all of them."""
    order, _ = build_earliest_deadline_order(weights, num_samples)
    return np.bincount(order, minlength=len(weights))


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


def gather_windows(
    arrays: Sequence[npt.NDArray[np.integer]], parts: RowParts, num_rows: int, width: int, fill: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The windows of ops.TokenGather, [num_rows, width], and the tokens of each."""
    rows: list[list[int]] = [[] for _ in range(num_rows)]
    for source, row, first, length in zip(*(column.tolist() for column in parts), strict=True):
        rows[row] += arrays[source][first : first + length].tolist()
    counts = np.array([len(row) for row in rows], np.int64)
    padded = [row + [fill] * (width - len(row)) for row in rows]
    return np.array(padded, np.int64).reshape(num_rows, width), counts


def fill_document_positions(
    document_lengths: Sequence[npt.NDArray[np.int32]],
    parts: RowParts,
    document: npt.NDArray[np.int64],
    offset: npt.NDArray[np.int64],
    document_ids: npt.NDArray[np.int64],
    position_ids: npt.NDArray[np.int64],
) -> None:
    """See ops.fill_document_positions. Token by token."""
    num_rows, width = document_ids.shape
    rows: list[list[tuple[int, int]]] = [[] for _ in range(num_rows)]
    for i, row in enumerate(parts.row.tolist()):
        lengths = document_lengths[parts.source[i]]
        owners = np.repeat(np.arange(len(lengths)), lengths)
        start = int(lengths[: document[i]].sum() + offset[i])
        position = 0
        for token in range(start, start + int(parts.length[i])):
            is_border = token > start and owners[token] != owners[token - 1]
            position = 0 if is_border else position
            rows[row].append((int(owners[token]), position))
            position += 1
    for row, known in enumerate(rows):
        padding = [(-1, position) for position in range(width - len(known))]
        document_ids[row], position_ids[row] = np.array((known + padding)[:width]).T


class SplitTree:
    """See ops.SplitTree. In exact fractions, from the definition in csrc/mixture/split_tree.h."""

    def __init__(
        self,
        units: npt.NDArray[np.int64],
        log2_spacing: int,
        children: npt.NDArray[np.int32],
        num_samples: int,
    ) -> None:
        """Plans up to `num_samples`."""
        self.children = children.tolist()
        spacing = 2**log2_spacing
        shares = [[Fraction(int(n), 2**20) for n in row] for row in units]
        times = [Fraction(2 * sample + 1, 2 * spacing) for sample in range(num_samples)]
        per_sample = [_on_the_line(shares, time) for time in times]
        planned = np.cumsum([[Fraction(0)] * units.shape[1], *per_sample], axis=0)
        self.planned = planned.T.tolist()
        """Samples planned for each source before each time [sources][num_samples + 1]."""
        self.last = [[row[source] for row in shares] for source in range(units.shape[1])]

    def counts(self, n: int) -> list[int]:
        """Draws of each source among the first `n` samples."""
        found = [0] * len(self.planned)
        waiting = [(0 if self.children else ~0, n)]
        while waiting:
            child, arrivals = waiting.pop()
            if child < 0:
                found[~child] = arrivals
                continue
            left, right = self.children[child]
            to_left = floor(self._left_planned(child, arrivals) + Fraction(1, 2))
            waiting += [(left, to_left), (right, arrivals - to_left)]
        return found

    def _left_planned(self, node: int, arrivals: int) -> Fraction:
        """L(T^-1(arrivals))."""
        left = self._sources(self.children[node][0])
        both = left + self._sources(self.children[node][1])
        planned, left_planned = self._sum(self.planned, both), self._sum(self.planned, left)
        after = bisect_right(planned, arrivals)
        if after == len(planned):
            weights, left_weights = self._sum(self.last, both), self._sum(self.last, left)
            knot = max(knot for knot, weight in enumerate(weights) if weight)
            share = left_weights[knot] / weights[knot]
            return left_planned[-1] + (arrivals - planned[-1]) * share
        grown = planned[after] - planned[after - 1]
        share = (left_planned[after] - left_planned[after - 1]) / grown
        return left_planned[after - 1] + (arrivals - planned[after - 1]) * share

    def _sources(self, child: int) -> list[int]:
        if child < 0:
            return [~child]
        left, right = self.children[child]
        return self._sources(left) + self._sources(right)

    @staticmethod
    def _sum(rows: list[list[Fraction]], chosen: list[int]) -> list[Fraction]:
        return [sum(column, Fraction(0)) for column in zip(*(rows[s] for s in chosen), strict=True)]


def _on_the_line(shares: list[list[Fraction]], time: Fraction) -> list[Fraction]:
    """The shares at `time`, in units of the knots' spacing."""
    knot = min(int(time), len(shares) - 1)
    following = shares[min(knot + 1, len(shares) - 1)]
    return [a + (b - a) * (time - knot) for a, b in zip(shares[knot], following, strict=True)]


def locate_in_period(
    order: npt.NDArray[np.int16],
    draws: npt.NDArray[np.int32],
    draws_per_period: npt.NDArray[np.int64],
    samples: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """See ops.locate_in_period."""
    periods, position = np.divmod(samples, len(order))
    sources = order[position]
    numbers = draws[position] + periods * draws_per_period[sources]
    return sources, numbers.astype(np.int64)


def find_unchecked_blocks(
    first: npt.NDArray[np.int64],
    length: npt.NDArray[np.int64],
    block_shift: int,
    num_items: int,
    is_checked: npt.NDArray[np.bool_],
) -> npt.NDArray[np.int64]:
    """See ops.find_unchecked_blocks."""
    is_touched = np.zeros(num_items, bool)
    for begin, count in zip(first.tolist(), length.tolist(), strict=True):
        is_touched[begin : begin + count] = True
    blocks = np.unique(np.flatnonzero(is_touched) >> block_shift)
    return blocks[~is_checked[blocks]]


def pack_best_fit(document_lengths: npt.NDArray[np.int32], row_length: int) -> PackedRows:
    """See ops.pack_best_fit. Looks at every row for every piece."""
    full = [
        (document, offset, row_length)
        for document, length in enumerate(document_lengths.tolist())
        for offset in range(0, length - row_length + 1, row_length)
    ]
    rests = [
        (document, length - length % row_length, length % row_length)
        for document, length in enumerate(document_lengths.tolist())
        if length % row_length
    ]
    rows: list[list[tuple[int, int, int]]] = []
    room: list[int] = []
    used: list[int] = []  # when the row got its room
    for now, piece in enumerate(sorted(rests, key=lambda piece: (-piece[2], piece[0]))):
        fitting = [row for row in range(len(rows)) if room[row] >= piece[2]]
        if fitting:
            row = min(fitting, key=lambda row: (room[row], -used[row]))
        else:
            row = len(rows)
            rows.append([])
            room.append(row_length)
            used.append(now)
        rows[row].append(piece)
        room[row] -= piece[2]
        used[row] = now
    ordered = [sorted(row, key=lambda piece: (piece[1] == 0, piece[0])) for row in rows]
    ordered += [[piece] for piece in full]
    starts = np.cumsum([0, *(len(row) for row in ordered)], dtype=np.int64)
    pieces = np.array([piece for row in ordered for piece in row], np.int64).reshape(-1, 3)
    return PackedRows(starts, pieces[:, 0], pieces[:, 1], pieces[:, 2].astype(np.int32))


def count_lines(text: str) -> LineStatistics:
    """See ops.count_lines."""
    lines = text.splitlines()
    return LineStatistics(
        num_characters=len(text),
        num_lines=len(lines),
        line_characters=sum(map(len, lines)),
        longest_line=max(map(len, lines), default=0),
        num_alphabetic=sum(map(str.isalpha, text)),
        num_alphanumeric=sum(map(str.isalnum, text)),
    )


def count_words(text: str, common_words: Sequence[str] = ()) -> WordStatistics:
    """See ops.count_words."""
    words = text.split()
    spoken = [word for word in words if not all(map(is_symbol, word))]
    lines = text.splitlines()
    with_words = [line.split() for line in lines if line.split()]
    ends = [[_ends_sentence(word) for word in line] for line in with_words]
    return WordStatistics(
        num_characters=len(text),
        num_words=len(words),
        longest_word=max(map(len, words), default=0),
        num_spoken_words=len(spoken),
        spoken_characters=sum(map(len, spoken)),
        num_alphabetic_words=sum(any(map(str.isalpha, word)) for word in words),
        num_hashes=text.count("#"),
        num_ellipses=text.count("...") + text.count("\u2026"),
        num_lines=len(lines),
        num_bullet_lines=sum(line.lstrip().startswith(("-", "\u2022")) for line in lines),
        num_ellipsis_lines=sum(line.rstrip().endswith(("...", "\u2026")) for line in lines),
        num_sentences=sum(sum(line) + (not line[-1]) for line in ends),
        num_distinct_common=len(set(common_words) & set(words)),
    )


def _ends_sentence(word: str) -> bool:
    return word.rstrip("\"')]\u201d\u2019").endswith((".", "!", "?"))


def count_repetition(text: str) -> Repetition:
    """See ops.count_repetition."""
    lines = re.split(r"\n+", text)
    paragraphs = re.split(r"\n{2,}", text.strip())
    words = text.split()
    return Repetition(
        num_characters=len(text),
        num_lines=len(lines),
        num_duplicate_lines=len(_later_ones(lines)),
        duplicate_line_characters=sum(map(len, _later_ones(lines))),
        num_paragraphs=len(paragraphs),
        num_duplicate_paragraphs=len(_later_ones(paragraphs)),
        duplicate_paragraph_characters=sum(map(len, _later_ones(paragraphs))),
        top_ngram_characters=tuple(_top_ngram(words, n) for n in (2, 3, 4)),  # type: ignore[arg-type]  # three
        duplicate_ngram_characters=tuple(_duplicate_ngrams(words, n) for n in range(5, 11)),  # type: ignore[arg-type]  # six
    )


def _later_ones(pieces: list[str]) -> list[str]:
    return [piece for i, piece in enumerate(pieces) if piece in pieces[:i]]


def _top_ngram(words: list[str], n: int) -> int:
    counts = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    if not counts:
        return 0
    ngram, count = counts.most_common(1)[0]
    return len(" ".join(ngram)) * count


def _duplicate_ngrams(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    place = characters = 0
    while place + n <= len(words):
        ngram = tuple(words[place : place + n])
        if ngram in seen:
            characters += len("".join(ngram))
            place += n
        else:
            seen.add(ngram)
            place += 1
    return characters


_AT = re.compile(r"(?<=[A-Za-z0-9+/_.%-])@(?=[A-Za-z0-9])")
_ADDRESS_START = r"(?<![A-Za-z0-9_.\u0080-\U0010ffff])"
_FOUR_NUMBERS = re.compile(_ADDRESS_START + r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?![0-9])(?!\.[0-9])")
_COLONS = re.compile(
    _ADDRESS_START + r"(?<!:)(?=(?:[0-9A-Fa-f]*:){2})[23][0-9A-Fa-f]{3}:[0-9A-Fa-f:]*"
)
_KEY_CHARACTERS = re.compile(r"[A-Za-z0-9+/_-]{16,}")
_CHANGE = re.compile(r"(?=[a-z][A-Z0-9]|[A-Z][a-z0-9]|[0-9][A-Za-z])")


def find_private_marks(text: str, literals: Sequence[str] = ()) -> list[Mark]:
    """See ops.find_private_marks; marks that begin at one place in any order."""
    marks = [Mark(MarkKind.AT, -1, *match.span()) for match in _AT.finditer(text)]
    marks += [
        Mark(MarkKind.FOUR_NUMBERS, -1, *match.span()) for match in _FOUR_NUMBERS.finditer(text)
    ]
    marks += [Mark(MarkKind.COLONS, -1, *match.span()) for match in _COLONS.finditer(text)]
    for match in _KEY_CHARACTERS.finditer(text):
        run = match.group()
        is_mixed = re.search("[0-9]", run) and re.search("[A-Za-z]", run)
        if is_mixed and 4 * len(_CHANGE.findall(run)) >= len(run):
            marks.append(Mark(MarkKind.RANDOM, -1, *match.span()))
    for begin in range(len(text)):
        found = (i for i, literal in enumerate(literals) if text.startswith(literal, begin))
        marks += [Mark(MarkKind.LITERAL, i, begin, begin + 1) for i in islice(found, 1)]
    return sorted(marks, key=lambda mark: mark.begin)


_WORD = rf"(?=\w)[{WITHOUT_SPACES}]|(?:(?![{WITHOUT_SPACES}])\w)+"


def join_words(text: str) -> str:
    """See ops.join_words."""
    return " ".join(re.findall(_WORD, "".join(character.lower()[0] for character in text)))


def find_words(text: str) -> npt.NDArray[np.int64]:
    """See ops.find_words."""
    places = [word.span() for word in re.finditer(_WORD, text)]
    return np.array(places, np.int64).reshape(-1, 2)


def hash_ngrams(text: str, n: int, xxh64: Callable[[bytes], int]) -> npt.NDArray[np.uint64]:
    """See ops.hash_ngrams. xxh64: the xxhash package's, which is no requirement of ours."""
    words = join_words(text).split()
    ngrams = [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]
    return np.array([xxh64(ngram.encode()) for ngram in ngrams], np.uint64)


def hash_gates(text: str, n: int, xxh64: Callable[[bytes], int]) -> npt.NDArray[np.uint64]:
    """See ops.hash_gates."""
    words = [xxh64(word.encode()) for word in join_words(text).split()]
    base = 0x9E3779B97F4A7C15
    hashes = [
        sum(word * base ** (n - 1 - place) for place, word in enumerate(words[i : i + n])) % 2**64
        for i in range(len(words) - n + 1)
    ]
    return np.array(hashes, np.uint64)


def sign_shingles(
    shingles: npt.NDArray[np.uint64], functions: MinHashFunctions
) -> npt.NDArray[np.uint64]:
    """See ops.MinHash.sign_shingles. In Python's whole numbers."""
    pairs = list(zip(*(numbers.tolist() for numbers in functions), strict=True))
    least = [
        min(((x * a + b) % 2**64 % MERSENNE_PRIME for x in shingles.tolist()), default=2**64 - 1)
        for a, b in pairs
    ]
    return np.array(least, np.uint64)
