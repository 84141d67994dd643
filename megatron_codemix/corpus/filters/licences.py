"""Licences that a corpus may hold: SPDX expressions against a list of allowed identifiers."""

import re
from functools import cached_property, lru_cache
from importlib.resources import files
from typing import ClassVar

from megatron_codemix.corpus.document import Document, JsonValue
from megatron_codemix.corpus.filters.rule import Drop, Kind, Rule, Verdict

_TOKEN = re.compile(r"\(|\)|/|[^\s()/]+")
_IDENTIFIER = re.compile(r"[A-Za-z0-9][\w.+:-]*")
_IN_BRACKETS = re.compile(r"\((.*?)\)")
_WORDS = {"AND": "AND", "OR": "OR", "WITH": "WITH", "/": "OR"}
# Exceptions after WITH that only add permissions: of SPDX's list, those that say so in their names.
_EXCEPTION = re.compile(r"[\w.+-]*exception[\w.+-]*|linux-syscall-note|gpl-cc-1\.0", re.IGNORECASE)
# What package metadata calls licences that have an identifier. BSD without a number may be any of
# the family, all of them permissive: it stands for the one with the most terms.
_COMMON_NAMES = {
    "apache": "Apache-2.0",
    "apache 2": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache software": "Apache-2.0",
    "bsd": "BSD-3-Clause",
    "bsd 2-clause": "BSD-2-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "modified bsd": "BSD-3-Clause",
    "new bsd": "BSD-3-Clause",
    "simplified bsd": "BSD-2-Clause",
    "gnu general public": "GPL-3.0-or-later",
    "gnu lesser general public": "LGPL-3.0-or-later",
    "gpl": "GPL-3.0-or-later",
    "lgpl": "LGPL-3.0-or-later",
    "isc": "ISC",
    "iscl": "ISC",
    "mit": "MIT",
    "mozilla public 2.0": "MPL-2.0",
    "mpl 2.0": "MPL-2.0",
    "psf": "PSF-2.0",
    "psfl": "PSF-2.0",
    "python software foundation": "PSF-2.0",
    "public domain": "LicenseRef-Public-Domain",
    "the unlicense": "Unlicense",
    "unlicense": "Unlicense",
    "zlib/libpng": "Zlib",
}


def permissive_licences() -> frozenset[str]:
    """SPDX identifiers of the licences in licences.txt, in lower case."""
    text = (files(__package__) / "licences.txt").read_text(encoding="utf-8")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return frozenset(line.lower() for line in lines if line)


class Licences(Rule):
    """Keeps documents whose licence is on a list."""

    name: ClassVar[str] = "licences"
    kind: ClassVar[Kind] = "any"
    source: ClassVar[str] = "arXiv 2305.06161, section 3.1"

    allow: tuple[str, ...] = ("permissive",)
    """SPDX identifiers; `permissive` stands for the list in licences.txt."""
    keep_unknown: bool = False
    """Whether documents without a licence are kept."""

    def __call__(self, document: Document) -> Verdict:
        licence = document.licence
        if not licence or licence.lower() in ("unknown", "noassertion", "none", "other"):
            return None if self.keep_unknown else Drop("licence", "unknown")
        return None if is_allowed(licence, self._allowed) else Drop("licence", licence)

    def depends_on(self) -> dict[str, JsonValue]:
        return {"allowed": sorted(self._allowed)}

    @cached_property
    def _allowed(self) -> frozenset[str]:
        named = frozenset(name.lower() for name in self.allow)
        return named | permissive_licences() if "permissive" in named else named


@lru_cache(maxsize=4096)
def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Whether a licence, an SPDX expression or a common name for one, leaves a choice that is
    allowed.

    OR (in Cargo's old spelling /) asks for one side, AND for both; an exception after WITH only
    adds permissions, and other words there are none. What stands in brackets may be an expression,
    or a common name. allowed: in lower case.
    """
    name = _common_name(expression)
    if name is not None:
        return name.lower() in allowed
    tokens = [_WORDS.get(token.upper(), token) for token in _TOKEN.findall(expression)]
    verdict = _either(tokens, allowed)
    return bool(verdict) and not tokens


@lru_cache(maxsize=4096)
def is_expression(text: str) -> bool:
    """Whether it is an SPDX expression, with whatever identifiers, or a common name, and no words
    about licences."""
    tokens = [_WORDS.get(token.upper(), token) for token in _TOKEN.findall(text)]
    if not all(_IDENTIFIER.fullmatch(token) for token in tokens if token not in "()"):
        return False
    if _common_name(text) is not None:
        return True
    return _either(tokens, frozenset()) is not None and not tokens


def _common_name(text: str) -> str | None:
    """The identifier that a common name stands for. Brackets may repeat it, and nothing else:
    "MIT (non-commercial)" is no name."""
    name = _COMMON_NAMES.get(_plain(_IN_BRACKETS.sub(" ", text)))
    if name is None:
        return None
    repeated = (_COMMON_NAMES.get(_plain(one), one.strip()) for one in _IN_BRACKETS.findall(text))
    return name if all(one.lower() == name.lower() for one in repeated) else None


def _plain(text: str) -> str:
    plain = re.sub(r"[,.]?\b(licen[cs]ed?|version|the)\b|[^\w\s./+-]", " ", text.lower())
    return " ".join(re.sub(r"\bv(?=[0-9])", "", plain).split())


def _either(tokens: list[str], allowed: frozenset[str]) -> bool | None:
    """Reads `both OR both ...`; None where the tokens are no expression."""
    verdict = _both(tokens, allowed)
    while verdict is not None and tokens and tokens[0] == "OR":
        tokens.pop(0)
        other = _both(tokens, allowed)
        verdict = None if other is None else verdict or other
    return verdict


def _both(tokens: list[str], allowed: frozenset[str]) -> bool | None:
    verdict = _one(tokens, allowed)
    while verdict is not None and tokens and tokens[0] == "AND":
        tokens.pop(0)
        other = _one(tokens, allowed)
        verdict = None if other is None else verdict and other
    return verdict


def _one(tokens: list[str], allowed: frozenset[str]) -> bool | None:
    if not tokens or tokens[0] in (")", "AND", "OR", "WITH"):
        return None
    token = tokens.pop(0)
    if token == "(":
        return _bracketed(tokens, allowed)
    if tokens and tokens[0] == "WITH":
        exception = tokens[1] if len(tokens) > 1 else ""
        if not _EXCEPTION.fullmatch(exception):
            return None
        del tokens[:2]
    return token.lower().removesuffix("+") in allowed


def _bracketed(tokens: list[str], allowed: frozenset[str]) -> bool | None:
    """What stands between the bracket that was taken and its partner: an expression or a name."""
    depth, end = 1, 0
    while depth and end < len(tokens):
        depth += {"(": 1, ")": -1}.get(tokens[end], 0)
        end += 1
    if depth:
        return None
    inside = tokens[: end - 1]
    del tokens[:end]
    name = _common_name(" ".join(inside))
    if name is not None:
        return name.lower() in allowed
    verdict = _either(inside, allowed)
    return None if inside else verdict
