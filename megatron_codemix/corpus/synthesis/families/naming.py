"""Words for function names that tests suggest: `count_even_numbers`."""

from random import Random

from megatron_codemix.corpus.synthesis.grammar.node import Node

_ADJECTIVES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "even": (("even",), ("odd",)),
    "prime": (("prime",), ("other",)),
    "square number": (("square",), ("other",)),
    "palindromic": (("palindromic", "symmetric"), ("other",)),
    "positive": (("positive",), ("other",)),
    "negative": (("negative",), ("non_negative",)),
    "multiple": (("divisible",), ("indivisible",)),
    "several digits": (("long",), ("short",)),
    "> constant": (("large", "high"), ("small", "low")),
    "< constant": (("small", "low"), ("large", "high")),
    "close": (("close",), ("distant",)),
    "same parity": (("same_parity",), ("mixed_parity",)),
    "palindrome": (("palindromic",), ("other",)),
    "has capital": (("capitalised",), ("lower_case",)),
}
"""By rule: where it holds, and where it is negated."""


def adjective(rng: Random, test: Node) -> str:
    """What the items that pass are, in a word; "" where no word says it."""
    if test.rule is None or any(one.rule is not None for one in test.arguments):
        return ""
    words = _ADJECTIVES.get(test.rule.name)
    return rng.choice(words[test.is_negated]) if words else ""
