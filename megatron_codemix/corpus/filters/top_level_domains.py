"""Documents that are lists of top-level domains."""

import re
from typing import ClassVar

from pydantic import Field

from megatron_codemix.corpus.document import Document
from megatron_codemix.corpus.filters.rule import Drop, Kind, Rule, Verdict

# Top-level domains of countries and territories, their second letters by the first: ISO 3166-1, and
# uk, eu, su, ac.
_COUNTRY_LETTERS = {
    "a": "cdefgilmoqrstuwxz",
    "b": "abdefghijmnorstvwyz",
    "c": "acdfghiklmnoruvwxyz",
    "d": "ejkmoz",
    "e": "cegrstu",
    "f": "ijkmor",
    "g": "abdefghilmnpqrstuwy",
    "h": "kmnrtu",
    "i": "delmnoqrst",
    "j": "emop",
    "k": "eghimnprwyz",
    "l": "abcikrstuvy",
    "m": "acdeghklmnopqrstuvwxyz",
    "n": "acefgilopruz",
    "o": "m",
    "p": "aefghklmnrstwy",
    "q": "a",
    "r": "eosuw",
    "s": "abcdeghijklmnorstuvxyz",
    "t": "cdfghjklmnortvwz",
    "u": "agksyz",
    "v": "aceginu",
    "w": "fs",
    "y": "et",
    "z": "amw",
}
# The first generic ones (RFC 920 and the additions up to 2012), and later ones in wide use.
_GENERIC_DOMAINS = """
    com net org edu gov mil int arpa biz info name pro aero coop museum asia cat jobs mobi post tel
    travel xxx app dev xyz top site online shop store tech cloud blog club live email agency academy
    company website space page link wiki news media network systems solutions services digital
    design studio software games world today group team zone life
"""

# Generic ones that are hardly words of a program or a text otherwise.
_TELLING_DOMAINS = "com net org edu gov mil arpa biz aero coop museum mobi"
COUNTRY_DOMAINS = frozenset(
    first + second for first, seconds in _COUNTRY_LETTERS.items() for second in seconds
)
GENERIC_DOMAINS = frozenset(_GENERIC_DOMAINS.split())
_TELLING = frozenset(_TELLING_DOMAINS.split())
# A list of country domains has these; what is none rarely has even one of them.
_RARE_PAIRS = ("zw", "gq", "mq", "kz", "mz", "bj", "cx", "vg", "zm", "uz")
_FEWEST_RARE = 8
_WORD = re.compile(r"[a-z][a-z0-9-]*")


def looks_like_one(text: str) -> bool:
    """A cheap test that every long list passes: eight of ten rare pairs of letters stand in it."""
    missing = 0
    for pair in _RARE_PAIRS:
        if pair not in text:
            missing += 1
            if missing > len(_RARE_PAIRS) - _FEWEST_RARE:
                return False
    return True


class TopLevelDomains(Rule):
    """Drops lists of top-level domains. The paper does not say what it takes for one; here it is a
    document with many different domains of countries and several of the old generic ones as words,
    where besides most words are domains, or most words stand there once: the domains of brands are
    too many to be named here."""

    name: ClassVar[str] = "top_level_domains"
    kind: ClassVar[Kind] = "code"
    source: ClassVar[str] = "arXiv 2408.10914, section A.1"

    min_countries: int = Field(default=60, ge=1)
    min_generic: int = Field(default=5, ge=0)
    """Of com net org edu gov mil arpa biz aero coop museum mobi."""
    min_share: float = Field(default=0.5, ge=0, le=1)
    """Of the words that are domains."""
    min_share_once: float = Field(default=0.7, ge=0, le=1)
    """Of the words that stand there once, in place of the above."""

    def __call__(self, document: Document) -> Verdict:
        text = document.text.lower()
        if not looks_like_one(text):
            return None
        words = _WORD.findall(text)
        distinct = set(words)
        num_countries = len(distinct & COUNTRY_DOMAINS)
        if num_countries < self.min_countries or len(distinct & _TELLING) < self.min_generic:
            return None
        num_domains = sum(word in COUNTRY_DOMAINS or word in GENERIC_DOMAINS for word in words)
        is_list = num_domains >= self.min_share * len(words)
        if is_list or len(distinct) >= self.min_share_once * len(words):
            return Drop("top-level domains", f"{num_countries} of countries")
        return None
