"""Log-probabilities of given tokens, batch after batch through the pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from megatron_codemix.mcore.inference.stage import Inputs, Stage
from megatron_codemix.mcore.inference.vocabulary import Vocabulary


@dataclass(frozen=True, kw_only=True)
class ScoringInputs:
    """A batch on the host: B rows, S places, N places asked for, T scored tokens."""

    tokens: np.ndarray
    """int64 [B, S]."""
    positions: np.ndarray | None
    """int64 [B, S]."""
    is_hidden: np.ndarray | None
    """bool [B, S, S]."""
    places: np.ndarray
    """int64 [N]: row + place * B."""
    asked: np.ndarray
    """int64 [T]: number of each target's place."""
    targets: np.ndarray
    """int64 [T]."""


@dataclass(frozen=True)
class TokenScores:
    """Of the scored tokens of a batch."""

    log_probability: np.ndarray
    """float32 [T], natural logarithm."""
    is_best: np.ndarray
    """bool [T]."""


@torch.inference_mode()
def score_batches(
    stage: Stage, vocabulary: Vocabulary, batches: Sequence[ScoringInputs]
) -> list[TokenScores]:
    """Of each batch, on the last pipeline stage; [] on the others. Every rank of a copy of the
    model calls it with the same batches."""
    scores = []
    inputs = [_inputs(batch, stage.device) for batch in batches]
    for batch, hidden in zip(batches, stage.run_all(inputs), strict=True):
        if not stage.parallel.is_last_stage:
            continue
        places, asked, targets = (
            torch.from_numpy(array).to(stage.device)
            for array in (batch.places, batch.asked, batch.targets)
        )
        found = vocabulary.scores(hidden.flatten(0, 1)[places], asked, targets)
        log_probability, is_best = (tensor.cpu().numpy() for tensor in found)
        scores.append(TokenScores(log_probability, is_best))
    return scores


def _inputs(batch: ScoringInputs, device: torch.device) -> Inputs:
    def moved(array: np.ndarray | None) -> torch.Tensor | None:
        return None if array is None else torch.from_numpy(array).to(device)

    is_hidden = moved(batch.is_hidden)
    return Inputs(
        torch.from_numpy(batch.tokens).to(device),
        moved(batch.positions),
        None if is_hidden is None else is_hidden.unsqueeze(1),
    )
