"""Asks the engine on real ranks, and `transformers` for the same."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


class Answers(NamedTuple):
    """By number of the request."""

    scores: list[list[Score]]
    generations: list[Generation]


def ask(
    run: RunDirectory,
    *,
    score: Sequence[ScoreRequest] = (),
    generate: Sequence[GenerationRequest] = (),
    layout: EvaluationLayout = ONE_RANK,
    num_ranks: int = 1,
    generate_batch_tokens: int = 200,
    score_batch_tokens: int = 200,
) -> Answers:
    """The engine's answers, in the order of the requests."""
    arguments = (run.path, score, generate, layout, generate_batch_tokens, score_batch_tokens)
    return run_distributed(_ask_on_rank, num_ranks, *arguments)[0]


def _ask_on_rank(
    context: RankContext,
    run: Path,
    score: Sequence[ScoreRequest],
    generate: Sequence[GenerationRequest],
    layout: EvaluationLayout,
    generate_batch_tokens: int,
    score_batch_tokens: int,
) -> Answers:
    from megatron_codemix.evaluation.engine.model import ShardedModel, run_with_model

    answers = Answers([], [])

    def body(model: LanguageModel) -> None:
        assert isinstance(model, ShardedModel)
        answers.scores.extend(_in_order(model.score, score))
        model.max_batch_tokens = generate_batch_tokens
        answers.generations.extend(_in_order(model.generate, generate))

    run_with_model(RunDirectory(run), layout, context, body, max_batch_tokens=score_batch_tokens)
    return answers


def _in_order(method: Any, requests: Sequence[Any]) -> list[Any]:
    """Each request's one result."""
    found: dict[int, Any] = {}

    def take(number: int, result: Any) -> None:
        assert number not in found
        found[number] = result

    method(requests, take)
    return [found[number] for number in range(len(requests))]


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
