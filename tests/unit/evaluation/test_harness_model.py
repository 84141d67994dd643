"""The harness's view of a model: which questions reach it, and what is not asked twice."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="the extra `eval` is not installed")

from lm_eval.api.instance import Instance  # noqa: E402

from megatron_codemix.errors import DataError  # noqa: E402
from megatron_codemix.evaluation.harness.language_model import HarnessModel  # noqa: E402
from megatron_codemix.evaluation.tasks.answers import Answers  # noqa: E402
from megatron_codemix.evaluation.tasks.remembering import RememberingModel  # noqa: E402
from megatron_codemix.obs.progress import Advance  # noqa: E402
from tests.helpers.language_models import ByteModel  # noqa: E402

LN_VOCABULARY = math.log(257)


@contextlib.contextmanager
def no_progress(description: str, total: int) -> Iterator[Advance]:
    yield lambda n=1: None


@pytest.fixture
def model(tmp_path: Path) -> ByteModel:
    return ByteModel(tmp_path)


@pytest.fixture
def harness(model: ByteModel) -> HarnessModel:
    return HarnessModel(model)


def remembering(model: ByteModel, answers: Answers) -> HarnessModel:
    return HarnessModel(RememberingModel(model, answers, no_progress))


def asked(kind: str, *arguments: object) -> Instance:
    return Instance(request_type=kind, doc={}, arguments=arguments, idx=0)


def pairs(*texts: tuple[str, str]) -> list[Instance]:
    return [asked("loglikelihood", *pair) for pair in texts]


def test_choices_of_one_question_share_their_context(
    harness: HarnessModel, model: ByteModel
) -> None:
    questions = pairs(("Sky?", " blue"), ("Grass?", " green"), ("Sky?", " a cat"))
    scores = harness.loglikelihood(questions)
    assert [score for score, _ in scores] == [-n * LN_VOCABULARY for n in (5, 6, 6)]
    decode = model.tokenizer.decode
    assert sorted(
        (decode(request.context), [decode(one) for one in request.continuations])
        for request in model.scored
    ) == [("Grass?", [" green"]), ("Sky?", [" blue", " a cat"])]


def test_spaces_at_the_end_of_a_context_belong_to_what_follows(
    harness: HarnessModel, model: ByteModel
) -> None:
    harness.loglikelihood(pairs(("a: ", "b")))
    [request] = model.scored
    assert model.tokenizer.decode(request.context) == "a:"
    assert model.tokenizer.decode(request.continuations[0]) == " b"


def test_without_a_context_the_end_of_document_token_is_it(
    harness: HarnessModel, model: ByteModel
) -> None:
    harness.loglikelihood(pairs(("", "abc")))
    assert list(model.scored[0].context) == [model.prefix_token]
    assert len(model.scored[0].continuations[0]) == 3


def test_every_token_of_a_long_text_is_scored_once(harness: HarnessModel) -> None:
    text = "x" * 1000
    [total] = harness.loglikelihood_rolling([asked("loglikelihood_rolling", text)])
    assert total == pytest.approx(-1000 * LN_VOCABULARY)


def test_the_windows_of_a_long_text_fit_the_context(
    harness: HarnessModel, model: ByteModel
) -> None:
    harness.loglikelihood_rolling([asked("loglikelihood_rolling", "y" * 200)])
    for request in model.scored:
        assert len(request.context) + len(request.continuations[0]) <= model.max_length + 1


def test_a_text_longer_than_the_context_is_scored_in_windows(
    harness: HarnessModel, model: ByteModel
) -> None:
    [(score, _)] = harness.loglikelihood(pairs(("q" * 10, "z" * 150)))
    assert score == pytest.approx(-150 * LN_VOCABULARY)
    assert sum(len(one) for request in model.scored for one in request.continuations) == 150
    assert harness.cuts.windowed == 1
    harness.loglikelihood(pairs(("q" * 10, "z" * 50)))
    assert harness.cuts.windowed == 1


def test_a_text_without_tokens_is_named(harness: HarnessModel) -> None:
    with pytest.raises(DataError, match="has no tokens"):
        harness.loglikelihood(pairs(("question", "")))


def test_a_repeated_request_is_sampled_with_its_own_seed(
    harness: HarnessModel, model: ByteModel
) -> None:
    options = {"until": ["\n"], "max_gen_toks": 8, "do_sample": True, "temperature": 0.8}
    texts = harness.generate_until([asked("generate_until", "def f", options)] * 3)
    assert len(set(texts)) == 3
    assert sorted(request.seed for request in model.generated) == [0, 1, 2]


def test_greedy_unless_sampling_is_asked(harness: HarnessModel, model: ByteModel) -> None:
    harness.generate_until([asked("generate_until", "q", {"until": "\n\n", "temperature": 0})])
    [request] = model.generated
    assert (request.temperature, request.stop) == (0.0, ("\n\n",))


def test_an_unknown_option_of_generation_is_refused(harness: HarnessModel) -> None:
    with pytest.raises(DataError, match="num_beams"):
        harness.generate_until([asked("generate_until", "q", {"num_beams": 4})])


def test_what_does_not_fit_is_cut_and_counted(harness: HarnessModel, model: ByteModel) -> None:
    harness.generate_until([asked("generate_until", "p" * 100, {"max_gen_toks": 16})])
    harness.generate_until([asked("generate_until", "r" * 20, {"max_gen_toks": 500})])
    first, second = model.generated
    assert (len(first.prompt), first.max_new_tokens) == (48, 16)
    assert (len(second.prompt), second.max_new_tokens) == (20, 44)
    assert (harness.cuts.prompts, harness.cuts.tokens, harness.cuts.generations) == (1, 52, 1)
    harness.loglikelihood(pairs(("c" * 70, " d")))
    assert (harness.cuts.prompts, harness.cuts.tokens) == (2, 52 + 7)


def test_known_answers_are_not_asked_again(tmp_path: Path, model: ByteModel) -> None:
    path = tmp_path / "kept.jsonl"
    questions = pairs(("a", " b"), ("c", " d"))
    for _ in range(2):
        answers = Answers(path, {"step": 1})
        first = remembering(model, answers).loglikelihood(questions)
        answers.close()
    assert len(model.scored) == 2
    other = Answers(path, {"step": 2})
    assert remembering(model, other).loglikelihood(questions) == first
    other.close()
    assert len(model.scored) == 4


def test_a_line_cut_by_a_kill_is_asked_again(tmp_path: Path, model: ByteModel) -> None:
    path = tmp_path / "kept.jsonl"
    answers = Answers(path, {})
    remembering(model, answers).loglikelihood(pairs(("a", " b"), ("c", " d")))
    answers.close()
    path.write_bytes(path.read_bytes()[:-9])
    answers = Answers(path, {})
    remembering(model, answers).loglikelihood(pairs(("a", " b"), ("c", " d")))
    answers.close()
    assert len(model.scored) == 3
    assert len(path.read_text().splitlines()) == 3
