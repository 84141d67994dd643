"""What is drawn follows the model's probabilities, and depends on nothing but the request and its
seed; stop strings end a text."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.runs import RunDirectory
from tests.helpers.engine import ask
from tests.helpers.engine_requests import drawn_requests, greedy_requests
from tests.helpers.exported import LLAMA, Case, load_exported, trained
from tests.helpers.tiny import END_OF_DOCUMENT, VOCABULARY


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp("llama"), Case("LlamaForCausalLM", LLAMA))


@pytest.fixture(scope="module")
def together(llama: RunDirectory) -> list[Generation]:
    return generations(llama, [*greedy_requests(), *drawn_requests()])


def generations(
    run: RunDirectory, requests: list[GenerationRequest], batch_tokens: int = 200
) -> list[Generation]:
    return ask(run, generate=requests, generate_batch_tokens=batch_tokens).generations


def test_what_is_drawn_depends_on_the_request_alone(
    llama: RunDirectory, together: list[Generation]
) -> None:
    among_others = together[len(greedy_requests()) :]
    for request, expected in list(zip(drawn_requests(), among_others, strict=True))[::3]:
        assert generations(llama, [request]) == [expected]
    assert len({tuple(each.tokens) for each in among_others}) == len(among_others)


def test_drawn_tokens_follow_the_probabilities(llama: RunDirectory, tmp_path: Path) -> None:
    """Pearson's chi-square of 4000 first tokens, at its 99.9% quantile; and with top_p none outside
    the fewest tokens that have it."""
    model = load_exported(llama, tmp_path / "exported")
    prompt, temperature, top_p, count = [4, 99, 200], 0.7, 0.6, 4000
    with torch.no_grad():
        logits = model(torch.tensor([prompt])).logits[0, -1, :VOCABULARY].double()
    probability = (logits / temperature).softmax(-1).numpy()

    def draws(top_p: float) -> np.ndarray:
        requests = [
            GenerationRequest(prompt, 1, temperature=temperature, top_p=top_p, seed=seed)
            for seed in range(count)
        ]
        found = generations(llama, requests, batch_tokens=4096)
        return np.array([each.tokens[0] if each.tokens else END_OF_DOCUMENT for each in found])

    _require_distribution(draws(1.0), probability)
    order = np.argsort(-probability)
    inside = order[: int(np.searchsorted(np.cumsum(probability[order]), top_p)) + 1]
    kept = np.zeros_like(probability)
    kept[inside] = probability[inside]
    assert 1 < len(inside) < VOCABULARY // 2
    _require_distribution(draws(top_p), kept / kept.sum())


def _require_distribution(tokens: np.ndarray, probability: np.ndarray) -> None:
    counts = np.bincount(tokens, minlength=len(probability))
    assert counts[probability == 0].sum() == 0
    expected = probability * len(tokens)
    is_frequent = expected >= 5
    observed = np.append(counts[is_frequent], counts[~is_frequent].sum())
    wanted = np.append(expected[is_frequent], expected[~is_frequent].sum())
    observed, wanted = observed[wanted > 0], wanted[wanted > 0]
    freedom = len(wanted) - 1
    # Wilson and Hilferty 1931: the cube root is nearly normal.
    quantile = freedom * (1 - 2 / (9 * freedom) + 3.09 * (2 / (9 * freedom)) ** 0.5) ** 3
    assert ((observed - wanted) ** 2 / wanted).sum() < quantile


def test_stop_strings_end_a_text_and_are_not_in_it(
    llama: RunDirectory, together: list[Generation]
) -> None:
    """Each of its characters is a token of its own."""
    requests = [*greedy_requests(), *drawn_requests()]
    number, stop = next(
        (number, generation.text[place : place + 2])
        for number, generation in enumerate(together)
        for place in range(1, len(generation.text) - 3)
        if generation.text[place : place + 2].isascii()
    )
    request, whole = requests[number], together[number]
    [found] = generations(llama, [replace(request, stop=("never there", stop))])
    assert found.finish_reason == "stop"
    assert found.text == whole.text[: whole.text.index(stop)]
    assert found.tokens == whole.tokens[: len(found.tokens)]
    assert len(found.tokens) < len(whole.tokens)
