"""Scoring requests -> rows of tokens -> batches. Free of torch.

A row is a tree of tokens: the beginning that the contexts of some requests have in common (a
passage, examples), what each of them adds to it (a question), and what its continuations add to
that. A piece of the tree sees itself and the pieces that it continues, at the positions that it
would have alone, so a context is computed once for all that continues it. The last token of a
continuation is never fed: nothing is asked after it.

Shapes: B rows, S places of the longest row, N places whose output is asked for, T tokens that are
scored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.engine.requests import ScoreRequest

_PADDING_TOKEN = 0


@dataclass(frozen=True)
class Owner:
    """What a part of a row's scored tokens belongs to."""

    request: int
    continuation: int
    num_tokens: int
    num_cut: int


class Piece(NamedTuple):
    """A part of a row that continues another one."""

    start: int
    """Its first place; it ends where the next piece of its row begins."""
    parent: int
    """The place that it continues."""


@dataclass
class Row:
    """One sequence of the model's input."""

    tokens: list[int] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)
    """By start; empty where the row is plain text."""
    places: list[int] = field(default_factory=list)
    """Of each scored token: the place whose output predicts it."""
    targets: list[int] = field(default_factory=list)
    """The scored tokens."""
    owners: list[Owner] = field(default_factory=list)
    """Whose they are, in order."""

    def grow(self, tokens: Sequence[int], parent: int) -> int:
        """Adds tokens that continue the place `parent`, -1 being before the first; where the text
        ends then."""
        if len(tokens) == 0:
            return parent
        if parent != len(self.tokens) - 1:
            self.pieces.append(Piece(len(self.tokens), parent))
        self.tokens.extend(tokens)
        return len(self.tokens) - 1

    def ask(self, continuation: Sequence[int], parent: int, owner: Owner) -> None:
        """Has a continuation of the place `parent` scored."""
        self.places.append(parent)
        for token in continuation[:-1]:
            parent = self.grow([token], parent)
            self.places.append(parent)
        self.targets.extend(continuation)
        self.owners.append(owner)


@dataclass(frozen=True)
class ScoringBatch:
    """Rows of one forward pass."""

    tokens: np.ndarray
    """int64 [B, S], padded on the right."""
    pieces: list[list[Piece]] | None
    """Of each row; None where all are plain text."""
    lengths: list[int]
    """Places of each row that are not padding."""
    places: np.ndarray
    """int64 [N]: row + place * B, each once."""
    asked: np.ndarray
    """int64 [T]: of each scored token, the number of its place in `places`."""
    targets: np.ndarray
    """int64 [T]: the scored tokens."""

    @property
    def num_places(self) -> int:
        """Places with padding: what the batch costs."""
        return self.tokens.size

    def positions(self) -> np.ndarray:
        """int64 [B, S]: those that a token would have alone; of padding, any."""
        size, length = self.tokens.shape
        positions = np.tile(np.arange(length), (size, 1))
        for row, pieces in enumerate(self.pieces or []):
            ends = [*(piece.start for piece in pieces[1:]), self.lengths[row]]
            for piece, end in zip(pieces, ends, strict=True):
                first = positions[row, piece.parent] + 1
                positions[row, piece.start : end] = np.arange(first, first + end - piece.start)
            positions[row, self.lengths[row] :] = 0
        return positions

    def is_hidden(self) -> np.ndarray | None:
        """bool [B, S, S]: whether a place (second dimension) must not see another (third); None: it
        sees all before it. Each sees itself, padding too: a softmax over nothing is not a number,
        and would spread through the values that others weigh with 0."""
        if self.pieces is None:
            return None
        size, length = self.tokens.shape
        is_hidden = np.tile(~np.tri(length, dtype=bool), (size, 1, 1))
        for row, pieces in enumerate(self.pieces):
            for start, parent in pieces:
                is_hidden[row, start:, :start] = is_hidden[row, parent, :start]
        return is_hidden


def rows_of(
    requests: Sequence[ScoreRequest], *, max_length: int, width: int, max_shared: int
) -> Iterator[Row]:
    """Rows of all requests. What texts begin with is in one row where that is cheaper; a
    continuation is in a row of its own where it must lose context to fit `max_length`.

    width: of the model, which decides what a place costs beside what looking at another costs.
    max_shared: places of a row of several requests.
    Raises DataError for a continuation that is longer than `max_length`.
    """
    whole = []
    for number, request in enumerate(requests):
        _check(number, request, max_length)
        longest = max(len(continuation) for continuation in request.continuations)
        fits = len(request.context) + longest <= max_length + 1
        if fits and _is_cheaper_whole(request, width):
            whole.append(number)
        else:
            for choice in range(len(request.continuations)):
                yield _lone_row(number, choice, request, max_length)
    whole.sort(key=lambda number: list(requests[number].context))
    for common, numbers in _alike(requests, whole, width, max_shared):
        yield _tree(requests, common, numbers)


def _check(number: int, request: ScoreRequest, max_length: int) -> None:
    assert len(request.context) > 0, f"request {number}: a context has a token, the prefix token"
    for continuation in request.continuations:
        assert len(continuation) > 0, f"request {number}: an empty continuation has no likelihood"
        if len(continuation) > max_length:
            raise DataError(
                f"request {number}: a continuation of {len(continuation)} tokens is longer than "
                f"the model's context of {max_length}; score it in pieces (a rolling likelihood), "
                "or leave the item out"
            )


def _is_cheaper_whole(request: ScoreRequest, width: int) -> bool:
    """Whether one row for all continuations costs less than one for each."""
    lengths = [len(request.context) + len(each) - 1 for each in request.continuations]
    apart = sum(_cost(length, width, is_plain=True) for length in lengths)
    return _cost_whole(request, _size(request), width) <= apart


def _alike(
    requests: Sequence[ScoreRequest], numbers: Sequence[int], width: int, max_shared: int
) -> Iterator[tuple[int, list[int]]]:
    """(tokens that their contexts have in common, numbers of the requests of one row), for requests
    that are sorted by context; a row takes one request more as long as that is cheaper."""
    group: list[int] = []
    common = size = 0
    cost = 0.0
    for number in numbers:
        request = requests[number]
        own_size = _size(request)
        alone = _cost_whole(request, own_size, width)
        if group:
            shared = min(common, _common(requests[group[-1]].context, request.context))
            joint_size = size + (len(group) - 1) * (common - shared) + own_size - shared
            joint = _cost(joint_size, width, is_plain=False)
            if joint_size <= max_shared and joint < cost + alone:
                group.append(number)
                common, size, cost = shared, joint_size, joint
                continue
            yield common, group
        group, common, size, cost = [number], len(request.context), own_size, alone
    if group:
        yield common, group


def _size(request: ScoreRequest) -> int:
    """Places of one row for all of its continuations."""
    return len(request.context) + sum(len(each) - 1 for each in request.continuations)


def _cost_whole(request: ScoreRequest, size: int, width: int) -> float:
    return _cost(size, width, is_plain=len(request.continuations) == 1)


def _cost(length: int, width: int, *, is_plain: bool) -> float:
    """Of a row, in multiplications of a layer over 2 * width: its matrices have about 12 * width^2
    for each place, attention 2 * width for each pair of places, half of all where the row is plain
    text."""
    return 6 * width * length + length**2 / (2 if is_plain else 1)


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens with which both begin."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _tree(requests: Sequence[ScoreRequest], common: int, numbers: Sequence[int]) -> Row:
    row = Row()
    root = row.grow(requests[numbers[0]].context[:common], -1)
    for number in numbers:
        request = requests[number]
        end = row.grow(request.context[common:], root)
        for choice, continuation in enumerate(request.continuations):
            owner = Owner(number, choice, len(continuation), num_cut=0)
            row.ask(continuation, end, owner)
    return row


def _lone_row(number: int, choice: int, request: ScoreRequest, max_length: int) -> Row:
    """The last `max_length` + 1 tokens of context and continuation, the last of which is not fed:
    what the evaluation harness's own models cut."""
    continuation = request.continuations[choice]
    num_cut = max(0, len(request.context) + len(continuation) - max_length - 1)
    row = Row()
    context = request.context[num_cut:]
    row.ask(continuation, row.grow(context, -1), Owner(number, choice, len(continuation), num_cut))
    return row


def batches_of(
    rows: Sequence[Row], max_batch_tokens: int
) -> list[tuple[ScoringBatch, list[Owner]]]:
    """Batches of at most so many places (a longer row is alone), and whose their scored tokens are;
    the largest rows first. Plain rows, which need no mask, are apart from the others."""
    groups: list[list[Row]] = []
    for is_plain in (False, True):
        chosen = [row for row in rows if (not row.pieces) == is_plain]
        chosen.sort(key=lambda row: -len(row.tokens))
        groups.extend(_groups(chosen, max_batch_tokens))
    groups.sort(key=lambda group: -len(group[0].tokens))
    return [(_batch(group), [owner for row in group for owner in row.owners]) for group in groups]


def _groups(rows: Sequence[Row], max_batch_tokens: int) -> Iterator[list[Row]]:
    """Of rows sorted by length, falling."""
    start = 0
    while start < len(rows):
        size = max(1, max_batch_tokens // len(rows[start].tokens))
        yield list(rows[start : start + size])
        start += size


def _batch(rows: Sequence[Row]) -> ScoringBatch:
    lengths = [len(row.tokens) for row in rows]
    tokens = np.full((len(rows), max(lengths)), _PADDING_TOKEN, dtype=np.int64)
    for number, row in enumerate(rows):
        tokens[number, : len(row.tokens)] = row.tokens
    places_T = np.concatenate(
        [number + len(rows) * np.array(row.places) for number, row in enumerate(rows)]
    )
    places, asked = np.unique(places_T, return_inverse=True)
    return ScoringBatch(
        tokens=tokens,
        pieces=[row.pieces for row in rows] if rows[0].pieces else None,
        lengths=lengths,
        places=places,
        asked=asked,
        targets=np.concatenate([np.array(row.targets) for row in rows]),
    )
