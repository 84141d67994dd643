"""The mixture in words, as it stands in front of a run and in a study's plan."""

import pytest

from megatron_codemix.data.mixture.describe import describe_mixtures
from tests.helpers.mixtures import LENGTH, phase

STAGES = {"kind": "stages", "strategy": "decrease", "varying": {"a": 1}, "others": {"b": 1}}
STEPS = {
    "kind": "step",
    "steps": [
        {"from_tokens": 0, "weights": {"a": 1}},
        {"from_tokens": 250 * LENGTH, "weights": {"a": 0.25, "b": 0.75}},
    ],
}


@pytest.mark.parametrize(
    ("mixture", "words"),
    [
        ({"weights": {"a": 0.2, "b": 0.8}}, "a 20.0%, b 80.0%"),
        (STEPS, "a 100.0% to 4K tokens, then a 25.0%, b 75.0% to 16K"),
        (
            STAGES,
            "four stages (decrease): a 50.0%, b 50.0% to 4K tokens, then a 40.0%, b 60.0% to 8K, "
            "then a 30.0%, b 70.0% to 12K, then a 30.0%, b 70.0% to 16K",
        ),
        (
            {"kind": "cosine", "start": {"a": 1}, "end": {"a": 0.5, "b": 0.5}},
            "cosine to 16K tokens, a 100.0% -> 50.0%, b 0.0% -> 50.0%",
        ),
    ],
)
def test_words_say_what_is_read_up_to_where(mixture: dict[str, object], words: str):
    assert describe_mixtures(phase(1000, mixture)) == words


def test_a_change_ends_what_stood_before_it():
    change = {"at_tokens": 400 * LENGTH, "mixture": STAGES}
    assert describe_mixtures(phase(1000, STAGES, changes=[change])) == (
        "four stages (decrease): a 50.0%, b 50.0% to 4K tokens, then a 40.0%, b 60.0% to 6400; "
        "from 6400 tokens on: four stages (decrease): a 50.0%, b 50.0% to 8800 tokens, "
        "then a 40.0%, b 60.0% to 11200, then a 30.0%, b 70.0% to 13600, "
        "then a 30.0%, b 70.0% to 16K"
    )
