"""E-mail and network addresses that belong to somebody, at the places where one may stand."""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address

from megatron_codemix.corpus.filters.top_level_domains import COUNTRY_DOMAINS, GENERIC_DOMAINS

Span = tuple[int, int]

_LOCAL_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._%+-]*\Z")
_MOST_LOCAL = 64  # characters, RFC 5321
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z]{2,24}")
_KNOWN_ENDS = COUNTRY_DOMAINS | GENERIC_DOMAINS
# Names for examples (RFC 2606, RFC 6761) and addresses that GitHub gives out in place of one's own.
_NOBODYS_DOMAIN = re.compile(
    r"(?:.*\.)?(?:example\.(?:com|net|org)|example|test|invalid|localhost|"
    r"users\.noreply\.github\.com)",
    re.IGNORECASE,
)
_NOBODYS_NAME = frozenset({"git", "noreply", "no-reply", "donotreply"})

# Resolvers that everybody may use, and everybody writes down.
_PUBLIC_RESOLVERS = frozenset(
    {
        "1.1.1.1", "1.0.0.1", "8.8.8.8", "8.8.4.4", "9.9.9.9", "208.67.222.222", "208.67.220.220",
        "2001:4860:4860::8888", "2001:4860:4860::8844", "2606:4700:4700::1111",
        "2606:4700:4700::1001",
    }
)  # fmt: skip
_SMALL = 32  # numbers of versions and sections; of addresses one in 500 has three of them in front
_CONTEXT = 100  # characters of the line in front that are looked at
_VERSION_BEFORE = re.compile(
    r"(?:(?<!con)(?<!in)(?<!per)version|\bver\b|\brelease|\brev(?:ision)?\b|\bbuild\b|\bsection\b|"
    r"\bchapter\b|\bclause\b|\bfirmware\b|\boid\b)[^\n]{0,40}\Z|[=<>~^!]=\s*\Z|[~^]\s*\Z|\w-\Z",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"\w|\.[A-Za-z]|-[A-Za-z]")


def email_at(text: str, at: int) -> Span | None:
    """The address around the "@" at a place, unless it is nobody's: of a domain for examples, or
    `git@`. A product of matrices is none: `a@b.to(device)`."""
    before = _LOCAL_PART.search(text, max(0, at - _MOST_LOCAL), at)
    domain = _DOMAIN.match(text, at + 1)
    if before is None or domain is None:
        return None
    name = _with_known_end(domain.group())
    end = at + 1 + len(name)
    if not name or (end < len(text) and (text[end].isalnum() or text[end] in "_-(")):
        return None
    if before.group().lower() in _NOBODYS_NAME or _NOBODYS_DOMAIN.fullmatch(name):
        return None
    return before.start(), end


def _with_known_end(domain: str) -> str:
    """As much of the domain as ends in a top-level domain: "a.org.Then" begins another sentence."""
    while domain.rpartition(".")[2].lower() not in _KNOWN_ENDS:
        domain = domain.rpartition(".")[0]
        if "." not in domain:
            return ""
    return domain


def ipv4_at(text: str, begin: int, end: int) -> Span | None:
    """The four numbers [begin, end) where they are the address of a machine: not private, reserved,
    a public resolver, or, as far as can be told, a version."""
    value = text[begin:end]
    if any(part[0] == "0" and len(part) > 1 for part in value.split(".")):
        return None
    address = _address(value)
    if not isinstance(address, IPv4Address) or not _is_somebodys(address):
        return None
    if all(octet < _SMALL for octet in address.packed[:3]) or _GOES_ON.match(text, end):
        return None
    line = text.rfind("\n", max(0, begin - _CONTEXT), begin) + 1
    if _VERSION_BEFORE.search(text, max(line, begin - _CONTEXT), begin):
        return None
    return begin, end


def ipv6_at(text: str, begin: int, end: int) -> Span | None:
    """As `ipv4_at`, of hexadecimal digits and colons."""
    if text[begin:end].endswith(":") and not text[begin:end].endswith("::"):
        end -= 1
    address = _address(text[begin:end])
    if not isinstance(address, IPv6Address) or not _is_somebodys(address):
        return None
    return None if _GOES_ON.match(text, end) else (begin, end)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _is_somebodys(address: IPv4Address | IPv6Address) -> bool:
    is_public = address.is_global and not address.is_multicast
    return is_public and str(address) not in _PUBLIC_RESOLVERS
