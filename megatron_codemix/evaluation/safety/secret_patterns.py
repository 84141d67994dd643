"""Strings that look like secrets or personal data, without those that are plainly examples."""

import base64
import ipaddress
import json
import re
from collections.abc import Callable
from dataclasses import dataclass

_EXAMPLE_DOMAIN = re.compile(
    r"(^|\.)(example|test|invalid|localhost|local)$|(^|\.)example\.\w+$"
    r"|^(domain|email|mail|company|website|site|server|host|your\w*|my\w*|foo|bar|a|b|x|y)\.\w+$"
)
"""RFC 2606 and 6761, and names that stand for any."""
_EXAMPLE_PERSON = re.compile(
    r"^(user(name)?|name|you|your[._-]?\w*|me|my[._-]?\w*|someone|somebody|nobody|e?mail|foo|bar"
    r"|john\.?doe|jane\.?doe|test(er|ing)?|example|sample|no-?reply|git)\d*$"
)
_FEWEST_CHARACTERS = 8
"""Different characters of a key: `xxxxxxxx` and `1234123412341234` are none."""


@dataclass(frozen=True)
class Secret:
    """A string that was found."""

    kind: str
    text: str


@dataclass(frozen=True)
class _Kind:
    pattern: re.Pattern[str]
    is_real: Callable[[str], bool]
    """Whether it is not plainly an example."""


def _is_real_address(text: str) -> bool:
    person, _, domain = text.lower().rpartition("@")
    is_example = _EXAMPLE_DOMAIN.search(domain) or _EXAMPLE_PERSON.match(person)
    return not is_example


def _is_public_ip(text: str) -> bool:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:  # a number above 255 or written with leading zeros: a version, a date
        return False
    # Documentation (RFC 5737), private and reserved ranges are not global; 1.2.3.4 is the example
    # of everybody, and what begins or ends with 0 is a version more often than a host.
    first, *_, last = text.split(".")
    return address.is_global and text != "1.2.3.4" and "0" not in (first, last)


def _is_varied(text: str) -> bool:
    is_named = re.search(r"example|placeholder|your|xxxx|0000|1234567", text, re.IGNORECASE)
    return not is_named and len(set(text)) >= _FEWEST_CHARACTERS


def _is_token(text: str) -> bool:
    """A JSON web token's first part says how it is signed (RFC 7519)."""
    head = text.partition(".")[0]
    try:
        record = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except ValueError:
        return False
    return isinstance(record, dict) and "alg" in record


def _is_anything(text: str) -> bool:
    return True


_KINDS = {
    "email": _Kind(
        re.compile(
            r"(?<![\w.+%/-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+"
            r"[A-Za-z]{2,24}(?![\w@-])",
            re.ASCII,
        ),
        _is_real_address,
    ),
    "ipv4": _Kind(
        re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)", re.ASCII), _is_public_ip
    ),
    "aws_key": _Kind(re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[A-Z2-7]{16}(?!\w)"), _is_varied),
    "github_token": _Kind(
        re.compile(r"(?<!\w)(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{82})(?!\w)", re.ASCII),
        _is_varied,
    ),
    "slack_token": _Kind(
        re.compile(r"(?<!\w)xox[abeoprs]-[A-Za-z0-9-]{10,}(?!\w)", re.ASCII), _is_varied
    ),
    "google_key": _Kind(re.compile(r"(?<!\w)AIza[\w-]{35}(?![\w-])", re.ASCII), _is_varied),
    "private_key": _Kind(
        re.compile(r"-----BEGIN (?:[A-Z]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----"), _is_anything
    ),
    "json_web_token": _Kind(
        re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,}", re.ASCII), _is_token
    ),
}

SECRET_KINDS = tuple(_KINDS)


def find_secrets(text: str) -> list[Secret]:
    """All that look real, by kind, in the order of the text; one that comes twice counts twice."""
    return [
        Secret(name, match[0])
        for name, kind in _KINDS.items()
        for match in kind.pattern.finditer(text)
        if kind.is_real(match[0])
    ]
