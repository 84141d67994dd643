import random

import pytest

from megatron_codemix.corpus.filters.rule import Drop
from megatron_codemix.corpus.filters.top_level_domains import (
    COUNTRY_DOMAINS,
    GENERIC_DOMAINS,
    TopLevelDomains,
)
from tests.helpers.filter_documents import document, real_texts

RULE = TopLevelDomains()


def shuffled(words, seed=0):
    words = sorted(words)
    random.Random(seed).shuffle(words)
    return words


def lists() -> dict[str, str]:
    domains = shuffled(COUNTRY_DOMAINS | GENERIC_DOMAINS)
    brands = [f"brand{number}" for number in range(1200)]
    return {
        "lines": "\n".join(domains),
        "upper case, with brands": "\n".join(shuffled(domains + brands)).upper(),
        "a pattern": "(?:" + "|".join(domains) + ")",
        "an array": "export default [" + ", ".join(f"'.{name}'" for name in domains) + "];",
        "suffixes": "\n".join(
            f"{second}.{name}" for name in domains for second in ("com", "org", "gov")
        ),
    }


@pytest.mark.parametrize("name", lists())
def test_drops_lists(name):
    verdict = RULE(document(lists()[name]))
    assert isinstance(verdict, Drop)
    assert verdict.reason == "top-level domains"
    assert verdict.detail == f"{len(COUNTRY_DOMAINS)} of countries"


def test_most_of_the_countries_are_a_list_too():
    most = sorted(COUNTRY_DOMAINS)[-175:]
    old = ["com", "net", "org", "edu", "gov"]
    assert RULE(document("\n".join([*most, *old]))) == Drop("top-level domains", "175 of countries")
    assert RULE(document("\n".join([*most, *old[:4]]))) is None  # codes of countries, it seems


def test_keeps_a_few_domains_codes_of_countries_and_programs_with_a_list_inside():
    assert RULE(document("com net org edu gov mil int arpa")) is None
    assert RULE(document("\n".join(sorted(COUNTRY_DOMAINS)))) is None
    program = "\n".join(real_texts()[:40]) + lists()["a pattern"]
    assert RULE(document(program)) is None


def test_keeps_what_people_write():
    assert [text[:80] for text in real_texts() if RULE(document(text)) is not None] == []
