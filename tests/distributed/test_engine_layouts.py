"""Tensor-, pipeline- and data-parallel ranks answer what one rank answers."""

import numpy as np
import pytest

from megatron_codemix.evaluation.engine.requests import ScoreRequest
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.runs import RunDirectory
from tests.helpers.engine import Answers, ask
from tests.helpers.engine_requests import (
    THREE_SLOTS,
    drawn_requests,
    greedy_requests,
    scoring_requests,
)
from tests.helpers.exported import LLAMA, Case, trained

TOLERANCE = 1e-5
"""Of sums of log-probabilities: the same arithmetic, and sums over ranks."""

LAYOUTS = {
    "tp2": (EvaluationLayout(tensor=2), 2),
    "pp2": (EvaluationLayout(pipeline=2), 2),
    "dp2": (EvaluationLayout(), 2),
    "tp2-pp2": (EvaluationLayout(tensor=2, pipeline=2), 4),
    "pp2-dp2": (EvaluationLayout(pipeline=2), 4),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp("run"), Case("LlamaForCausalLM", LLAMA))


def answers(run: RunDirectory, layout: EvaluationLayout, num_ranks: int) -> Answers:
    return ask(
        run,
        score=scoring_requests(),
        generate=[*greedy_requests(), *drawn_requests()],
        layout=layout,
        num_ranks=num_ranks,
        generate_batch_tokens=THREE_SLOTS,
    )


@pytest.fixture(scope="module")
def on_one_rank(run: RunDirectory) -> Answers:
    return answers(run, EvaluationLayout(), 1)


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_agree(name: str, run: RunDirectory, on_one_rank: Answers) -> None:
    """Likelihoods to rounding, and in the order of each request's choices exactly; generations
    token by token. Drawn tokens too: rounding moves the border between two of them across a given
    number once in a million."""
    layout, num_ranks = LAYOUTS[name]
    found = answers(run, layout, num_ranks)
    for ours, expected in zip(found.scores, on_one_rank.scores, strict=True):
        totals = [score.log_likelihood for score in ours]
        wanted = [score.log_likelihood for score in expected]
        np.testing.assert_allclose(totals, wanted, rtol=0, atol=TOLERANCE)
        assert np.argsort(totals).tolist() == np.argsort(wanted).tolist()
        assert [s.is_greedy for s in ours] == [s.is_greedy for s in expected]
    if layout.tensor == 1:  # the batches are the same, and so are the sums
        assert found.scores == on_one_rank.scores
    assert found.generations == on_one_rank.generations


def test_a_shared_context_is_each_choice_alone(run: RunDirectory, on_one_rank: Answers) -> None:
    """Nor do the other requests of a batch matter, but for rounding."""
    alone = [
        ScoreRequest(request.context, [continuation])
        for request in scoring_requests()
        for continuation in request.continuations
    ]
    found = [score for [score] in ask(run, score=alone, score_batch_tokens=1).scores]
    shared = [score for ours in on_one_rank.scores for score in ours]
    for one, other in zip(found, shared, strict=True):
        assert one.log_likelihood == pytest.approx(other.log_likelihood, abs=TOLERANCE)
        assert (one.is_greedy, one.num_cut) == (other.is_greedy, other.num_cut)
