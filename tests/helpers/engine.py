"""Asks the engine on real ranks, and `transformers` for the same."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import transformers

from megatron_codemix.evaluation.engine.requests import (
    Generation,
    GenerationRequest,
    LanguageModel,
    Score,
    ScoreRequest,
)
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.runs import RunDirectory
from tests.helpers.ranks import run_distributed
from tests.helpers.tiny import END_OF_DOCUMENT, VOCABULARY

ONE_RANK = EvaluationLayout()


def scores(
    run: RunDirectory,
    requests: Sequence[ScoreRequest],
    layout: EvaluationLayout = ONE_RANK,
    num_ranks: int = 1,
    max_batch_tokens: int = 200,
) -> list[list[Score]]:
    """Of each request's continuations."""
    arguments = (run.path, layout, requests, max_batch_tokens)
    return run_distributed(_score_on_rank, num_ranks, *arguments)[0]


def _score_on_rank(
    context: RankContext,
    run: Path,
    layout: EvaluationLayout,
    requests: Sequence[ScoreRequest],
    max_batch_tokens: int,
) -> list[list[Score]]:
    from megatron_codemix.evaluation.engine.model import run_with_model

    found: dict[int, list[Score]] = {}

    def take(number: int, scores: list[Score]) -> None:
        assert number not in found
        found[number] = scores

    def body(model: LanguageModel) -> None:
        model.score(requests, take)
        assert sorted(found) == list(range(len(requests)))

    run_with_model(RunDirectory(run), layout, context, body, max_batch_tokens=max_batch_tokens)
    return [found[number] for number in sorted(found)]


def generations(
    run: RunDirectory,
    requests: Sequence[GenerationRequest],
    layout: EvaluationLayout = ONE_RANK,
    num_ranks: int = 1,
    max_batch_tokens: int = 200,
) -> list[Generation]:
    """Of each request."""
    arguments = (run.path, layout, requests, max_batch_tokens)
    return run_distributed(_generate_on_rank, num_ranks, *arguments)[0]


def _generate_on_rank(
    context: RankContext,
    run: Path,
    layout: EvaluationLayout,
    requests: Sequence[GenerationRequest],
    max_batch_tokens: int,
) -> list[Generation]:
    from megatron_codemix.evaluation.engine.model import run_with_model

    found: dict[int, Generation] = {}

    def take(number: int, generation: Generation) -> None:
        assert number not in found
        found[number] = generation

    def body(model: LanguageModel) -> None:
        model.generate(requests, take)
        assert sorted(found) == list(range(len(requests)))

    run_with_model(RunDirectory(run), layout, context, body, max_batch_tokens=max_batch_tokens)
    return [found[number] for number in sorted(found)]


def score_by_transformers(
    model: transformers.PreTrainedModel, request: ScoreRequest, max_length: int
) -> list[tuple[float, bool, int]]:
    """(log-likelihood, whether greedy decoding gives it, tokens cut), each continuation alone."""
    results = []
    for continuation in request.continuations:
        whole = [*request.context, *continuation]
        kept = whole[-(max_length + 1) :]
        with torch.no_grad():
            logits = model(torch.tensor([kept[:-1]])).logits[0, -len(continuation) :, :VOCABULARY]
        log_probabilities = logits.double().log_softmax(-1).numpy()
        total = log_probabilities[np.arange(len(continuation)), list(continuation)].sum()
        is_greedy = log_probabilities.argmax(-1).tolist() == list(continuation)
        results.append((float(total), is_greedy, len(whole) - len(kept)))
    return results


def continue_by_transformers(
    model: transformers.PreTrainedModel, prompt: Sequence[int], max_new_tokens: int
) -> list[int]:
    """The most probable tokens one by one; the end-of-document token is the last, if it comes."""
    generated = model.generate(
        torch.tensor([list(prompt)]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=max_new_tokens,
        pad_token_id=END_OF_DOCUMENT,
        suppress_tokens=list(range(VOCABULARY, model.config.vocab_size)) or None,
    )
    return generated[0, len(prompt) :].tolist()
