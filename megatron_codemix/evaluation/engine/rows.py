"""Scoring requests -> rows of tokens -> batches. Free of torch.

A row is a trunk, the context of a request, and behind it branches, one for each continuation of
more than one token. A branch sees the trunk and itself, and its positions go on from the trunk's
end, so that a context is computed once for all of its continuations. The last token of a
continuation is never fed: nothing is asked after it.

Shapes: B rows, S places of the longest row, N places whose output is asked for, T tokens that are
scored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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


@dataclass(frozen=True)
class Row:
    """One sequence of the model's input."""

    tokens: list[int]
    branches: list[int]
    """Places where branches begin; empty where the row is plain text. A branch ends where the next
    one begins."""
    places: list[int]
    """Of each scored token: the place whose output predicts it."""
    targets: list[int]
    """The scored tokens."""
    owners: list[Owner]
    """Whose they are, in order."""


@dataclass(frozen=True)
class ScoringBatch:
    """Rows of one forward pass."""

    tokens: np.ndarray
    """int64 [B, S], padded on the right."""
    branches: list[list[int]] | None
    """Of each row its branches' first places; None where no row has any."""
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
        """int64 [B, S]: of a branch they go on where its row's trunk ends; of padding, any."""
        size, length = self.tokens.shape
        positions = np.tile(np.arange(length), (size, 1))
        for row, starts in enumerate(self.branches or []):
            for start, end in pairwise([*starts, self.lengths[row]]):
                positions[row, start:end] -= start - starts[0]
            positions[row, self.lengths[row] :] = 0
        return positions

    def is_hidden(self) -> np.ndarray | None:
        """bool [B, S, S]: whether a place (second dimension) must not see another (third); None: it
        sees all before it. Each sees itself, padding too: a softmax over nothing is not a number,
        and would spread through the values that others weigh with 0."""
        if self.branches is None:
            return None
        size, length = self.tokens.shape
        is_hidden = np.tile(~np.tri(length, dtype=bool), (size, 1, 1))
        for row, starts in enumerate(self.branches):
            for start, end in pairwise([*starts, length]):
                is_hidden[row, start:end, starts[0] : start] = True
        return is_hidden


def rows_of(requests: Sequence[ScoreRequest], *, max_length: int, width: int) -> Iterator[Row]:
    """Rows of all requests: one of a request, or one of each continuation where that is cheaper or
    where some must lose context to fit `max_length`.

    width: of the model, which decides what a place costs beside what looking at another costs.
    Raises DataError for a continuation that is longer than `max_length`.
    """
    for number, request in enumerate(requests):
        _check(number, request, max_length)
        longest = max(len(continuation) for continuation in request.continuations)
        fits = len(request.context) + longest <= max_length + 1
        if fits and _is_cheaper_shared(request, width):
            yield _shared_row(number, request)
        else:
            for choice in range(len(request.continuations)):
                yield _lone_row(number, choice, request, max_length)


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


def _is_cheaper_shared(request: ScoreRequest, width: int) -> bool:
    """By multiplications: about 12 * width^2 of a layer's matrices for each place, and 2 * width
    for each pair of places that attention looks at, all pairs where the row is not plain."""
    context = len(request.context)
    lengths = [len(continuation) - 1 for continuation in request.continuations]
    total = context + sum(lengths)
    has_branches = len(lengths) > 1 and max(lengths) > 0
    shared = 6 * width * total + total**2 / (1 if has_branches else 2)
    apart = sum(6 * width * (context + n) + (context + n) ** 2 / 2 for n in lengths)
    return shared <= apart


def _shared_row(number: int, request: ScoreRequest) -> Row:
    tokens = list(request.context)
    end = len(tokens)
    is_plain = len(request.continuations) == 1
    row = Row(tokens=tokens, branches=[], places=[], targets=[], owners=[])
    for choice, continuation in enumerate(request.continuations):
        fed = list(continuation[:-1])
        if fed and not is_plain:
            row.branches.append(len(tokens))
        row.places.extend([end - 1, *range(len(tokens), len(tokens) + len(fed))])
        row.targets.extend(continuation)
        row.owners.append(Owner(number, choice, len(continuation), num_cut=0))
        tokens.extend(fed)
    return row


def _lone_row(number: int, choice: int, request: ScoreRequest, max_length: int) -> Row:
    """The last `max_length` + 1 tokens of context and continuation, the last of which is not fed:
    what the evaluation harness's own models cut."""
    continuation = request.continuations[choice]
    whole = [*request.context, *continuation]
    tokens = whole[-(max_length + 1) :][:-1]
    scored = len(continuation)
    cut = len(whole) - 1 - len(tokens)
    return Row(
        tokens=tokens,
        branches=[],
        places=list(range(len(tokens) - scored, len(tokens))),
        targets=list(continuation),
        owners=[Owner(number, choice, scored, num_cut=cut)],
    )


def batches_of(
    rows: Sequence[Row], max_batch_tokens: int
) -> list[tuple[ScoringBatch, list[Owner]]]:
    """Batches of at most so many places (a longer row is alone), and whose their scored tokens are;
    the largest rows first. Rows with branches, which need a mask, are apart from those without."""
    groups: list[list[Row]] = []
    for has_branches in (True, False):
        chosen = [row for row in rows if bool(row.branches) == has_branches]
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
        branches=[row.branches for row in rows] if rows[0].branches else None,
        lengths=lengths,
        places=places,
        asked=asked,
        targets=np.concatenate([np.array(row.targets) for row in rows]),
    )
