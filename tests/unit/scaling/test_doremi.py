"""DoReMi's step beside a worked example and plain Python; published weights as a mixture."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from megatron_codemix.config.schema import ConstantMixtureConfig
from megatron_codemix.data.mixture.weights import quantise_weights
from megatron_codemix.errors import ConfigError, DataError
from megatron_codemix.scaling.laws.doremi import (
    average_weights,
    doremi_path,
    doremi_step,
    excess_losses,
)
from megatron_codemix.scaling.readers.doremi import import_mixture, read_domain_weights
from tests.helpers.scaling_runs import published_runs

EXCESS = np.array([0.3, 0.1, 0.0])


def test_two_steps_of_the_worked_example() -> None:
    first = doremi_step(np.full(3, 1 / 3), EXCESS)
    assert first == pytest.approx([0.39064, 0.31989, 0.28948], abs=6e-6)
    assert doremi_step(first, EXCESS) == pytest.approx([0.45045, 0.30211, 0.24744], abs=6e-6)


def test_the_step_is_the_formula_of_the_paper() -> None:
    weights, excess, eta, c = [0.1, 0.6, 0.3], [0.0, 1.7, 0.4], 0.5, 0.02
    raised = [a * math.exp(eta * e) for a, e in zip(weights, excess, strict=True)]
    expected = [(1 - c) * value / sum(raised) + c / 3 for value in raised]
    found = doremi_step(np.array(weights), np.array(excess), step_size=eta, smoothing=c)
    assert found == pytest.approx(expected, rel=1e-14)
    assert found.sum() == pytest.approx(1, abs=1e-15)


def test_a_huge_excess_does_not_overflow() -> None:
    found = doremi_step(np.array([0.5, 0.5]), np.array([1e4, 0.0]))
    assert found == pytest.approx([0.9995, 0.0005])


def test_excess_is_clipped_for_each_token_and_then_averaged() -> None:
    proxy = np.array([3.0, 1.0, 2.0, 5.0])
    reference = np.array([2.0, 4.0, 2.5, 4.0])
    found = excess_losses(proxy, reference, np.array([0, 0, 2, 2]), 3)
    assert found[[0, 2]].tolist() == [0.5, 0.5]
    assert math.isnan(found[1])


def test_the_path_keeps_the_excess_of_a_domain_that_is_not_in_the_minibatch() -> None:
    steps = [np.array([0.3, 0.1]), np.array([np.nan, 0.4])]
    path = list(doremi_path(steps, 2))
    first = doremi_step(np.array([0.5, 0.5]), steps[0])
    second = doremi_step(first, np.array([0.3, 0.4]))
    assert path[0] == pytest.approx(first)
    assert path[1] == pytest.approx(second)
    assert average_weights(path) == pytest.approx((first + second) / 2)


def test_steps_without_a_meaning_are_refused() -> None:
    with pytest.raises(ValueError, match="do not sum to 1"):
        doremi_step(np.array([0.5, 0.4]), np.zeros(2))
    with pytest.raises(ValueError, match="not all at least 0"):
        doremi_step(np.array([0.5, 0.5]), np.array([0.1, -0.1]))
    with pytest.raises(ValueError, match="no step"):
        average_weights([])


PILE = {"Github": 0.02, "Pile-CC": 0.6, "OpenWebText2": 0.1, "StackExchange": 0.2801}


def test_domains_go_to_the_sources_that_stand_for_them() -> None:
    found = import_mixture(
        PILE,
        ["code", "pile_cc", "web"],
        source_of={"Github": "code", "StackExchange": "code", "OpenWebText2": "web"},
    )
    total = sum(PILE.values())
    assert found.weights == pytest.approx(
        {"code": 0.3001 / total, "pile_cc": 0.6 / total, "web": 0.1 / total}
    )
    assert found.published_sum == pytest.approx(1.0001)
    assert sum(quantise_weights(found.weights).values()) == 2**20
    assert ConstantMixtureConfig(weights=found.weights).weights == found.weights


def test_what_is_left_out_is_shared_among_the_others_and_said() -> None:
    found = import_mixture(
        PILE,
        ["github", "pile_cc"],
        leave_out=["OpenWebText2", "StackExchange"],
    )
    assert found.weights == pytest.approx({"github": 0.02 / 0.62, "pile_cc": 0.6 / 0.62})
    assert found.left_out == {"OpenWebText2": 0.1, "StackExchange": 0.2801}


def test_everything_that_does_not_match_is_refused_together() -> None:
    with pytest.raises(ConfigError) as caught:
        import_mixture(
            PILE,
            ["code", "web"],
            source_of={"GitHub": "code", "Pile-CC": "wbe", "OpenWebText2": "web"},
            leave_out=["OpenWebText2"],
        )
    assert caught.value.problems == [
        "DoReMi weights: there is no domain 'GitHub'; did you mean 'Github'?",
        "DoReMi weights: domain 'Pile-CC': there is no source 'wbe'; did you mean 'web'?",
        "DoReMi weights: domain 'OpenWebText2' is both given to source 'web' and left out",
        "DoReMi weights: domain 'Github' (weight 0.02) has no source; say which source stands for "
        "it, or leave it out",
        "DoReMi weights: domain 'StackExchange' (weight 0.2801) has no source; say which source "
        "stands for it, or leave it out",
    ]
    with pytest.raises(ConfigError, match="no domain goes to source 'markup'"):
        import_mixture({"Github": 1.0}, ["github", "markup"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "has no 'train_domain_weights'"),
        ("{", "not a JSON file"),
        ('{"train_domain_weights": {"a": 1.5}}', "numbers from 0 to 1"),
        ('{"train_domain_weights": {"a": true}}', "numbers from 0 to 1"),
        ('{"train_domain_weights": {"a": NaN}}', "numbers from 0 to 1"),
        ('{"train_domain_weights": {"a": 0.5}}', "sum to 0.5, not 1"),
    ],
)
def test_files_of_something_else_are_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_domain_weights(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read_domain_weights(tmp_path / "weights.json")


def test_the_published_weights_of_the_pile() -> None:
    folder = published_runs("doremi")
    weights = read_domain_weights(folder / "pile_doremi_280M_256kvocab_paper.json")
    assert (weights["Github"], weights["Pile-CC"], len(weights)) == (0.0179, 0.6057, 22)
    code = ["Github", "StackExchange"]
    found = import_mixture(
        weights,
        ["code", "text"],
        source_of={name: "code" if name in code else "text" for name in weights},
    )
    plain = json.loads((folder / "pile_doremi_280M_256kvocab_paper.json").read_text())
    plain = plain["train_domain_weights"]
    expected = (plain["Github"] + plain["StackExchange"]) / sum(plain.values())
    assert found.weights["code"] == pytest.approx(expected)
    assert sum(found.weights.values()) == pytest.approx(1, abs=1e-12)
