"""Rows and batches of scoring requests: every continuation is asked once, sees its own context and
nothing else, and at the positions that it would have alone."""

import operator

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from megatron_codemix.errors import DataError
from megatron_codemix.evaluation.engine.requests import ScoreRequest
from megatron_codemix.evaluation.engine.rows import Owner, ScoringBatch, batches_of, rows_of

MAX_LENGTH = 24

_tokens = st.integers(0, 99)
_beginnings = st.sampled_from([[], [5] * 9, [5] * 14, [*[5] * 9, *[6] * 9]])
_requests = st.lists(
    st.builds(
        ScoreRequest,
        st.builds(operator.add, _beginnings, st.lists(_tokens, min_size=1, max_size=40)),
        st.lists(st.lists(_tokens, min_size=1, max_size=MAX_LENGTH), min_size=1, max_size=5),
    ),
    min_size=1,
    max_size=8,
)


def seen_by(batch: ScoringBatch, row: int, place: int) -> list[tuple[int, int]]:
    """(position, token) of all that a place sees, itself included, by position."""
    positions, is_hidden = batch.positions(), batch.is_hidden()
    visible = (
        np.arange(batch.tokens.shape[1]) <= place if is_hidden is None else ~is_hidden[row, place]
    )
    return sorted(
        (int(positions[row, other]), int(batch.tokens[row, other]))
        for other in np.flatnonzero(visible)
    )


def asked(batch: ScoringBatch, owners: list[Owner]):  # type: ignore[no-untyped-def]
    """(owner, its number of the token, target, what the model sees) of each scored token."""
    number = 0
    for owner in owners:
        for token in range(owner.num_tokens):
            place, row = divmod(int(batch.places[batch.asked[number]]), len(batch.tokens))
            yield owner, token, int(batch.targets[number]), seen_by(batch, row, place)
            number += 1
    assert number == len(batch.targets)


@settings(max_examples=60, deadline=None)
@given(_requests, st.sampled_from([1, 30, 200]), st.sampled_from([1, 8, 512]))
def test_every_token_is_asked_once_after_what_stands_before_it(
    requests: list[ScoreRequest], max_batch_tokens: int, width: int
) -> None:
    rows = list(rows_of(requests, max_length=MAX_LENGTH, width=width, max_shared=60))
    found = set()
    for batch, owners in batches_of(rows, max_batch_tokens):
        assert batch.tokens.size <= max_batch_tokens or len(batch.tokens) == 1
        for owner, token, target, seen in asked(batch, owners):
            request = requests[owner.request]
            continuation = request.continuations[owner.continuation]
            whole = [*request.context, *continuation]
            before = whole[owner.num_cut : len(request.context) + token]
            assert target == continuation[token]
            assert seen == list(enumerate(before))
            assert owner.num_cut == max(0, len(whole) - MAX_LENGTH - 1)
            found.add((owner.request, owner.continuation, token))
    assert found == {
        (number, choice, token)
        for number, request in enumerate(requests)
        for choice, continuation in enumerate(request.continuations)
        for token in range(len(continuation))
    }


def test_a_long_context_is_fed_once() -> None:
    request = ScoreRequest(list(range(15)), [[1, 2, 3], [4], [5, 6]])
    [row] = rows_of([request], max_length=MAX_LENGTH, width=512, max_shared=99)
    assert len(row.tokens) == 15 + 2 + 0 + 1


def test_long_choices_of_a_short_context_are_apart() -> None:
    """In one row each would look at all others' places."""
    request = ScoreRequest([1], [[2] * 20] * 30)
    assert len(list(rows_of([request], max_length=MAX_LENGTH, width=8, max_shared=99))) == 30


def test_the_longest_come_first_and_plain_rows_have_no_mask() -> None:
    requests = [ScoreRequest([length] * length, [[1]]) for length in (3, 9, 5)]
    requests.append(ScoreRequest([7] * 12, [[1, 2], [3, 4]]))
    rows = list(rows_of(requests, max_length=MAX_LENGTH, width=512, max_shared=99))
    batches = [batch for batch, _ in batches_of(rows, 16)]
    assert [batch.lengths for batch in batches] == [[14], [9], [5, 3]]
    assert [batch.pieces is None for batch in batches] == [False, True, True]


def test_a_continuation_longer_than_the_model_sees_is_refused() -> None:
    requests = [ScoreRequest([1], [[2]]), ScoreRequest([1], [[2] * (MAX_LENGTH + 1)])]
    with pytest.raises(DataError, match="request 1: a continuation of 25 tokens is longer"):
        list(rows_of(requests, max_length=MAX_LENGTH, width=8, max_shared=99))


def test_what_contexts_begin_with_is_fed_once() -> None:
    """A passage with questions, and beside it a text of its own."""
    passage = list(range(50, 65))
    questions = [ScoreRequest([*passage, n, n], [[1, 2, 3], [4]]) for n in (7, 8, 9)]
    other = ScoreRequest([3] * 10, [[1, 2], [3, 4]])
    requests = [questions[0], other, *questions[1:]]
    rows = list(rows_of(requests, max_length=MAX_LENGTH, width=512, max_shared=99))
    assert sorted(len(row.tokens) for row in rows) == [12, 15 + 3 * (2 + 2)]
    rows = list(rows_of(requests, max_length=MAX_LENGTH, width=512, max_shared=25))
    assert sorted(len(row.tokens) for row in rows) == [12, 19, 23]
