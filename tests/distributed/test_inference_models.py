"""Inference computes what plain PyTorch computes from the same weights, for every kind of model:
likelihoods of a batch with a tree, a plain row and padding, and tokens made one by one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from megatron_codemix.config.schema import LayoutConfig, ModelConfig
from megatron_codemix.evaluation.engine.requests import ScoreRequest
from megatron_codemix.evaluation.engine.rows import batches_of, rows_of
from megatron_codemix.launch.placement import RankContext
from tests.distributed.test_reference_model import VARIANTS
from tests.helpers.plain_model import plain_losses
from tests.helpers.ranks import run_distributed
from tests.helpers.training import MODEL, Job, build_on_rank

TOLERANCE = 1e-4
"""Of a sum of up to 6 log-probabilities in fp32."""
BF16_TOLERANCE = 0.25
"""Of the same sums, -5 a token; bf16 has 8 bits, and logits reach 10."""
VOCABULARY = 250
"""Of a tokenizer with fewer entries than the model: the others count as padding."""
NEW_TOKENS = 8
MAX_LENGTH = 64


def some_requests() -> list[ScoreRequest]:
    rng = np.random.default_rng(8)

    def text(length: int) -> list[int]:
        return rng.integers(0, VOCABULARY, length).tolist()

    passage = text(20)
    return [
        ScoreRequest(text(12), [text(3), text(6), text(1)]),
        ScoreRequest(text(30), [text(4)]),
        ScoreRequest(text(5), [text(2)]),
        *(ScoreRequest([*passage, *text(n)], [text(2), text(5)]) for n in (3, 5)),
    ]


def likelihood(
    weights: Mapping[str, torch.Tensor], model: ModelConfig, context: list[int], tokens: list[int]
) -> float:
    """By plain PyTorch, over VOCABULARY tokens."""
    return float(
        _log_probabilities(weights, model, [*context, *tokens])[
            np.arange(-len(tokens), 0), tokens
        ].sum()
    )


def _log_probabilities(
    weights: Mapping[str, torch.Tensor], model: ModelConfig, tokens: list[int]
) -> np.ndarray:
    """Of every token after each of the first, [len(tokens) - 1, VOCABULARY], from the losses of
    each as a label."""
    rows = torch.tensor(tokens[:-1]).repeat(VOCABULARY, 1)
    labels = torch.arange(VOCABULARY)[:, None].expand_as(rows)
    with torch.no_grad():
        losses = plain_losses(weights, model, rows, labels)
    return (-losses.T.double()).log_softmax(-1).numpy()


@dataclass(frozen=True)
class Found:
    """How far inference is from plain PyTorch, in nats."""

    likelihood: float
    """Largest difference of a continuation's."""
    gap: float
    """Largest one from the best token to the one made."""
    made: list[list[int]]
    num_rows: int


def differences(context: RankContext, model: ModelConfig, precision: str) -> Found:
    from megatron_codemix.mcore.inference.stage import Stage
    from megatron_codemix.mcore.inference.vocabulary import Vocabulary
    from megatron_codemix.mcore.initial_weights import global_parameters
    from megatron_codemix.mcore.model import gpt_of

    job = Job(layout=LayoutConfig(), model=model, precision=precision)
    [built], parallel, backend = build_on_rank(job)
    weights = dict(global_parameters(gpt_of(built)))
    generator = torch.Generator().manual_seed(0)
    for weight in weights.values():  # larger than at step 0, so that every part matters
        with torch.no_grad():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(1 + 0.3 * noise if weight.dim() == 1 else 0.15 * noise)
    built.eval()
    stage = Stage(built, parallel, backend, max_length=MAX_LENGTH)
    vocabulary = Vocabulary(stage, VOCABULARY)
    plain = {name: weight.detach().float() for name, weight in weights.items()}
    likelihood, num_rows = scoring_difference(stage, vocabulary, plain, model)
    made, gap = generation_gap(stage, vocabulary, plain, model)
    return Found(likelihood, gap, made, num_rows)


def scoring_difference(stage, vocabulary, plain, model):  # type: ignore[no-untyped-def]
    """(largest difference of a likelihood, rows)."""
    from megatron_codemix.evaluation.engine.scoring import inputs_of
    from megatron_codemix.mcore.inference.scoring import score_batches

    requests = some_requests()
    worst = 0.0
    rows = list(rows_of(requests, max_length=MAX_LENGTH, width=64, max_shared=200))
    for batch, owners in batches_of(rows, 200):
        [scores] = score_batches(stage, vocabulary, [inputs_of(batch)])
        start = 0
        for owner in owners:
            request = requests[owner.request]
            tokens = list(request.continuations[owner.continuation])
            found = scores.log_probability[start : start + owner.num_tokens].sum()
            start += owner.num_tokens
            expected = likelihood(plain, model, list(request.context), tokens)
            worst = max(worst, abs(float(found) - expected))
    return worst, len(rows)


def generation_gap(stage, vocabulary, plain, model):  # type: ignore[no-untyped-def]
    """(tokens made of three prompts, largest gap to the best token)."""
    from megatron_codemix.mcore.inference.decoding import Decoder, Draw

    prompts = [list(request.context) for request in some_requests()[:3]]
    greedy = [Draw(temperature=0.0, top_p=1.0, uniform=0.0)] * len(prompts)
    decoder = Decoder(stage, vocabulary, num_slots=4, length=MAX_LENGTH)
    made = [[token] for token in decoder.next_tokens(decoder.fill(prompts, range(3)), greedy)]
    for _ in range(NEW_TOKENS - 1):
        places = [len(prompt) + len(new) - 1 for prompt, new in zip(prompts, made, strict=True)]
        hidden = decoder.extend([new[-1] for new in made], places)
        for new, token in zip(made, decoder.next_tokens(hidden, greedy), strict=True):
            new.append(token)
    decoder.close()
    gap = 0.0
    for prompt, new in zip(prompts, made, strict=True):
        found = _log_probabilities(plain, model, [*prompt, *new])[-NEW_TOKENS:]
        gap = max(gap, float((found.max(-1) - found[np.arange(NEW_TOKENS), new]).max()))
    return made, gap


@pytest.mark.parametrize("name", VARIANTS)
def test_every_model_is_that_of_plain_pytorch(name: str) -> None:
    [found] = run_distributed(differences, 1, VARIANTS[name], "fp32")
    assert found.num_rows < len(some_requests())  # a tree is among them
    assert found.likelihood < TOLERANCE
    assert found.gap < TOLERANCE
    assert len({tuple(new) for new in found.made}) == 3


def test_a_model_in_bf16_is_near() -> None:
    [found] = run_distributed(differences, 1, MODEL, "bf16")
    assert 0 < found.likelihood < BF16_TOLERANCE
    assert found.gap < BF16_TOLERANCE
