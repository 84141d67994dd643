"""Likelihoods over tensor-, pipeline- and data-parallel ranks are those of `transformers` on the
exported model, each continuation alone."""

from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.evaluation.engine.requests import Score, ScoreRequest
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.runs import RunDirectory
from tests.helpers.engine import continue_by_transformers, score_by_transformers, scores
from tests.helpers.exported import COHERE, LLAMA, TIED, Case, load_exported, trained
from tests.helpers.tiny import END_OF_DOCUMENT, SEQUENCE

TOLERANCE = 1e-4
"""Of sums of up to 12 log-probabilities in fp32: the two sum in different orders."""
LAYOUT_TOLERANCE = 1e-5
"""Between layouts: the same arithmetic, and sums over ranks."""

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
    "pp2-dp2": (EvaluationLayout(pipeline=2), 4),
}


def some_requests() -> list[ScoreRequest]:
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


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp("llama"), CASES["llama"])


@pytest.fixture(scope="module")
def on_one_rank(llama: RunDirectory) -> list[list[Score]]:
    return scores(llama, some_requests())


@pytest.mark.parametrize("name", CASES)
def test_likelihoods_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    run = trained(tmp_path, CASES[name])
    model = load_exported(run, tmp_path / "exported")
    requests = some_requests()
    context = requests[0].context
    best = continue_by_transformers(model, context, 5)
    requests.append(ScoreRequest(context, [best, best[:2], [*best[:2], 7], [9, *best[1:]]]))
    found = scores(run, requests)
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


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_agree(name: str, llama: RunDirectory, on_one_rank: list[list[Score]]) -> None:
    """To rounding, and in the order of each request's choices exactly."""
    layout, num_ranks = LAYOUTS[name]
    found = scores(llama, some_requests(), layout, num_ranks)
    for ours, expected in zip(found, on_one_rank, strict=True):
        totals = [score.log_likelihood for score in ours]
        wanted = [score.log_likelihood for score in expected]
        np.testing.assert_allclose(totals, wanted, rtol=0, atol=LAYOUT_TOLERANCE)
        assert np.argsort(totals).tolist() == np.argsort(wanted).tolist()
        assert [s.is_greedy for s in ours] == [s.is_greedy for s in expected]
    if layout.tensor == 1:  # the batches are the same, and so are the sums
        assert found == on_one_rank


def test_a_shared_context_is_each_choice_alone(
    llama: RunDirectory, on_one_rank: list[list[Score]]
) -> None:
    """Nor do the other requests of a batch matter, but for rounding."""
    alone = [
        ScoreRequest(request.context, [continuation])
        for request in some_requests()
        for continuation in request.continuations
    ]
    found = [score for [score] in scores(llama, alone, max_batch_tokens=1)]
    shared = [score for ours in on_one_rank for score in ours]
    for one, other in zip(found, shared, strict=True):
        assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=LAYOUT_TOLERANCE)
        assert (one.is_greedy, one.num_cut) == (other.is_greedy, other.num_cut)
