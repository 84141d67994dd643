"""Requests of all kinds, for models of `tests.helpers.tiny`."""

import numpy as np

from megatron_codemix.evaluation.engine.requests import GenerationRequest, ScoreRequest
from tests.helpers.tiny import END_OF_DOCUMENT, SEQUENCE

THREE_SLOTS = 3
"""Places of a forward pass for which the cache has 3 slots of 32 places."""


def scoring_requests() -> list[ScoreRequest]:
    """Of all kinds: one token and several, one choice and several, equal and nested choices, a
    context that is one token, and some that are too long for the model."""
    rng = np.random.default_rng(3)

    def text(length: int) -> list[int]:
        return rng.integers(0, 256, length).tolist()

    several = [
        ScoreRequest(text(length), [text(n) for n in counts])
        for length, counts in [
            (18, [3, 1, 12, 5]),
            (9, [1, 1, 1, 1]),
            (20, [4]),
            (25, [2, 7]),
            (1, [6, 2]),
            (14, [1]),
            (11, [8, 8, 8]),
        ]
    ]
    nested, passage = text(6), text(15)
    too_long = [
        ScoreRequest(text(30), [text(4), text(2)]),  # 30 + 4 > 33
        ScoreRequest(text(90), [text(1), text(SEQUENCE)]),
    ]
    return [
        *several,
        ScoreRequest([END_OF_DOCUMENT], [nested, nested[:3], nested]),
        *(ScoreRequest([*passage, *text(n)], [text(3), text(1), text(5)]) for n in (4, 7, 2)),
        ScoreRequest(passage, [text(2), text(2)]),
        *too_long,
        *(ScoreRequest(text(8), [text(3), text(5)]) for _ in range(20)),
    ]


def greedy_requests() -> list[GenerationRequest]:
    """More than there are slots, of many lengths; the last prompt is too long for the model."""
    rng = np.random.default_rng(4)
    lengths = [(1, 12), (7, 20), (19, 9), (12, 12), (3, 1), (16, 16), (5, 25), (8, 7), (70, 10)]
    return [
        GenerationRequest(rng.integers(0, 256, length).tolist(), new) for length, new in lengths
    ]


def drawn_requests() -> list[GenerationRequest]:
    rng = np.random.default_rng(6)
    return [
        GenerationRequest(
            rng.integers(0, 256, 4 + seed).tolist(), 12, temperature=0.8, top_p=0.9, seed=seed
        )
        for seed in range(7)
    ]
