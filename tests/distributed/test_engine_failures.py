"""A rank that fails ends all: with its reason on rank 0, and nobody left waiting."""

from pathlib import Path

import pytest

from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.evaluation.engine.requests import (
    GenerationRequest,
    LanguageModel,
    ScoreRequest,
)
from megatron_codemix.evaluation.layout import EvaluationLayout
from megatron_codemix.launch.placement import RankContext
from megatron_codemix.runs import RunDirectory
from tests.helpers.exported import LLAMA, Case, trained
from tests.helpers.ranks import run_distributed

PIPELINE = EvaluationLayout(pipeline=2)
REQUESTS = [ScoreRequest([number, 2, 3], [[4, 5], [6]]) for number in range(40)]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return trained(tmp_path_factory.mktemp("run"), Case("LlamaForCausalLM", LLAMA))


def score_with_a_failure(
    context: RankContext, run: Path, layout: EvaluationLayout, rank: int, error: Exception
) -> None:
    """The third forward pass of one rank raises."""
    from megatron_codemix.evaluation.engine.model import run_with_model
    from megatron_codemix.mcore.inference.stage import Stage

    forward, calls = Stage.forward, iter(range(100))

    def failing(*arguments):  # type: ignore[no-untyped-def]
        if next(calls) == 2:
            raise error
        return forward(*arguments)

    if context.rank == rank:
        Stage.forward = failing  # type: ignore[method-assign]

    def body(model: LanguageModel) -> None:
        model.score(REQUESTS, lambda number, scores: None)

    run_with_model(RunDirectory(run), layout, context, body, max_batch_tokens=8)


def what_ranks_say(
    run: RunDirectory, layout: EvaluationLayout, rank: int, error: Exception
) -> list[str]:
    """Of each rank: all that it has left."""
    arguments = (run.path, layout, rank, error)
    with pytest.raises(pytest.fail.Exception) as failure:
        run_distributed(score_with_a_failure, 2, *arguments, timeout_seconds=40)
    assert "did not end in time" not in str(failure.value)
    _, *ranks = str(failure.value).split("--- rank ")
    return ranks


@pytest.mark.parametrize("layout", [EvaluationLayout(), EvaluationLayout(tensor=2), PIPELINE])
def test_a_worker_says_why_on_rank_0(layout: EvaluationLayout, run: RunDirectory) -> None:
    first, second = what_ranks_say(run, layout, 1, ZeroDivisionError("planted on rank 1"))
    assert second.rstrip().endswith("ZeroDivisionError: planted on rank 1")
    assert "RankFailedError: rank 1 failed:" in first
    assert first.rstrip().endswith("ZeroDivisionError: planted on rank 1")


def test_what_a_user_may_see_keeps_its_kind(run: RunDirectory) -> None:
    first, _ = what_ranks_say(run, PIPELINE, 1, DataError("a planted mistake"))
    assert first.rstrip().endswith("megatron_codemix.errors.DataError: a planted mistake")


def test_a_failure_of_rank_0_within_a_command_frees_the_others(run: RunDirectory) -> None:
    """They find its connection closed, where they wait for its hidden states."""
    first, second = what_ranks_say(run, PIPELINE, 0, ZeroDivisionError("planted on rank 0"))
    assert first.rstrip().endswith("ZeroDivisionError: planted on rank 0")
    assert "RuntimeError" in second


def ask_and_fail(context: RankContext, run: Path) -> str:
    """The body fails between two commands; the others return as if it had not."""
    from megatron_codemix.evaluation.engine.model import run_with_model

    def interrupted(number: int, result: object) -> None:
        raise KeyError("planted in the body")

    def body(model: LanguageModel) -> None:
        model.generate([GenerationRequest([number], 20) for number in range(9)], interrupted)

    try:
        run_with_model(RunDirectory(run), EvaluationLayout(), context, body, max_batch_tokens=16)
    except KeyError as error:
        return str(error)
    return "returned"


def test_a_failure_of_the_body_lets_the_others_go(run: RunDirectory) -> None:
    assert run_distributed(ask_and_fail, 2, run.path) == ["'planted in the body'", "returned"]


def score_after_an_interruption(context: RankContext, run: Path) -> list[list[float]]:
    """Likelihoods before and after a generation that its caller has cut short."""
    from megatron_codemix.evaluation.engine.model import run_with_model

    found: list[list[float]] = []

    def interrupted(number: int, result: object) -> None:
        raise KeyError("planted in the body")

    def body(model: LanguageModel) -> None:
        def score() -> None:
            model.score(
                REQUESTS[:1],
                lambda number, scores: found.append([each.log_likelihood for each in scores]),
            )

        score()
        with pytest.raises(KeyError, match="planted"):
            model.generate([GenerationRequest([number], 20) for number in range(9)], interrupted)
        score()

    run_with_model(RunDirectory(run), PIPELINE, context, body, max_batch_tokens=16)
    return found


def test_who_cuts_a_generation_short_may_go_on(run: RunDirectory) -> None:
    [before, after], _ = run_distributed(score_after_an_interruption, 2, run.path)
    assert before == after


def ask_what_cannot_be(context: RankContext, run: Path) -> list[str]:
    """Rank 0 refuses before the others hear of it, and goes on after it."""
    from megatron_codemix.evaluation.engine.model import run_with_model

    refusals: list[str] = []

    def body(model: LanguageModel) -> None:
        try:
            model.generate([GenerationRequest([1], model.max_length)], lambda *result: None)
        except DataError as error:
            refusals.append(str(error))
        model.score(REQUESTS[:1], lambda number, scores: refusals.append(f"{len(scores)} scores"))

    run_with_model(RunDirectory(run), EvaluationLayout(), context, body)
    return refusals


def test_what_cannot_be_generated_is_refused_by_its_number(run: RunDirectory) -> None:
    [refusal, scores], others = run_distributed(ask_what_cannot_be, 2, run.path)
    assert refusal.startswith("request 0: 32 new tokens leave no room for a prompt")
    assert (scores, others) == ("2 scores", [])


def layout_problem(context: RankContext, run: Path, layout: EvaluationLayout) -> list[str]:
    from megatron_codemix.evaluation.engine.model import run_with_model

    with pytest.raises(ConfigError) as refusal:
        run_with_model(RunDirectory(run), layout, context, lambda model: None)
    return refusal.value.problems


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        (EvaluationLayout(tensor=4, pipeline=3), ["num_query_groups", "num_layers", "multiple"]),
        (EvaluationLayout(tensor=2, pipeline=2), ["2 processes are not a multiple"]),
    ],
)
def test_a_layout_that_the_model_cannot_have_is_refused(
    layout: EvaluationLayout, expected: list[str], run: RunDirectory
) -> None:
    for problems in run_distributed(layout_problem, 2, run.path, layout):
        assert len(problems) == len(expected)
        for problem, words in zip(problems, expected, strict=True):
            assert words in problem
