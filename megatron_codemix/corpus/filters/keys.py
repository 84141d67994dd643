"""Keys, tokens and passwords that stand in a text by mistake, at the places where one may stand."""

import re
from collections import Counter
from math import log2

Span = tuple[int, int]

_KEY = "[A-Za-z0-9]"
_URL_KEY = "[A-Za-z0-9_-]"
# How a key of a known service begins, and the whole of it. Everything has an end: a text of many
# beginnings is not read to its end from each of them.
_SERVICES = {
    **dict.fromkeys(("AKIA", "ASIA", "ABIA", "ACCA"), r"A[A-Z]{3}[A-Z0-9]{16}"),
    **dict.fromkeys(("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), rf"gh._{_KEY}{{36,251}}"),
    "github_pat_": rf"github_pat_{_KEY}{{22}}_{_KEY}{{59}}",
    "glpat-": rf"glpat-{_URL_KEY}{{20,200}}",
    "xox": rf"xox[abceoprs]-(?:[0-9]{{1,14}}-){{0,3}}{_KEY}{{10,200}}(?:-{_KEY}{{1,200}}){{0,4}}",
    "hooks.slack.com/": rf"hooks\.slack\.com/services(?:/{_KEY}{{7,20}}){{2}}/{_KEY}{{18,40}}",
    "AIza": rf"AIza{_URL_KEY}{{35}}",
    "GOCSPX-": rf"GOCSPX-{_URL_KEY}{{28}}",
    "ya29.": rf"ya29\.{_URL_KEY}{{20,2000}}",
    **dict.fromkeys(("sk_live_", "rk_live_"), rf".k_live_{_KEY}{{20,200}}"),
    "sk-ant-": rf"sk-ant-{_URL_KEY}{{32,300}}",
    "sk-proj-": rf"sk-proj-{_URL_KEY}{{32,300}}",
    "sk-": rf"sk-{_KEY}{{32,300}}",
    "hf_": r"hf_[A-Za-z]{34}",
    "npm_": rf"npm_{_KEY}{{36}}",
    "pypi-AgE": rf"pypi-AgE{_URL_KEY}{{50,300}}",
    "SG.": rf"SG\.{_URL_KEY}{{22}}\.{_URL_KEY}{{43}}",
    "eyJ": rf"eyJ{_URL_KEY}{{10,4000}}\.eyJ{_URL_KEY}{{10,4000}}\.{_URL_KEY}{{10,4000}}",
}
_BEGIN = "-----BEGIN "
PREFIXES = (*_SERVICES, _BEGIN)
"""What the places begin with that `key_at` decides on."""

_PATTERNS = [
    re.compile(f"(?<![A-Za-z0-9_]){pattern}(?![A-Za-z0-9_])") for pattern in _SERVICES.values()
]
_BEGIN_LINE = re.compile(r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_END_LINE = re.compile(r"-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----")
_HEADER = r"(?:Proc-Type|DEK-Info|Version|Comment|Charset|Hash|MessageID):[^\n\\]{0,200}"
_BODY = re.compile(rf"(?:{_HEADER}|[A-Za-z0-9+/=\s\"',]|\\[nr])*")
_ENCODED = re.compile(r"[A-Za-z0-9+/=]{40}")
_MOST_BODY = 20_000  # characters of a private key
# What is assigned a secret, up to the value.
_ASSIGNED = re.compile(
    r"(?:secret|token|passw(?:or)?d|passwd|pwd|credential|"
    r"(?:api|access|private|auth|account|signing|encryption|license|master|session)[_-]?key)"
    r"[\w.-]{0,40}[\"'\]]{0,3}\s{0,4}(?::=|=>|=|:)\s{0,4}(?:[A-Za-z]{0,2}[\"'`])?\Z"
    r"|\bbearer\s{1,4}\Z",
    re.IGNORECASE,
)
_CONTEXT = 100  # characters in front of a value
_LEAST_ENTROPY = 3.0  # bits a character: 32 random hexadecimal digits have 3.6 +- 0.1, words 2 to 3
_CAPITALISED = re.compile(r"[A-Z][a-z]{3,}")
_MOST_CAPITALISED = 0.5  # share of a key: random ones of 20 characters have it once in 20
_EXAMPLE = re.compile(r"example|placeholder|your|xxxx|0{6}|1234567", re.IGNORECASE)


def key_at(text: str, prefix: int, begin: int) -> Span | None:
    """The key of a known service or the private key that begins there. prefix: in `PREFIXES`."""
    if PREFIXES[prefix] == _BEGIN:
        return _private_key_at(text, begin)
    found = _PATTERNS[prefix].match(text, begin)
    return None if found is None or _EXAMPLE.search(found.group()) else found.span()


def _private_key_at(text: str, begin: int) -> Span | None:
    """From the line that begins it to the one that ends it, or as far as its letters go."""
    first = _BEGIN_LINE.match(text, begin)
    if first is None:
        return None
    last = _END_LINE.search(text, first.end(), first.end() + _MOST_BODY)
    body = _BODY.match(text, first.end(), first.end() + _MOST_BODY)
    assert body is not None, "it matches nothing at all"
    until = last.start() if last else body.end()
    if not _ENCODED.search(text, first.end(), until):
        return None  # only its name
    return begin, last.end() if last else len(text[:until].rstrip())


def assigned_key(text: str, begin: int, end: int) -> Span | None:
    """The characters [begin, end) that look random, where something that holds secrets is set to
    them."""
    value = text[begin:end]
    if not _ASSIGNED.search(text, max(0, begin - _CONTEXT), begin) or _EXAMPLE.search(value):
        return None
    if sum(map(len, _CAPITALISED.findall(value))) >= _MOST_CAPITALISED * len(value):
        return None  # the name of a class, say
    return (begin, end) if _entropy(value) >= _LEAST_ENTROPY else None


def _entropy(value: str) -> float:
    """Shannon's, in bits a character, of its own frequencies."""
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * log2(share) for share in shares)
