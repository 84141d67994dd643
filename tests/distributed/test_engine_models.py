"""Likelihoods and greedy generation are those of `transformers` on the exported model: each
continuation alone, and token by token."""

from pathlib import Path

import pytest
import transformers

from megatron_codemix.evaluation.engine.requests import ScoreRequest
from megatron_codemix.runs import RunDirectory
from tests.helpers.engine import ask, continue_by_transformers, score_by_transformers
from tests.helpers.engine_requests import THREE_SLOTS, greedy_requests, scoring_requests
from tests.helpers.exported import COHERE, LLAMA, TIED, Case, export_last, trained
from tests.helpers.tiny import END_OF_DOCUMENT, SEQUENCE

TOLERANCE = 1e-4
"""Of sums of up to 12 log-probabilities in fp32: the two sum in different orders."""

CASES = {
    "llama": Case("LlamaForCausalLM", LLAMA),
    "llama-tied-qk-norm": Case("Qwen3ForCausalLM", LLAMA | TIED | {"qk_norm": True}),
    "parallel-block": Case("CohereForCausalLM", COHERE),
}


@pytest.fixture(scope="module", params=CASES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp(request.param), CASES[request.param])


@pytest.fixture(scope="module")
def exported(run: RunDirectory) -> Path:
    return export_last(run, run.path / "exported")


@pytest.fixture(scope="module")
def model(exported: Path) -> transformers.PreTrainedModel:
    return transformers.AutoModelForCausalLM.from_pretrained(exported).eval()


def test_likelihoods_are_those_of_transformers(
    run: RunDirectory, model: transformers.PreTrainedModel
) -> None:
    requests = [*scoring_requests(), with_the_best_tokens(model)]
    found = ask(run, score=requests).scores
    for request, ours in zip(requests, found, strict=True):
        theirs = score_by_transformers(model, request, SEQUENCE)
        for score, (total, is_greedy, num_cut), tokens in zip(
            ours, theirs, request.continuations, strict=True
        ):
            assert score.log_likelihood == pytest.approx(total, abs=TOLERANCE)
            assert (score.is_greedy, score.num_cut) == (is_greedy, num_cut)
            assert score.num_scored == len(tokens)
    assert [score.is_greedy for score in found[-1]] == [True, True, False, False]
    assert len({score.log_likelihood for ours in found for score in ours}) > 50


def with_the_best_tokens(model: transformers.PreTrainedModel) -> ScoreRequest:
    """Two continuations that greedy decoding gives, and two that it does not."""
    context = scoring_requests()[0].context
    best = continue_by_transformers(model, context, 5)
    return ScoreRequest(context, [best, best[:2], [*best[:2], 7], [9, *best[1:]]])


@pytest.mark.parametrize("batch_tokens", [THREE_SLOTS, 200])
def test_greedy_generation_is_that_of_transformers(
    batch_tokens: int, run: RunDirectory, exported: Path, model: transformers.PreTrainedModel
) -> None:
    """With few slots prompts are read one by one as these become free, with many together."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(exported)
    found = ask(run, generate=greedy_requests(), generate_batch_tokens=batch_tokens).generations
    for request, ours in zip(greedy_requests(), found, strict=True):
        prompt = request.prompt[-(SEQUENCE - request.max_new_tokens) :]
        theirs = continue_by_transformers(model, prompt, request.max_new_tokens)
        if theirs[-1] == END_OF_DOCUMENT:
            assert (ours.tokens, ours.finish_reason) == (theirs[:-1], "end")
        else:
            assert (ours.tokens, ours.finish_reason) == (theirs, "length")
        assert ours.text == tokenizer.decode(ours.tokens, clean_up_tokenization_spaces=False)
        assert ours.num_cut == len(request.prompt) - len(prompt)
    assert found[-1].num_cut == 70 - 22
    assert len({tuple(ours.tokens) for ours in found}) > 5
