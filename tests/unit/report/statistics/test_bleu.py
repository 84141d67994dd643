"""BLEU from counts of items: sacrebleu's on the whole corpus and on resamples, and the noise of a
difference beside a bootstrap of the texts themselves."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.evaluation.suites import metrics
from megatron_codemix.files import write_json
from megatron_codemix.report.collect import collect
from megatron_codemix.report.items import task_items
from megatron_codemix.report.statistics.bleu import bleu_counts, bleu_of_sums, bleu_shares
from megatron_codemix.report.statistics.items import Items, paired_noises
from megatron_codemix.report.tables import build_report
from tests.helpers.study_files import STUDY, small_tree, write_evaluated, write_trained

pytest.importorskip("sacrebleu")

Texts = list[tuple[str, str]]
"""Reference and answer of each item."""

RESAMPLES = 1000
"""Of the texts: the deviation that they give is then known to 2%."""


def texts(seed: int, count: int, kept: float) -> Texts:
    """Answers that keep so much of their references, and are shorter or longer."""
    # The references are those of every seed.
    asked, answered = random.Random(1), random.Random(seed)
    found = []
    for _ in range(count):
        reference = [str(asked.randrange(30)) for _ in range(asked.randrange(5, 60))]
        answer = [
            word if answered.random() < kept else str(answered.randrange(30)) for word in reference
        ]
        answer = answer[: answered.randrange(len(answer) + 1)]
        found.append((" ".join(reference), " ".join(answer)))
    return found


def counts_of(pairs: Texts) -> np.ndarray:
    return np.array([bleu_counts(a.split(), b.split()) for a, b in pairs], dtype=float)


def items_of(pairs: Texts) -> Items:
    counts = counts_of(pairs)
    return Items(
        tuple(range(len(pairs))),
        bleu_shares(counts),
        np.ones(len(pairs)),
        counts=counts,
        score_of=bleu_of_sums,
    )


CORPORA = {
    "many": texts(2, 60, 0.8),
    "few": texts(3, 3, 0.5),
    "nothing in common": [("1 2 3 4 5", "6 7 8 9 9 9")],
    "the same": [("1 2 3 4 5", "1 2 3 4 5"), ("6 7", "6 7")],
    "longer": [("1 2 3", "1 2 3 4 5 6 7 8 9")],
    "repeated": [("1 2 1 2 3", "1 1 1 1 2 2 1 2")],
    "some empty": [("1 2 3", ""), ("4 5 6 7", "4 5 6")],
    "all empty": [("1 2 3", ""), ("4 5", "")],
}


@pytest.mark.parametrize("name", CORPORA)
def test_bleu_of_sums_is_sacrebleus(name: str) -> None:
    found = float(bleu_of_sums(counts_of(CORPORA[name]).sum(axis=0)))
    assert found == pytest.approx(metrics.bleu(CORPORA[name]), rel=1e-12)


def test_many_sums_at_once() -> None:
    generator = np.random.default_rng(0)
    counts = counts_of(CORPORA["many"])
    drawn = generator.integers(60, size=(20, 60))
    found = bleu_of_sums(counts[drawn].sum(axis=1))
    for row, chosen in zip(found, drawn, strict=True):
        expected = metrics.bleu([CORPORA["many"][one] for one in chosen])
        assert row == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["many", "few", "longer", "some empty"])
def test_shares_are_the_slopes_of_the_score(name: str) -> None:
    """What a little more weight of one item does to the score, and their mean is the score."""
    counts = counts_of(CORPORA[name])
    shares = bleu_shares(counts)
    score = float(bleu_of_sums(counts.sum(axis=0)))
    assert shares.mean() == pytest.approx(score)
    step = 1e-6
    for item, share in enumerate(shares):
        # Of weights that still add up to one.
        weights = np.full(len(counts), (1 - step) / len(counts))
        weights[item] += step
        moved = float(bleu_of_sums(len(counts) * weights @ counts))
        assert (moved - score) / step == pytest.approx(share - score, abs=1e-3 * (1 + abs(share)))


def test_the_noise_of_a_difference_is_that_of_a_bootstrap_of_the_texts() -> None:
    first, second = texts(2, 60, 0.8), texts(3, 60, 0.6)
    noise = paired_noises({"one": [(items_of(first), items_of(second))]}, "task/bleu")["one"]
    drawn = random.Random(0)
    differences = []
    for _ in range(RESAMPLES):
        chosen = drawn.choices(range(60), k=60)
        scores = [metrics.bleu([side[one] for one in chosen]) for side in (first, second)]
        differences.append(scores[0] - scores[1])
    # Divisor N - 1, as ours has it.
    deviation = np.std(differences) * np.sqrt(60 / 59)
    assert np.sqrt(noise.of_models.variance) == pytest.approx(deviation, rel=0.1)
    assert noise.of_models.degrees == 59


def test_draws_go_the_way_of_what_items_add() -> None:
    """The same items drawn, of a score that is taken for linear: nearly the same differences."""
    pair = (items_of(texts(2, 60, 0.8)), items_of(texts(3, 60, 0.6)))
    linear = tuple(replace(one, counts=None, score_of=None) for one in pair)
    found, expected = (
        paired_noises({"one": [(first, second)]}, "task/bleu")["one"].of_models.draws
        for first, second in (pair, linear)
    )
    assert np.corrcoef(found, expected)[0, 1] > 0.95


def test_several_seeds_and_several_variants_at_once() -> None:
    """Each as by itself: the draws of items are the same."""
    runs = {seed: items_of(texts(seed, 40, kept)) for seed, kept in ((2, 0.8), (3, 0.8), (4, 0.5))}
    base = [items_of(texts(seed, 40, 0.6)) for seed in (5, 6)]
    pairs = {
        "two seeds": [(runs[2], base[0]), (runs[3], base[1])],
        "one seed": [(runs[4], base[0])],
    }
    together = paired_noises(pairs, "task/bleu")
    for name, one in pairs.items():
        alone = paired_noises({name: one}, "task/bleu")[name]
        assert together[name].of_models.variance == pytest.approx(alone.of_models.variance)
    first = paired_noises({"a": [pairs["two seeds"][0]]}, "task/bleu")["a"].of_models
    assert together["two seeds"].of_models.variance < first.variance
    assert together["two seeds"].of_recipes.variance >= 0
    assert together["two seeds"].of_recipes.variance <= together["two seeds"].of_models.variance


def test_a_report_has_intervals_of_bleu(tmp_path: Path) -> None:
    tree = small_tree(tmp_path, STUDY + "  tasks: {names: [mbpp_bleu]}\n")
    out = tmp_path / "out"
    kept = {"text": 0.5, "balanced": 0.6, "balanced-then-text": 0.9, "cooldown": 0.5}
    for number, node in enumerate(tree.nodes.values(), start=2):
        run = write_trained(tree, out, node)
        write_evaluated(tree, run, {"text": 1.0})
        pairs = texts(number, 50, kept[node.name])
        lines = [{"item": item, "bleu": pair} for item, pair in enumerate(pairs)]
        path = run.evaluation / "mbpp_bleu.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        value = {"value": metrics.bleu(pairs), "stderr": 1.0}
        summary = {"reported": "bleu", "metrics": {"bleu": value}, "items": 50}
        write_json(run.evaluation / "mbpp_bleu.summary.json", summary)
        done = {"step": tree.plan(node).num_steps, "names": ["mbpp_bleu"], "data_dir": None}
        done |= {"limit": None, "tasks": ["heldout", "mbpp_bleu"]}
        write_json(run.evaluation / "tasks.json", done)
    records = collect(tree, out)
    rows = {
        row["variant"]: row
        for row in build_report(records)["comparisons"]
        if row["metric"] == "task/mbpp_bleu"
    }
    mixed = rows["mixed"]
    assert (mixed["items"], mixed["method"]) == (50, "items")
    assert mixed["low"] < mixed["difference"] < mixed["high"]
    assert mixed["models_verdict"] == "better"
    assert rows["cooled"]["models_verdict"] == "cannot tell"
    # Texts of another evaluation than the summary's.
    path.write_text("".join(json.dumps(line) + "\n" for line in lines[:-1]))
    assert task_items(records.phases["single/cooldown"], "mbpp_bleu", None) is None
