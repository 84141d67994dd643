"""Scores requests over data-parallel copies of the model.

Batches are made of all requests and then dealt out, the largest first, so that what a batch holds
does not depend on how many copies there are: their results are equal bit for bit.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from megatron_codemix.evaluation.engine.control import Control
from megatron_codemix.evaluation.engine.requests import Score, ScoreRequest
from megatron_codemix.evaluation.engine.rows import Owner, ScoringBatch, batches_of, rows_of
from megatron_codemix.mcore.inference.scoring import ScoringInputs, TokenScores, score_batches
from megatron_codemix.mcore.inference.stage import Stage
from megatron_codemix.mcore.inference.vocabulary import Vocabulary

ROUND_BATCHES = 4
"""Of each copy between two reports; under pipeline parallelism as many times the stages, which are
idle while the first and the last of them pass."""
MAX_SHARED = 4096
"""Places of a row of several requests, or more where a forward pass has more: its mask is a
square."""


@dataclass(frozen=True)
class ScoreCommand:
    """Batches of each copy of the model in one round."""

    batches: list[list[ScoringBatch]]


def score_part(command: ScoreCommand, stage: Stage, vocabulary: Vocabulary) -> list[TokenScores]:
    """Scores of this copy's batches, on its last pipeline stage."""
    batches = [inputs_of(batch) for batch in command.batches[stage.parallel.data_rank]]
    return score_batches(stage, vocabulary, batches)


def inputs_of(batch: ScoringBatch) -> ScoringInputs:
    """A batch with its positions and mask worked out."""
    return ScoringInputs(
        tokens=batch.tokens,
        positions=None if batch.pieces is None else batch.positions(),
        is_hidden=batch.is_hidden(),
        places=batch.places,
        asked=batch.asked,
        targets=batch.targets,
    )


def score_requests(
    requests: Sequence[ScoreRequest],
    on_result: Callable[[int, list[Score]], None],
    *,
    control: Control,
    stage: Stage,
    max_length: int,
    max_batch_tokens: int,
) -> None:
    """On rank 0: has the ranks score all requests."""
    rows = rows_of(
        requests,
        max_length=max_length,
        width=stage.gpt.config.hidden_size,
        max_shared=max(max_batch_tokens, MAX_SHARED),
    )
    batches = batches_of(list(rows), max_batch_tokens)
    copies = stage.parallel.data_size
    round_size = copies * ROUND_BATCHES * stage.parallel.pipeline_size
    collected = _Collected(requests, on_result)
    for start in range(0, len(batches), round_size):
        dealt = [batches[start : start + round_size][copy::copies] for copy in range(copies)]
        command = ScoreCommand([[batch for batch, _ in part] for part in dealt])
        for copy, scores in control.ask(command):
            for (_, owners), found in zip(dealt[copy], scores, strict=True):
                collected.take(owners, found)


class _Collected:
    """Scores of continuations until those of a request are complete."""

    def __init__(
        self, requests: Sequence[ScoreRequest], on_result: Callable[[int, list[Score]], None]
    ) -> None:
        self._scores: list[list[Score | None]] = [
            [None] * len(request.continuations) for request in requests
        ]
        self._on_result = on_result

    def take(self, owners: Sequence[Owner], found: TokenScores) -> None:
        """Of one batch."""
        for owner, score in _scores_by_owner(owners, found):
            scores = self._scores[owner.request]
            scores[owner.continuation] = score
            complete = [each for each in scores if each is not None]
            if len(complete) == len(scores):
                self._on_result(owner.request, complete)


def _scores_by_owner(owners: Sequence[Owner], found: TokenScores) -> Iterator[tuple[Owner, Score]]:
    counts = np.array([owner.num_tokens for owner in owners])
    starts = np.cumsum(counts) - counts
    sums = np.add.reduceat(found.log_probability.astype(np.float64), starts)
    all_best = np.logical_and.reduceat(found.is_best, starts)
    for owner, log_likelihood, is_greedy in zip(owners, sums, all_best, strict=True):
        score = Score(float(log_likelihood), bool(is_greedy), owner.num_tokens, owner.num_cut)
        yield owner, score
