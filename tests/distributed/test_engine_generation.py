"""Greedy generation is that of `transformers` on the exported model token by token, in any layout;
what is drawn follows the model's probabilities, and nothing but the request and its seed."""

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from megatron_codemix.evaluation.engine.requests import Generation, GenerationRequest
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.runs import RunDirectory
from tests.helpers.engine import continue_by_transformers, generations
from tests.helpers.exported import COHERE, LLAMA, TIED, Case, load_exported, trained
from tests.helpers.tiny import END_OF_DOCUMENT, SEQUENCE, VOCABULARY

CASES = {
    "llama": Case("LlamaForCausalLM", LLAMA),
    "llama-tied-qk-norm": Case("Qwen3ForCausalLM", LLAMA | TIED | {"qk_norm": True}),
    "parallel-block": Case("CohereForCausalLM", COHERE),
}
LAYOUTS = {
    "tp2": (EvaluationLayout(tensor=2), 2),
    "pp2": (EvaluationLayout(pipeline=2), 2),
    "dp2": (EvaluationLayout(), 2),
    "tp2-pp2": (EvaluationLayout(tensor=2, pipeline=2), 4),
}
THREE_SLOTS = 6
"""Places of a forward pass for which the cache has 3 slots of 32 places."""


def some_requests() -> list[GenerationRequest]:
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


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp("llama"), CASES["llama"])


@pytest.fixture(scope="module")
def on_one_rank(llama: RunDirectory) -> list[Generation]:
    return generations(llama, [*some_requests(), *drawn_requests()], max_batch_tokens=THREE_SLOTS)


@pytest.mark.parametrize(
    ("name", "max_batch_tokens"), [*((name, THREE_SLOTS) for name in CASES), ("llama", 200)]
)
def test_greedy_generation_is_that_of_transformers(
    name: str, max_batch_tokens: int, tmp_path: Path
) -> None:
    """With few slots prompts are read one by one as these become free, with many together."""
    run = trained(tmp_path, CASES[name])
    model = load_exported(run, tmp_path / "exported")
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    found = generations(run, some_requests(), max_batch_tokens=max_batch_tokens)
    for request, ours in zip(some_requests(), found, strict=True):
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


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_agree(name: str, llama: RunDirectory, on_one_rank: list[Generation]) -> None:
    """Drawn tokens too: probabilities differ by rounding, which moves a border between two tokens
    across a given number once in a million."""
    layout, num_ranks = LAYOUTS[name]
    requests = [*some_requests(), *drawn_requests()]
    found = generations(llama, requests, layout, num_ranks, max_batch_tokens=THREE_SLOTS)
    assert found == on_one_rank


def test_what_is_drawn_depends_on_the_request_alone(
    llama: RunDirectory, on_one_rank: list[Generation]
) -> None:
    among_others = on_one_rank[len(some_requests()) :]
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
        found = generations(llama, requests, max_batch_tokens=4096)
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
    llama: RunDirectory, on_one_rank: list[Generation]
) -> None:
    """Each of its characters is a token of its own."""
    requests = [*some_requests(), *drawn_requests()]
    number, stop = next(
        (number, generation.text[place : place + 2])
        for number, generation in enumerate(on_one_rank)
        for place in range(1, len(generation.text) - 3)
        if generation.text[place : place + 2].isascii()
    )
    request, whole = requests[number], on_one_rank[number]
    stopping = GenerationRequest(
        request.prompt,
        request.max_new_tokens,
        stop=("never there", stop),
        temperature=request.temperature,
        top_p=request.top_p,
        seed=request.seed,
    )
    [found] = generations(llama, [stopping])
    assert found.finish_reason == "stop"
    assert found.text == whole.text[: whole.text.index(stop)]
    assert found.tokens == whole.tokens[: len(found.tokens)]
    assert len(found.tokens) < len(whole.tokens)
