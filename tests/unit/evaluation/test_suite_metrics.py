"""Metrics of answers, against closed forms, enumeration and other implementations."""

import math
import random
from collections.abc import Sequence
from itertools import combinations
from statistics import fmean, stdev

import pytest
import sacrebleu

from megatron_codemix.evaluation.suites.metrics import bleu, ratio, standard_error
from megatron_codemix.evaluation.suites.open_answers import du_reader, human_f1, quac
from megatron_codemix.evaluation.suites.programs import pass_at_k


@pytest.mark.parametrize("num_samples", [1, 2, 5, 8])
def test_pass_at_k_is_the_share_of_all_draws_with_a_pass(num_samples: int) -> None:
    for num_correct in range(num_samples + 1):
        outcomes = [number < num_correct for number in range(num_samples)]
        for k in range(1, num_samples + 1):
            draws = list(combinations(outcomes, k))
            expected = sum(any(draw) for draw in draws) / len(draws)
            assert pass_at_k(num_samples, num_correct, k) == pytest.approx(expected, abs=1e-15)


def test_pass_at_k_of_many_samples() -> None:
    assert pass_at_k(200, 0, 100) == 0.0
    assert pass_at_k(200, 101, 100) == 1.0  # fewer fail than are drawn
    assert pass_at_k(1000, 3, 1) == pytest.approx(0.003)


@pytest.mark.parametrize("k", [0, 4])
def test_pass_at_k_is_undefined_beyond_the_samples(k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} of 3 samples"):
        pass_at_k(3, 1, k)


def words(generator: random.Random, count: int) -> str:
    return " ".join(str(generator.randrange(6)) for _ in range(count))


def test_bleu_is_sacrebleus_but_for_the_smoothing() -> None:
    """Many n-grams match: one more of each is little."""
    generator = random.Random(0)
    pairs = [(words(generator, 400), words(generator, 380)) for _ in range(50)]
    pairs += [(same, same) for same in (words(generator, 300) for _ in range(20))]
    theirs = sacrebleu.corpus_bleu(
        [answer for _, answer in pairs], [[reference for reference, _ in pairs]], tokenize="none"
    )

    assert bleu(pairs) == pytest.approx(theirs.score, abs=0.01)
    assert 60 < theirs.score < 80


def test_bleu_by_hand() -> None:
    """Matches 3, 2, 1, 0 of 4, 3, 2, 1 n-grams, one added to each; 4 tokens for 5."""
    precisions = [4 / 5, 3 / 4, 2 / 3, 1 / 2]
    expected = 100 * math.exp(1 - 5 / 4) * math.prod(precisions) ** (1 / 4)

    assert bleu([("1 2 3 4 5", "1 2 3 9")]) == pytest.approx(expected)
    assert bleu([("1 2 3", "1 2 3"), ("4 5 6 7", "4 5 6 7")]) == pytest.approx(100)
    assert bleu([("1 2", ""), ("3", "")]) == 0.0


QUESTION = {"references": ["in the old town", "the old town", "a town", "CANNOTANSWER"]}


def f1(one: Sequence[str], other: Sequence[str]) -> float:
    shared = len(set(one) & set(other))  # no word twice in these
    return 2 * shared / (len(one) + len(other))


def test_quac_compares_with_people() -> None:
    """References without articles: in old town; old town; town. The fourth is outvoted."""
    people = [["in", "old", "town"], ["old", "town"], ["town"]]
    best = [max(f1(one, other) for other in people if other is not one) for one in people]
    assert human_f1(QUESTION["references"]) == pytest.approx(fmean(best))

    scores = [f1(["old", "town"], one) for one in people]
    left_out = [max(scores[:i] + scores[i + 1 :]) for i in range(3)]
    found = quac(QUESTION, ["The Old Town!"])
    assert found["f1"] == pytest.approx(fmean(left_out))
    assert found == {"acc": 1.0, "f1": found["f1"], "exact_match": 1.0}

    worse = quac(QUESTION, ["somewhere in a big city"])
    assert worse["acc"] == worse["exact_match"] == 0.0
    assert 0 < worse["f1"] < 0.5


def test_quac_without_an_answer() -> None:
    unanswered = {"references": ["CANNOTANSWER", "CANNOTANSWER", "the town"]}
    assert quac(unanswered, ["CANNOTANSWER"])["acc"] == 1.0
    assert quac(unanswered, ["the town"])["acc"] == 0.0
    assert human_f1(["one answer"]) == 1.0


def test_du_reader_counts_the_longest_shared_run() -> None:
    document = {"references": ["\u4e2d\u56fd\u5317\u4eac\u5e02", "other"]}
    exact = du_reader(
        document, [" \u4e2d\u56fd\uff0c\u5317\u4eac\u5e02\u3002"]
    )  # marks do not count
    assert exact == {"exact_match": 1.0, "f1": 1.0}

    # Four characters and a piece that is not Chinese; the run of three is "Beijing city".
    part = du_reader(document, ["\u7684\u5317\u4eac\u5e02 ok"])
    assert part["exact_match"] == 0.0
    assert part["f1"] == pytest.approx(2 * 3 / (5 + 5))
    assert du_reader(document, ["none"])["f1"] == 0.0


def test_standard_error_of_a_mean_and_of_a_ratio() -> None:
    values = [0.0, 1.0, 1.0, 1.0]
    assert standard_error(values) == pytest.approx(stdev(values) / 2)
    assert standard_error([1.0]) is None

    same_sizes = [(value * 10, 10) for value in values]
    assert ratio(same_sizes) == pytest.approx(fmean(values))
    assert standard_error(same_sizes) == pytest.approx(standard_error(values))
    assert standard_error([(2.0 * size, size) for size in (1, 5, 9)]) == pytest.approx(0.0)


def test_standard_error_of_a_ratio_is_its_spread_over_samples() -> None:
    """Of 300 texts each; the spread is known to 1/sqrt(2 * 400), 3.5%: three times that."""
    generator = random.Random(1)

    def sample() -> list[tuple[float, float]]:
        sizes = [generator.randint(10, 1000) for _ in range(300)]
        return [(size * generator.gauss(2.0, 0.5), size) for size in sizes]

    samples = [sample() for _ in range(400)]
    spread = stdev(ratio(one) for one in samples)
    errors = [standard_error(one) for one in samples]

    assert fmean(error or 0.0 for error in errors) == pytest.approx(spread, rel=0.11)


def test_standard_error_of_bleu_shrinks_with_the_corpus() -> None:
    generator = random.Random(2)
    pairs = [(one, one if generator.random() < 0.5 else words(generator, 30))
             for one in (words(generator, 30) for _ in range(160))]  # fmt: skip
    few, many = standard_error(pairs[:40]), standard_error(pairs)

    assert few is not None
    assert many is not None
    assert 1.3 < few / many < 3.0  # about 2: four times as many
    assert standard_error(pairs) == many
